//! Location and scale that a few wild values can't move: median and median absolute deviation.
//! Means are not here.

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
    }

    #[test]
    fn both_medians_are_one() {
        for values in [vec![], vec![7.0], vec![3.0, 1.0], vec![3.1, 2.7, 9.4, 2.9, 3.3, 4.0]] {
            assert_eq!(median_in_place(&mut values.clone()), median_of(values));
        }
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
        }

        #[test]
        fn one_wild_value_does_not_move_the_median_beyond_its_neighbours(x in prop::collection::vec(-1e3..1e3, 3..30)) {
            let mut wild = x.clone();
            wild.push(1e12);
            prop_assert!(median(&sample(&wild)) <= sample(&x).largest());
        }
    }
}
