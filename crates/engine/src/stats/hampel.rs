//! Removes single gross outliers from a series without blurring its steps, by the Hampel identifier
//! along a running median. An excursion of four points or more stays.
//! Hampel, "The influence curve and its role in robust estimation", Journal of the American
//! Statistical Association 69 (1974) 383-393.

use super::quantile::quantile;
use super::robust::median_in_place;
use super::sample::Sample;

/// Points on each side in the running median.
const REACH: usize = 3;
/// Largest distance from the running median, in scales.
const LIMIT: f64 = 3.0;
/// The scale is this quantile of the deviations. The median deviation can be 0 for a stage that takes
/// one of two times, and every other value would be an outlier.
const SCALE_SHARE: f64 = 0.8;
/// The same quantile of a standard normal's absolute value: `scipy.stats.norm.ppf(.9)`.
const SCALE_DIVISOR: f64 = 1.281_551_565_544_600_4;

/// The series with every value clamped to within three scales of the median of the seven values
/// around it. The whole series has one scale. A series with a value that is not finite is returned
/// unchanged.
#[must_use]
pub fn without_outliers(series: &[f64]) -> Vec<f64> {
    let middles: Vec<f64> = (0..series.len()).map(|i| around(series, i)).collect();
    let away = series.iter().zip(&middles).map(|(x, middle)| (x - middle).abs()).collect();
    let Ok(away) = Sample::new(away) else { return series.to_vec() };
    let limit = LIMIT * quantile(&away, SCALE_SHARE) / SCALE_DIVISOR;
    series.iter().zip(&middles).map(|(x, middle)| x.clamp(middle - limit, middle + limit)).collect()
}

/// Median of the seven values around position `i`. There are fewer at the ends.
fn around(series: &[f64], i: usize) -> f64 {
    let nearby = &series[i.saturating_sub(REACH)..(i + REACH + 1).min(series.len())];
    // A copy on the stack: this runs for every point.
    let mut buffer = [0.0; 2 * REACH + 1];
    let buffer = &mut buffer[..nearby.len()];
    buffer.copy_from_slice(nearby);
    median_in_place(buffer).unwrap_or(series[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlier_is_removed_and_step_stays() {
        let mut series: Vec<f64> = (0..20).map(|i| if i % 2 == 0 { 0.01 } else { -0.01 }).collect();
        series[7] = 2.3;
        let clean = without_outliers(&series);
        assert!(clean.iter().all(|x| x.abs() < 0.1), "{clean:?}");
        series[7] = 0.0;
        series[10..].iter_mut().for_each(|x| *x += 1.0);
        assert_eq!(without_outliers(&series), series);
    }

    #[test]
    fn agrees_with_numpy() {
        // x = np.array([1, 2, 9, 3, 2, 1, 2, 3, 1, 2.])
        // m = np.array([np.median(x[max(0, i - 3):i + 4]) for i in range(10)])
        // L = 3 * np.quantile(abs(x - m), .8) / scipy.stats.norm.ppf(.9); np.clip(x, m - L, m + L)
        let clean = without_outliers(&[1.0, 2.0, 9.0, 3.0, 2.0, 1.0, 2.0, 3.0, 1.0, 2.0]);
        let expected = [1.0, 2.0, 4.575_003_682_038_851, 3.0, 2.0, 1.0, 2.0, 3.0, 1.0, 2.0];
        for (x, e) in clean.iter().zip(expected) {
            assert!((x - e).abs() < 1e-12, "{clean:?}");
        }
    }

    #[test]
    fn two_usual_times_both_stay() {
        let series: Vec<f64> = (0..40).map(|i| if i % 7 < 2 { 0.4 } else { 0.0 }).collect();
        assert_eq!(without_outliers(&series), series);
    }

    #[test]
    fn empty_or_not_finite_series_is_returned() {
        assert!(without_outliers(&[]).is_empty());
        assert_eq!(without_outliers(&[1.0, f64::INFINITY]).len(), 2);
    }
}
