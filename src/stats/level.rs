//! Where a series stands lately: an exponentially weighted level that a wild value hardly moves
//! and that drifts back to zero. Many series at once, one setting for all. Predicts one step
//! ahead; looks at nothing that comes later.

use super::matrix::Matrix;
use super::student::{Degrees, ln_likelihood, robust_weight};

/// How a level moves: after each value by `gain` of the surprise, then back by `persistence`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dynamics {
    /// Share of the level that remains after one run; 1 is a random walk.
    pub persistence: f64,
    /// Share of a surprise that stays.
    pub gain: f64,
}

impl Dynamics {
    /// A level that never moves.
    pub const STILL: Self = Self { persistence: 1.0, gain: 0.0 };

    /// What is tried: no level at all, and four speeds at three persistences.
    pub fn all() -> impl Iterator<Item = Self> {
        let moving = [1.0, 0.9, 0.7]
            .into_iter()
            .flat_map(|persistence| [0.05, 0.1, 0.2, 0.4].map(|gain| Self { persistence, gain }));
        std::iter::once(Self::STILL).chain(moving)
    }
}

/// Rows at the start that judge no dynamics: the level has seen nothing yet.
const WARM_UP: usize = 4;

/// Follows each column's level over the rows (oldest first): `before` gets what was known before
/// each row, and what is known after the last is returned. `scales` are the columns' residual
/// scales. The robust filter of Masreliez, "Approximate non-Gaussian filtering with linear state
/// and observation relations", IEEE Trans. Autom. Control 20 (1975) 107-110, with Student's weights.
#[must_use]
pub fn follow(residuals: &Matrix, scales: &[f64], dynamics: Dynamics, before: &mut Matrix) -> Vec<f64> {
    let mut levels = vec![0.0; residuals.columns()];
    let precision: Vec<f64> = scales.iter().map(|s| 1.0 / (s * s)).collect();
    for row in 0..residuals.rows() {
        before.row_mut(row).copy_from_slice(&levels);
        for ((level, residual), precision) in levels.iter_mut().zip(residuals.row(row)).zip(&precision) {
            let surprise = residual - *level;
            let surprise = if surprise.is_nan() { 0.0 } else { surprise };
            let weight = robust_weight(surprise * surprise * precision);
            *level = dynamics.persistence * (*level + dynamics.gain * weight * surprise);
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
        // What is left of each value; `before` is filled anew by the next one.
        for row in 0..residuals.rows() {
            for (left, residual) in before.row_mut(row).iter_mut().zip(residuals.row(row)) {
                *left = if row < WARM_UP { f64::NAN } else { residual - *left };
            }
        }
        let likelihood = ln_likelihood(&before, degrees, scales);
        if likelihood > best.0 {
            best = (likelihood, dynamics);
        }
    }
    best.1
}
