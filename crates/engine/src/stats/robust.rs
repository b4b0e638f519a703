//! Medians, which a few outliers can't move. An even number of values has the mean of its two
//! middle ones as median. Means are not here.

/// 1 / Φ⁻¹(3/4). The median absolute deviation of normal data times this is its standard deviation.
pub const MAD_TO_DEVIATION: f64 = 1.4826;

/// None without values, and when one of them is not finite.
#[must_use]
pub fn median_of(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    if values.iter().all(|value| value.is_finite()) { median_in_place(&mut values) } else { None }
}

/// The median of finite values, without allocation: the values are reordered. None without values.
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

    fn median(values: &[f64]) -> f64 {
        median_of(values.iter().copied()).expect("finite values")
    }

    #[test]
    fn median_agrees_with_numpy() {
        // np.median([3.1, 2.7, 9.4, 2.9, 3.3, 4.0])
        assert!((median(&[3.1, 2.7, 9.4, 2.9, 3.3, 4.0]) - 3.2).abs() < 1e-12);
        assert_eq!(median_of([7.0]), Some(7.0));
        assert_eq!(median_of([3.0, 1.0]), Some(2.0));
        assert_eq!(median_of([f64::MAX, f64::MIN, f64::MAX]), Some(f64::MAX));
    }

    #[test]
    fn empty_or_not_finite_values_have_none() {
        for values in [vec![], vec![1.0, f64::NAN], vec![f64::INFINITY]] {
            assert_eq!(median_of(values.iter().copied()), None, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn median_ignores_order_and_scales_with_values(
            x in prop::collection::vec(-1e3_f64..1e3, 1..30), factor in 0.1_f64..10.0, shift in -100.0_f64..100.0, turn in 0_usize..30,
        ) {
            let mut turned = x.clone();
            turned.rotate_left(turn % x.len());
            let moved: Vec<f64> = turned.iter().map(|v| v * factor + shift).collect();
            prop_assert!((median(&moved) - (median(&x) * factor + shift)).abs() < 1e-6);
        }

        #[test]
        fn outlier_keeps_median_within_other_values(x in prop::collection::vec(-1e3..1e3, 3..30)) {
            let mut with_outlier = x.clone();
            with_outlier.push(1e12);
            prop_assert!(median(&with_outlier) <= x.iter().copied().fold(f64::MIN, f64::max));
        }
    }
}
