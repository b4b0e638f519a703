//! Tests whether two blocks of a series have one level: a two-sample t-test that allows for serial
//! correlation. A test that assumes independent points would find a change of level every few dozen
//! runs of any CI history, because it wanders slowly. The model is independent noise plus a
//! first-order autoregression that is a share of the variance.
//! Zwiers and von Storch, "Taking serial correlation into account in tests of the mean", Journal of
//! Climate 8 (1995) 336-351.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::count;
use super::robust::median_of;

/// Correlation of the slow part between one point and the next.
const PERSISTENCE: f64 = 0.9;
/// The share of slow variance is estimated from the differences at this lag and at lag 1.
const FAR: usize = 10;
/// A shorter series has too few pairs at the far lag.
const MIN_POINTS: usize = 3 * FAR;
/// Weight of the prior share, in points: a single series is too short to estimate its own share.
const PRIOR_POINTS: f64 = 1000.0;
/// Weight of all stages' share against one stage's own, in points.
const POOL_POINTS: f64 = 200.0;
/// With a share of 1, no noise would average out.
const LARGEST: f64 = 0.9;

/// Share of a series' variance that is slow wander, within 0..=.9.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowShare(f64);

impl SlowShare {
    /// The share without any data.
    pub const PRIOR: Self = Self(0.2);

    /// A known share, clamped to 0..=.9. NaN becomes the prior.
    #[must_use]
    pub fn new(share: f64) -> Self {
        if share.is_nan() { Self::PRIOR } else { Self(share.clamp(0.0, LARGEST)) }
    }

    #[must_use]
    pub fn share(self) -> f64 {
        self.0
    }

    /// Learned from several series, such as all stages of a pipeline, and shrunk towards
    /// [`SlowShare::PRIOR`]. It compares the differences of points ten apart with those of points
    /// one apart (a variogram). A step affects only ten of those pairs.
    /// It uses medians as in Cressie and Hawkins, "Robust estimation of the variogram",
    /// Mathematical Geology 12 (1980) 115-125.
    #[must_use]
    pub fn pooled<'a>(all: impl IntoIterator<Item = &'a [f64]>) -> Self {
        let mut ratios = Vec::new();
        let mut points = 0;
        for series in all {
            if let Some(ratio) = variogram_ratio(series) {
                ratios.push(ratio);
                points += series.len();
            }
        }
        median_of(ratios).map_or(Self::PRIOR, |ratio| Self::PRIOR.moved(ratio, points, PRIOR_POINTS))
    }

    /// The share of one stage, which may wander more than the others: its own estimate, shrunk
    /// towards this share. It is never less than this share. A single series is too short to justify
    /// less, and too small an allowance reports false changes.
    #[must_use]
    pub fn or_more_for(self, series: &[f64]) -> Self {
        let own = variogram_ratio(series).map_or(self, |ratio| self.moved(ratio, series.len(), POOL_POINTS));
        Self(own.0.max(self.0))
    }

    /// The mean of this share, weighted by `worth` points, and of the share that `ratio` implies,
    /// weighted by `points`.
    fn moved(self, ratio: f64, points: usize, worth: f64) -> Self {
        // ratio = (1 - w + w (1 - p^10)) / (1 - w + w (1 - p)), solved for w.
        let far = PERSISTENCE.powf(count(FAR));
        let own = if ratio <= 1.0 { 0.0 } else { ((ratio - 1.0) / (ratio * PERSISTENCE - far)).min(LARGEST) };
        Self::new((count(points) * own + worth * self.0) / (count(points) + worth))
    }

    /// Variance of the mean of `n` neighbouring points of a series with variance 1.
    fn of_mean(self, n: f64) -> f64 {
        let p = PERSISTENCE;
        let slow = (n * (1.0 + p) / (1.0 - p) - 2.0 * p * (1.0 - p.powf(n)) / (1.0 - p).powi(2)) / (n * n);
        (1.0 - self.0) / n + self.0 * slow
    }

    /// Covariance of the means of two blocks of `n` and `m` points with `gap` points between.
    fn between_means(self, n: f64, m: f64, gap: f64) -> f64 {
        let p = PERSISTENCE;
        let sum = |n: f64| (1.0 - p.powf(n)) / (1.0 - p);
        self.0 * p.powf(1.0 + gap) * sum(n) * sum(m) / (n * m)
    }
}

/// The squared median difference at the far lag, divided by that at lag 1. None when the series is
/// too short or mostly constant.
fn variogram_ratio(series: &[f64]) -> Option<f64> {
    if series.len() < MIN_POINTS {
        return None;
    }
    let apart = |lag: usize| {
        let pairs = series.iter().zip(&series[lag..]);
        median_of(pairs.map(|(a, b)| (a - b).abs())).unwrap_or(0.0).powi(2)
    };
    Some(apart(FAR) / apart(1)).filter(|ratio| ratio.is_finite())
}

