//! Finds where the level of a series changed for good, by windowed E-divisive with a t-test.
//! - Window and test: Fleming et al., "Hunter: using change point detection to hunt for performance
//!   regressions", ICPE 2023 (Apache Otava).
//! - E-divisive: Matteson and James, "A nonparametric approach for multiple change point analysis
//!   of multivariate data", Journal of the American Statistical Association 109 (2014) 334-345.
//! - Different here: gross outliers are pulled in first, the test allows for serial correlation,
//!   and a slope is not a step. There are no permutations, so nothing is random.

use super::count;
use super::hampel::without_outliers;
use super::level_shift::{SlowShare, p_value};
use super::robust::median_of;

/// The first pass keeps points up to this many times the largest p. The second pass sees more
/// than one window and decides.
const WEAK: f64 = 10.0;
/// The level and the p of a change are calculated from this many windows on each side.
const WINDOWS_PER_SIDE: usize = 2;

/// The conditions of a change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Points in a window of the search, at least twice `min_points`.
    pub window: usize,
    /// A change's p is below this. The place was searched for, so the p of its test is too small.
    /// `benches/history.rs` measures the resulting rate of false changes.
    pub max_p: f64,
    /// Smallest difference of the levels, in the series' unit.
    pub min_shift: f64,
    /// Points on each side, at least 2. A shorter excursion is not a change.
    pub min_points: usize,
}

