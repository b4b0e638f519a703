//! Finds slow drift that no change point shows. It compares the newest points of a level segment
//! with its first ones: that anchor does not move with the drift. The caller decides where the
//! segment begins.

use super::hampel::without_outliers;
use super::level_shift::{SlowShare, p_value};
use super::robust::median_of;

/// Points in the anchor, and in the block that is compared with it.
const BLOCK: usize = 20;
/// A drift's p is below this. The test does not search for a place, but it is repeated at every
/// run.
const MAX_P: f64 = 5e-4;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// Median of the first 20 points.
    pub anchor: f64,
    /// Median of the last 20 points.
    pub newest: f64,
    /// Two-sided p of "no difference": the t-test on winsorized values (Dixon and Tukey,
    /// "Approximate behavior of the distribution of winsorized t", Technometrics 10 (1968) 83-98).
    /// It allows for serial correlation as [`p_value`] does.
    pub p: f64,
}

/// The drift of a segment, if its medians are `min_shift` or more apart (in the series' unit) and
/// the difference is significant. None when the two blocks would overlap or a value is not finite.
#[must_use]
pub fn drift(segment: &[f64], slow: SlowShare, min_shift: f64) -> Option<Drift> {
    if segment.len() < 2 * BLOCK || segment.iter().any(|x| !x.is_finite()) {
        return None;
    }
    let last = segment.len() - BLOCK;
    let anchor = median_of(segment[..BLOCK].iter().copied())?;
    let newest = median_of(segment[last..].iter().copied())?;
    if (newest - anchor).abs() < min_shift {
        return None;
    }
    let clean = without_outliers(segment);
    let p = p_value(&clean[..BLOCK], &clean[last..], last - BLOCK, slow);
    (p < MAX_P).then_some(Drift { anchor, newest, p })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sawtooth of 1% on a line that rises by `slope` per point.
    fn line(points: u32, slope: f64) -> Vec<f64> {
        (0..points).map(|i| f64::from(i) * slope + f64::from(i % 3) * 0.01).collect()
    }

    #[test]
    fn many_small_steps_add_up() {
        let found = drift(&line(100, 0.002), SlowShare::PRIOR, 0.1).expect("a drift");
        // np.median(x[-20:]) - np.median(x[:20]) with x = i * .002 + (i % 3) * .01
        assert!((found.newest - found.anchor - 0.159).abs() < 1e-9, "{found:?}");
        let faster = drift(&line(100, -0.002), SlowShare::PRIOR, 0.1).expect("a drift");
        assert!(faster.newest < faster.anchor);
    }

    #[test]
    fn small_short_or_not_finite_is_none() {
        for (why, segment) in [
            ("small", line(100, 0.001)),
            ("blocks would overlap", line(39, 0.02)),
            ("not a number", [vec![f64::NAN], line(100, 0.02)].concat()),
        ] {
            assert_eq!(drift(&segment, SlowShare::PRIOR, 0.1), None, "{why}");
        }
    }

    #[test]
    fn difference_within_scatter_is_no_drift() {
        // Two usual times, 40% apart. The medians differ, but the blocks hardly do.
        let two_times = |odd: u32| (0..20).map(move |i| if (i + odd) % 19 < 10 { 0.4 } else { 0.0 });
        let mut segment: Vec<f64> = two_times(0).map(|x| 0.4 - x).collect();
        segment.extend(two_times(0));
        assert_eq!(drift(&segment, SlowShare::PRIOR, 0.1), None);
    }

    #[test]
    fn outliers_neither_cause_nor_hide_drift() {
        let mut flat = line(100, 0.0);
        flat[95..98].iter_mut().for_each(|x| *x += 2.3);
        assert_eq!(drift(&flat, SlowShare::PRIOR, 0.1), None);
        let mut rising = line(100, 0.002);
        rising[95] -= 2.3;
        assert!(drift(&rising, SlowShare::PRIOR, 0.1).is_some());
    }
}