/// Two-sided p of "both blocks have one mean", from Student's t with n + m - 2 degrees of freedom.
/// - `left` and `right` are consecutive points in order, without gross outliers, and `gap` points
///   lie between them.
/// - With a share of 0 it is the usual test with pooled variance.
/// - It is 1 with fewer than 3 points, and 0 when the blocks differ and have no scatter.
#[must_use]
pub fn p_value(left: &[f64], right: &[f64], gap: usize, slow: SlowShare) -> f64 {
    let (n, m) = (count(left.len()), count(right.len()));
    if left.is_empty() || right.is_empty() || n + m < 3.0 {
        return 1.0;
    }
    let mean = |block: &[f64]| block.iter().sum::<f64>() / count(block.len());
    let (left_mean, right_mean) = (mean(left), mean(right));
    let difference = (right_mean - left_mean).abs();
    if difference <= 0.0 {
        return 1.0;
    }
    let squares = |block: &[f64], mean: f64| block.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
    let (left_error, right_error) = (slow.of_mean(n), slow.of_mean(m));
    // A block's mean follows its slow part, so the sum of squares is less than n - 1 variances.
    let variance = (squares(left, left_mean) + squares(right, right_mean))
        / (n * (1.0 - left_error) + m * (1.0 - right_error));
    let together = slow.between_means(n, m, count(gap));
    let error = (variance * (left_error + right_error - 2.0 * together)).sqrt();
    if error <= 0.0 {
        return 0.0;
    }
    StudentsT::new(0.0, 1.0, n + m - 2.0).map_or(1.0, |t| (2.0 * t.sf(difference / error)).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [f64; 6] = [3.1, 2.7, 3.4, 2.9, 3.3, 4.0];
    const B: [f64; 5] = [3.9, 4.4, 3.6, 4.1, 4.6];

    #[test]
    fn zero_slow_share_is_plain_t_test() {
        // A = [3.1, 2.7, 3.4, 2.9, 3.3, 4.0]; B = [3.9, 4.4, 3.6, 4.1, 4.6]
        // scipy.stats.ttest_ind(A, B).pvalue; ttest_ind(A, [b + 5 for b in B]).pvalue
        for (more, expected) in [(0.0, 0.007_772_461_895_646_234), (5.0, 3.049_772_795_725_260_4e-9)] {
            let right: Vec<f64> = B.iter().map(|b| b + more).collect();
            let p = p_value(&A, &right, 0, SlowShare::new(0.0));
            assert!((p / expected - 1.0).abs() < 1e-9, "{p}");
        }
    }

    #[test]
    fn slow_wander_raises_p() {
        // C is the correlation matrix of n + gap + m points.
        //     C = (1 - w) I + w .9^|i - j|
        //     c = np.r_[-np.ones(n) / n, np.zeros(gap), np.ones(m) / m]
        //     E = n (1 - mean of the left block of C) + m (1 - mean of the right block of C)
        // The squared error of t is (both blocks' sums of squares) / E * (c @ C @ c).
        // It has n + m - 2 degrees of freedom.
        for (w, gap, expected) in [
            (0.2, 0, 0.015_016_933_769_096_56),
            (0.5, 0, 0.040_214_117_035_322_273),
            (0.5, 40, 0.146_618_420_379_028_8),
        ] {
            let p = p_value(&A, &B, gap, SlowShare::new(w));
            assert!((p / expected - 1.0).abs() < 1e-9, "{w} {gap}: {p}");
        }
    }

    #[test]
    fn degenerate_blocks_have_defined_p() {
        let slow = SlowShare::PRIOR;
        for (left, right, expected) in [
            (&[1.0, 1.0][..], &[1.0, 1.0][..], 1.0),
            (&[1.0, 1.0], &[2.0, 2.0], 0.0),
            (&[], &[2.0, 2.0, 2.0], 1.0),
            (&[1.0], &[2.0], 1.0),
        ] {
            assert!((p_value(left, right, 0, slow) - expected).abs() < f64::EPSILON, "{left:?} {right:?}");
        }
    }

    #[test]
    fn slow_share_is_learned_and_shrunk() {
        // An empty, a too short and a constant series have the prior.
        for series in [&[][..], &[0.0; 29], &[1.0; 200]] {
            assert_eq!(SlowShare::pooled([series]), SlowShare::PRIOR);
        }
        // Alternating values are not slow at all: 10,000 points of 0 and 1,000 of the prior.
        let alternating: Vec<f64> = (0..10_000).map(|i| f64::from(i % 2)).collect();
        assert!((SlowShare::pooled([&alternating[..]]).share() - 0.2 / 11.0).abs() < 1e-12);
        // The steps of a ramp add up. No share explains that, so the largest applies.
        let ramp: Vec<f64> = (0..10_000).map(f64::from).collect();
        assert!(SlowShare::pooled([&ramp[..]]).share() > 0.8);
        // One stage may have a larger share, never a smaller one: (10,000 * .9 + 200 * .2) / 10,200.
        assert!((SlowShare::PRIOR.or_more_for(&ramp).share() - 9040.0 / 10_200.0).abs() < 1e-12);
        assert_eq!(SlowShare::PRIOR.or_more_for(&alternating), SlowShare::PRIOR);
        assert_eq!(SlowShare::PRIOR.or_more_for(&ramp[..20]), SlowShare::PRIOR);
        assert_eq!(SlowShare::new(f64::NAN), SlowShare::PRIOR);
        assert!((SlowShare::new(7.0).share() - LARGEST).abs() < f64::EPSILON);
    }
}
