//! The current level of a series: exponentially weighted, robust to outliers, and decaying to zero.
//! It follows many series at once with one setting. It predicts one step ahead and never uses later
//! values.

use super::matrix::Matrix;
use super::student::{Degrees, ln_likelihood, robust_weight};

/// The movement of a level after each value: by `gain` of the prediction error, then multiplied by
/// `persistence`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dynamics {
    /// Share of the level that remains after one run. 1 is a random walk.
    pub persistence: f64,
    pub gain: f64,
}

impl Dynamics {
    /// A level that never moves.
    pub const STILL: Self = Self { persistence: 1.0, gain: 0.0 };

    /// All candidates: a still level, and four gains at three persistences.
    pub fn all() -> impl Iterator<Item = Self> {
        let moving = [1.0, 0.9, 0.7]
            .into_iter()
            .flat_map(|persistence| [0.05, 0.1, 0.2, 0.4].map(|gain| Self { persistence, gain }));
        std::iter::once(Self::STILL).chain(moving)
    }
}

/// The first rows are left out when dynamics are chosen, because the level starts without data.
const WARM_UP: usize = 4;

/// Follows each column's level over the rows, oldest first. It writes the levels before each row to
/// `before` and returns those after the last row. `scales` are the columns' residual scales.
/// The robust filter of Masreliez, "Approximate non-Gaussian filtering with linear state and
/// observation relations", IEEE Trans. Autom. Control 20 (1975) 107-110, with Student's weights.
#[must_use]
pub fn follow(residuals: &Matrix, scales: &[f64], dynamics: Dynamics, before: &mut Matrix) -> Vec<f64> {
    let mut levels = vec![0.0; residuals.columns()];
    let precision: Vec<f64> = scales.iter().map(|s| 1.0 / (s * s)).collect();
    for row in 0..residuals.rows() {
        before.row_mut(row).copy_from_slice(&levels);
        for ((level, residual), precision) in levels.iter_mut().zip(residuals.row(row)).zip(&precision) {
            let error = residual - *level;
            let error = if error.is_nan() { 0.0 } else { error };
            let weight = robust_weight(error * error * precision);
            *level = dynamics.persistence * (*level + dynamics.gain * weight * error);
        }
    }
    levels
}

/// The dynamics that predict the columns best one step ahead, by their pooled likelihood.
#[must_use]
pub fn choose(residuals: &Matrix, scales: &[f64], degrees: Degrees) -> Dynamics {
    let mut best = (f64::NEG_INFINITY, Dynamics::STILL);
    let mut before = Matrix::filled(residuals.rows(), residuals.columns(), 0.0);
    for dynamics in Dynamics::all() {
        let _ = follow(residuals, scales, dynamics, &mut before);
        // Turns levels into prediction errors in place. The next dynamics overwrite them.
        for row in 0..residuals.rows() {
            for (value, residual) in before.row_mut(row).iter_mut().zip(residuals.row(row)) {
                *value = if row < WARM_UP { f64::NAN } else { residual - *value };
            }
        }
        let likelihood = ln_likelihood(&before, degrees, scales);
        if likelihood > best.0 {
            best = (likelihood, dynamics);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: impl IntoIterator<Item = f64>) -> Matrix {
        let values: Vec<f64> = values.into_iter().collect();
        let mut matrix = Matrix::filled(values.len(), 1, 0.0);
        values.iter().enumerate().for_each(|(row, value)| matrix.set(row, 0, *value));
        matrix
    }

    #[test]
    fn level_agrees_with_numpy() {
        // l = 0
        // for x in (.3, -.1, nan, .8, .2):
        //     u = np.nan_to_num(x - l); print(l); l = .9 * (l + .4 * 5 / (4 + (u / .2)**2) * u)
        let x = column([0.3, -0.1, f64::NAN, 0.8, 0.2]);
        let mut before = Matrix::filled(5, 1, 0.0);
        let dynamics = Dynamics { persistence: 0.9, gain: 0.4 };
        let last = follow(&x, &[0.2], dynamics, &mut before)[0];
        let expected =
            [0.0, 0.0864, 0.008_845_251_192_123_281, 0.007_960_726_072_910_953, 0.079_595_657_151_164_72];
        for (row, expected) in expected.into_iter().enumerate() {
            assert!((before.get(row, 0) - expected).abs() < 1e-14, "{row}: {}", before.get(row, 0));
        }
        assert!((last - 0.121_316_615_811_904_74).abs() < 1e-14, "{last}");
    }

    #[test]
    fn dynamics_fit_the_series() {
        let noise = |row: i32| 0.1 * f64::from(row * 7 % 5 - 2);
        let still = choose(&column((0..60).map(noise)), &[0.1], Degrees::Four);
        assert_eq!(still, Dynamics::STILL);
        let step = (0..60).map(|row| noise(row) + if row < 30 { 0.0 } else { 1.0 });
        let moved = choose(&column(step), &[0.1], Degrees::Four);
        assert!(moved.gain > 0.0 && moved.persistence > 0.99, "a lasting step is a level: {moved:?}");
        assert_eq!(choose(&Matrix::filled(0, 3, 0.0), &[0.1; 3], Degrees::Four), Dynamics::STILL);
    }
}
