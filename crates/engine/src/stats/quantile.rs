//! The only definition of a quantile in this crate, so that two numbers always agree: type 7, the
//! default of R and `numpy`.
//! Hyndman and Fan, "Sample quantiles in statistical packages", The American Statistician 50 (1996)
//! 361-365.

use super::count;
use super::sample::Sample;

/// The value below which a share `p` of the sample lies, interpolated linearly between the
/// order statistics around position `(n - 1) p`. `p` is clamped to 0..=1, and NaN counts as 0.
#[must_use]
pub fn quantile(sample: &Sample, p: f64) -> f64 {
    let values = sample.values();
    let position = count(values.len() - 1) * if p.is_nan() { 0.0 } else { p.clamp(0.0, 1.0) };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and n - 1")]
    let below = position.floor() as usize;
    let above = (below + 1).min(values.len() - 1);
    let share = position - position.floor();
    values[below] + share * (values[above] - values[below])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn agrees_with_numpy() {
        // x = [3.1, 2.7, 9.4, 2.9, 3.3, 4.0]; [np.quantile(x, p) for p in (0, .05, .25, .5, .9, 1)]
        let sample = Sample::new(vec![3.1, 2.7, 9.4, 2.9, 3.3, 4.0]).expect("finite");
        for (p, expected) in [(0.0, 2.7), (0.05, 2.75), (0.25, 2.95), (0.5, 3.2), (0.9, 6.7), (1.0, 9.4)] {
            assert!((quantile(&sample, p) - expected).abs() < 1e-12, "{p}: {}", quantile(&sample, p));
        }
    }

    #[test]
    fn single_value_is_every_quantile() {
        let sample = Sample::new(vec![4.5]).expect("finite");
        for p in [-1.0, 0.0, 0.3, 1.0, 2.0, f64::NAN] {
            assert!((quantile(&sample, p) - 4.5).abs() < f64::EPSILON);
        }
    }

    proptest! {
        #[test]
        fn rises_with_p_and_stays_within_the_sample(x in prop::collection::vec(-1e6..1e6, 1..40), p in 0.0..1.0, q in 0.0..1.0) {
            let sample = Sample::new(x).expect("finite");
            let (low, high) = (quantile(&sample, f64::min(p, q)), quantile(&sample, f64::max(p, q)));
            prop_assert!(low <= high + 1e-9);
            let values = sample.values();
            prop_assert!(low >= values[0] - 1e-9 && high <= values[values.len() - 1] + 1e-9);
        }
    }
}