impl Default for Settings {
    /// For a series of ln(duration): 5%, lasting five runs.
    fn default() -> Self {
        Self { window: 50, max_p: 5e-4, min_shift: 1.05_f64.ln(), min_points: 5 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChangePoint {
    /// Position of the first point after the change.
    pub at: usize,
    /// Median of the points before it.
    pub before: f64,
    /// Median of the points after it.
    pub after: f64,
    /// See [`Settings::max_p`].
    pub p: f64,
}

impl ChangePoint {
    /// Difference of the levels, in the series' unit. Positive when the level rose.
    #[must_use]
    pub fn shift(&self) -> f64 {
        self.after - self.before
    }
}

/// The change points of a series, oldest first. The caller leaves out missing points. A series with
/// a value that is not finite has no change. Cost is linear in the length, and quadratic in the
/// window and in the number of changes.
#[must_use]
pub fn change_points(series: &[f64], slow: SlowShare, settings: &Settings) -> Vec<ChangePoint> {
    if series.iter().any(|x| !x.is_finite()) {
        return Vec::new();
    }
    let clean = without_outliers(series);
    let search = Search { series, clean: &clean, slow, settings };
    search.strong(&search.weak())
}

struct Search<'a> {
    series: &'a [f64],
    /// The series without gross outliers. The tests use it.
    clean: &'a [f64],
    slow: SlowShare,
    settings: &'a Settings,
}

impl Search<'_> {
    /// First pass: finds candidates in windows that overlap by half, or begin at the last candidate.
    fn weak(&self) -> Vec<usize> {
        let window = self.settings.window.max(2 * self.settings.min_points);
        let mut found: Vec<usize> = Vec::new();
        let mut start = 0;
        loop {
            let end = (start + window).min(self.clean.len());
            let inside = self.divide(start, end);
            let last = inside.iter().copied().max().unwrap_or(0);
            found.extend(inside);
            if end == self.clean.len() {
                break;
            }
            start = (start + window / 2).max(last);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Divides a window repeatedly, as long as the parts differ.
    fn divide(&self, start: usize, end: usize) -> Vec<usize> {
        let mut found = Vec::new();
        let mut open = vec![(start, end)];
        while let Some((from, to)) = open.pop() {
            let part = &self.clean[from..to];
            let Some((split, end)) = most_divergent(part, self.settings.min_points) else { continue };
            let (left, right) = (&part[..split], &part[split..end]);
            if p_value(left, right, 0, self.slow) < self.settings.max_p * WEAK {
                found.push(from + split);
                open.extend([(from, from + split), (from + split, to)]);
            }
        }
        found
    }

    /// Second pass: tests each candidate between its neighbours. While one fails, removes the
    /// weakest and tests its neighbours again.
    fn strong(&self, places: &[usize]) -> Vec<ChangePoint> {
        let n = self.clean.len();
        let mut points: Vec<ChangePoint> = Vec::with_capacity(places.len());
        for (i, at) in places.iter().enumerate() {
            let from = points.last().map_or(0, |previous| previous.at);
            points.push(self.test_candidate(from, *at, places.get(i + 1).copied().unwrap_or(n)));
        }
        while let Some(i) = self.weakest(&points) {
            points.remove(i);
            for next in i.saturating_sub(1)..(i + 1).min(points.len()) {
                let from = if next == 0 { 0 } else { points[next - 1].at };
                let to = points.get(next + 1).map_or(n, |following| following.at);
                points[next] = self.test_candidate(from, points[next].at, to);
            }
        }
        points
    }

    /// The candidate with the largest p above the limit, else that with the smallest shift below
    /// the limit.
    fn weakest(&self, points: &[ChangePoint]) -> Option<usize> {
        let insignificant = (0..points.len()).filter(|i| points[*i].p >= self.settings.max_p);
        let small = (0..points.len()).filter(|i| points[*i].shift().abs() < self.settings.min_shift);
        insignificant
            .max_by(|a, b| points[*a].p.total_cmp(&points[*b].p))
            .or_else(|| small.min_by(|a, b| points[*a].shift().abs().total_cmp(&points[*b].shift().abs())))
    }

    /// Tests a candidate between its neighbours. Points beyond two windows are left out, because
    /// they are too old for this change. The candidate moves to the nearby place where a step fits
    /// best.
    fn test_candidate(&self, from: usize, at: usize, to: usize) -> ChangePoint {
        let reach = WINDOWS_PER_SIDE * self.settings.window;
        let (from, to) = (from.max(at.saturating_sub(reach)), to.min(at + reach));
        let part = &self.clean[from..to];
        let close = self.settings.min_points - 1;
        let nearby = at.saturating_sub(close).max(from + 1)..=(at + close).min(to.saturating_sub(1));
        let at = nearby
            .max_by(|a, b| by_step(part, a - from).total_cmp(&by_step(part, b - from)).then(b.cmp(a)))
            .unwrap_or(at);
        let (left, right) = part.split_at(at.clamp(from, to) - from);
        // The move may have left one side too short.
        let short = left.len().min(right.len()) < self.settings.min_points;
        // Where a slope fits better than a step, the series drifts and has no change point.
        let insignificant = short || by_line(part) > by_step(part, left.len());
        let level = |part: &[f64]| median_of(part.iter().copied()).unwrap_or(0.0);
        ChangePoint {
            at,
            before: level(&self.series[from..at]),
            after: level(&self.series[at..to]),
            p: if insignificant { 1.0 } else { p_value(left, right, 0, self.slow) },
        }
    }
}

/// The sum of squares that one step explains, with `split` points before it.
fn by_step(values: &[f64], split: usize) -> f64 {
    let (left, right) = values.split_at(split);
    if left.is_empty() || right.is_empty() {
        return 0.0;
    }
    let (n, m) = (count(left.len()), count(right.len()));
    let difference = right.iter().sum::<f64>() / m - left.iter().sum::<f64>() / n;
    difference * difference * n * m / (n + m)
}

/// The sum of squares that a straight line explains.
fn by_line(values: &[f64]) -> f64 {
    let n = count(values.len());
    let mean = values.iter().sum::<f64>() / n;
    let middle = (n - 1.0) / 2.0;
    let along: f64 = values.iter().enumerate().map(|(i, x)| (count(i) - middle) * (x - mean)).sum();
    along * along * 12.0 / (n * (n * n - 1.0)).max(1.0)
}

/// E-divisive's next split, and the end of the stretch after it that was compared.
/// The split maximizes the energy distance between the values before it and that stretch. Both have
/// at least `min_points` values. The stretch may end early, so that a later change does not hide
/// this one. None when there are too few values.
fn most_divergent(values: &[f64], min_points: usize) -> Option<(usize, usize)> {
    let n = values.len();
    let min_points = min_points.max(2);
    if n < 2 * min_points {
        return None;
    }
    // Row i, column j, i <= j: the sum of distances between the first i and the first j values.
    let width = n + 1;
    let mut sums = vec![0.0; width * width];
    for i in 0..n {
        let (above, below) = sums.split_at_mut((i + 1) * width);
        let above = &above[i * width..];
        // Distances of this value to all before it, then also to each later one.
        let mut along = above[i + 1] - above[i];
        for j in i..n {
            along += (values[i] - values[j]).abs();
            below[j + 1] = above[j + 1] + along;
        }
    }
    let mut best: Option<(f64, (usize, usize))> = None;
    for split in min_points..=n - min_points {
        let left = count(split);
        let within_left = sums[split * width + split];
        let mean_left = within_left / (left - 1.0);
        for end in split + min_points..=n {
            let right = count(end - split);
            let between = sums[split * width + end] - within_left;
            let within_right = sums[end * width + end] - within_left - 2.0 * between;
            // The paper's means over pairs, times n m / (n + m). Each within-sum counts a pair twice.
            let difference = 2.0 * between - mean_left * right - within_right * left / (right - 1.0);
            let divergence = difference / (left + right);
            if best.is_none_or(|(largest, _)| divergence > largest) {
                best = Some((divergence, (split, end)));
            }
        }
    }
    best.map(|(_, place)| place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Levels of the given numbers of points, with a repeating sawtooth of five values 1% apart.
    fn levels(of: &[(usize, f64)]) -> Vec<f64> {
        const SAW: [f64; 5] = [0.0, 0.02, -0.01, 0.01, -0.02];
        let level = of.iter().flat_map(|(points, level)| std::iter::repeat_n(*level, *points));
        level.zip(SAW.iter().cycle()).map(|(level, noise)| level + noise).collect()
    }

    fn found(series: &[f64]) -> Vec<usize> {
        change_points(series, SlowShare::PRIOR, &Settings::default()).iter().map(|c| c.at).collect()
    }

    #[test]
    fn finds_lasting_changes_and_nothing_else() {
        for (why, series, expected) in [
            ("nothing", vec![], vec![]),
            ("level", levels(&[(200, 0.0)]), vec![]),
            ("constant", vec![3.0; 120], vec![]),
            ("a step", levels(&[(60, 0.0), (60, 0.1)]), vec![60]),
            ("to faster", levels(&[(60, 0.0), (60, -0.1)]), vec![60]),
            ("without scatter", [vec![0.0; 30], vec![0.1; 30]].concat(), vec![30]),
            ("several", levels(&[(40, 0.0), (15, 0.2), (45, 0.5), (40, 0.1)]), vec![40, 55, 100]),
            ("smaller than 5%", levels(&[(60, 0.0), (60, 0.04)]), vec![]),
            ("five runs old", levels(&[(60, 0.0), (5, 0.2)]), vec![60]),
            ("four runs old", levels(&[(60, 0.0), (4, 0.2)]), vec![]),
            ("five runs long", levels(&[(50, 0.0), (5, 0.4), (50, 0.0)]), vec![50, 55]),
            ("ten runs long", levels(&[(50, 0.0), (10, 0.4), (50, 0.0)]), vec![50, 60]),
            ("four runs long", levels(&[(50, 0.0), (4, 0.4), (50, 0.0)]), vec![]),
            ("not a number", [levels(&[(60, 0.0), (60, 0.3)]), vec![f64::NAN]].concat(), vec![]),
        ] {
            assert_eq!(found(&series), expected, "{why}");
        }
    }

    #[test]
    fn tenfold_outlier_neither_causes_nor_hides_change() {
        for at in [0, 30, 59, 60, 61, 100, 119] {
            let (mut level, mut step) = (levels(&[(120, 0.0)]), levels(&[(60, 0.0), (60, 0.1)]));
            level[at] += 10.0_f64.ln();
            step[at] += 10.0_f64.ln();
            assert!(found(&level).is_empty(), "{at}: {:?}", found(&level));
            assert!(
                matches!(found(&step)[..], [place] if place.abs_diff(60) <= 1),
                "{at}: {:?}",
                found(&step)
            );
        }
    }

    #[test]
    fn change_levels_and_p_agree_with_scipy() {
        // saw = np.resize([0, .02, -.01, .01, -.02], 40); a, b = saw[:20], saw[20:] + .06
        // np.median(a), np.median(b), scipy.stats.ttest_ind(a, b).pvalue
        let series = levels(&[(20, 0.0), (20, 0.06)]);
        let points = change_points(&series, SlowShare::new(0.0), &Settings::default());
        let [point] = points[..] else { panic!("{points:?}") };
        assert_eq!(point.at, 20);
        assert!(point.before.abs() < 1e-12 && (point.shift() - 0.06).abs() < 1e-12, "{point:?}");
        assert!((point.p / 1.211_974_477_97e-15 - 1.0).abs() < 1e-6, "{point:?}");
    }

    #[test]
    fn split_maximizes_the_papers_divergence() {
        // x are the n values before the split, y the m values of a stretch after it.
        // The expected split has the largest divergence of all splits and stretches of 2 or more:
        //     n * m / (n + m) * (2 * mean |x_i - y_j| - mean |x_i - x_k| - mean |y_j - y_l|)
        // The means within x and y are over pairs i < k and j < l.
        // Calculated with scipy.spatial.distance.cdist and pdist.
        for (values, place) in [
            (&[1.0, 1.2, 0.9, 1.1, 2.0, 2.2, 1.9, 2.1, 1.0, 1.1][..], (4, 8)),
            (&[3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0], (4, 6)),
        ] {
            assert_eq!(most_divergent(values, 2), Some(place), "{values:?}");
        }
        assert_eq!(most_divergent(&[1.0, 2.0, 3.0], 2), None);
    }

    proptest! {
        #[test]
        fn changes_ignore_unit_and_respect_min_points(
            x in prop::collection::vec(-1.0_f64..1.0, 0..120),
        ) {
            let settings = Settings { max_p: 0.2, min_shift: 0.0, ..Settings::default() };
            let of = |x: &[f64]| -> Vec<usize> {
                change_points(x, SlowShare::new(0.0), &settings).iter().map(|c| c.at).collect()
            };
            let places = of(&x);
            let ends: Vec<usize> = [0].into_iter().chain(places.iter().copied()).chain([x.len()]).collect();
            prop_assert!(places.is_empty() || ends.windows(2).all(|e| e[1] - e[0] >= 5), "{:?}", places);
            // A power of two, so that rounding makes no difference.
            prop_assert_eq!(&of(&x.iter().map(|v| v * 8.0).collect::<Vec<_>>()), &places);
        }
    }
}
