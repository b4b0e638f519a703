//! Location and scale that a few wild values can't move: median, median absolute deviation,
//! weighted median. Means are not here.

use super::quantile::quantile;
use super::sample::Sample;

/// 1 / Φ⁻¹(3/4): makes the median absolute deviation of normal data its standard deviation.
pub const MAD_TO_DEVIATION: f64 = 1.4826;

/// The middle value; of an even number of values the mean of the two middle ones.
#[must_use]
pub fn median(sample: &Sample) -> f64 {
    quantile(sample, 0.5)
}

/// Median absolute deviation from the median, times [`MAD_TO_DEVIATION`].
#[must_use]
pub fn mad(sample: &Sample) -> f64 {
    let middle = median(sample);
    // Finite minus finite may overflow; such a spread is as large as a number can say.
    let away = sample.values().iter().map(|v| (v - middle).abs().min(f64::MAX)).collect();
    Sample::new(away).map_or(0.0, |away| MAD_TO_DEVIATION * median(&away))
}

/// Median of values that may be none, for callers whose data can be missing. None when one of
/// them is not finite.
#[must_use]
pub fn median_of(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    if values.iter().all(|value| value.is_finite()) { median_in_place(&mut values) } else { None }
}

/// The median of finite values whose order doesn't matter afterwards: the values are moved
/// about, nothing is allocated. None of none.
#[must_use]
pub fn median_in_place(values: &mut [f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let middle = values.len() / 2;
    let odd = values.len() % 2 == 1;
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    if odd {
        return Some(upper);
    }
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(lower + 0.5 * (upper - lower))
}

/// The smallest value at which the weights of it and all smaller ones reach half of the total
/// (the lower weighted median). Pairs are (value, weight); those that are not finite or weigh
/// nothing are left out. None when nothing is left.
#[must_use]
pub fn weighted_median(pairs: &[(f64, f64)]) -> Option<f64> {
    let mut kept: Vec<(f64, f64)> =
        pairs.iter().copied().filter(|(v, w)| v.is_finite() && w.is_finite() && *w > 0.0).collect();
    kept.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total: f64 = kept.iter().map(|(_, w)| w).sum();
    let mut reached = 0.0;
    kept.iter()
        .find(|(_, w)| {
            reached += w;
            reached >= total / 2.0
        })
        .or(kept.last())
        .map(|(v, _)| *v)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(values: &[f64]) -> Sample {
        Sample::new(values.to_vec()).expect("finite")
    }

    #[test]
    fn agree_with_scipy() {
        // x = [3.1, 2.7, 9.4, 2.9, 3.3, 4.0]; np.median(x), 1.4826 * scipy.stats.median_abs_deviation(x)
        let x = sample(&[3.1, 2.7, 9.4, 2.9, 3.3, 4.0]);
        assert!((median(&x) - 3.2).abs() < 1e-12);
        assert!((mad(&x) - 0.593_04).abs() < 1e-12);
        assert!(mad(&sample(&[5.0, 5.0, 5.0])).abs() < f64::EPSILON);
        // np.quantile([3, 1, 2, 10], .5, weights=[1, 1, 5, 2], method="inverted_cdf")
        assert_eq!(weighted_median(&[(3.0, 1.0), (1.0, 1.0), (2.0, 5.0), (10.0, 2.0)]), Some(2.0));
        // np.quantile([3, 1, 2, 10], .5, weights=[4, 1, 1, 5], method="inverted_cdf")
        assert_eq!(weighted_median(&[(3.0, 4.0), (1.0, 1.0), (2.0, 1.0), (10.0, 5.0)]), Some(3.0));
    }

    #[test]
    fn weightless_and_missing_values_do_not_count() {
        assert_eq!(weighted_median(&[]), None);
        assert_eq!(weighted_median(&[(1.0, 0.0), (f64::NAN, 1.0)]), None);
        assert_eq!(weighted_median(&[(1.0, 0.0), (7.0, 1.0), (9.0, f64::NAN)]), Some(7.0));
        assert_eq!(median_of([]), None);
    }

    #[test]
    fn the_ends_of_the_number_line_are_survived() {
        assert!(mad(&sample(&[f64::MAX, f64::MIN, f64::MAX])).is_finite());
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_scale_is_carried(
            x in prop::collection::vec(-1e3_f64..1e3, 1..30), factor in 0.1_f64..10.0, shift in -100.0_f64..100.0, turn in 0_usize..30,
        ) {
            let mut turned = x.clone();
            turned.rotate_left(turn % x.len());
            let moved: Vec<f64> = turned.iter().map(|v| v * factor + shift).collect();
            let (before, after) = (sample(&x), sample(&moved));
            prop_assert!((median(&after) - (median(&before) * factor + shift)).abs() < 1e-6);
            prop_assert!((mad(&after) - mad(&before) * factor).abs() < 1e-6);
            let weigh = |values: &[f64]| values.iter().map(|v| (*v, 2.0)).collect::<Vec<_>>();
            let (a, b) = (weighted_median(&weigh(&x)), weighted_median(&weigh(&moved)));
            prop_assert!((a.expect("not empty") * factor + shift - b.expect("not empty")).abs() < 1e-6);
        }

        #[test]
        fn one_wild_value_does_not_move_the_median_beyond_its_neighbours(x in prop::collection::vec(-1e3..1e3, 3..30)) {
            let mut wild = x.clone();
            wild.push(1e12);
            prop_assert!(median(&sample(&wild)) <= sample(&x).largest());
        }
    }
}
