//! A slow runner is not a slow stage: how fast a run's machine was, measured on its other
//! stages. Only leaves of the tree are measured, so that a parent and its child don't count
//! twice. Knows logarithms of durations, not what they are compared with.

use crate::stats::count;
use crate::stats::robust::{median_of, weighted_median};

/// With fewer other stages than this, the runner's speed can't be told from a stage's own.
pub const MIN_OTHERS: usize = 3;

/// With more leaves than this no single one moves the median of all noticeably, and leaving
/// each out in turn would only cost time.
pub const MAX_LEAVE_OUT: usize = 64;

/// One leaf's sample in one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeafResidual {
    /// Which stage.
    pub stage: usize,
    /// ln(duration) minus its usual value, divided by the stage's exposure to the runner.
    pub residual: f64,
    /// Precision: 1 / scale², times exposure².
    pub weight: f64,
}

/// The logarithm of the factor by which a run's machine was slower than usual: the weighted
/// median over the leaves other than `left_out`. 0 when fewer than [`MIN_OTHERS`] remain.
#[must_use]
pub fn runner_level(leaves: &[LeafResidual], left_out: &[usize]) -> f64 {
    let others: Vec<(f64, f64)> =
        leaves.iter().filter(|l| !left_out.contains(&l.stage)).map(|l| (l.residual, l.weight)).collect();
    if others.len() < MIN_OTHERS { 0.0 } else { weighted_median(&others).unwrap_or(0.0) }
}

/// The leaves of one run, with the level over all of them at hand: most stages of a large
/// pipeline ask for that one.
#[derive(Debug, Clone)]
pub struct RunnerRow {
    leaves: Vec<LeafResidual>,
    over_all: f64,
}

impl RunnerRow {
    /// Of one run's leaves.
    #[must_use]
    pub fn new(leaves: Vec<LeafResidual>) -> Self {
        let over_all = runner_level(&leaves, &[]);
        Self { leaves, over_all }
    }

    /// See [`runner_level`].
    #[must_use]
    pub fn level(&self, left_out: &[usize]) -> f64 {
        if left_out.is_empty() { self.over_all } else { runner_level(&self.leaves, left_out) }
    }
}

/// How strongly a stage follows the runner: the slope of its residuals on the runner's level,
/// within 0..=1.3. Shrunk to 1 in two ways: a tenth of the observed variation, as in the
/// simulator this method was chosen with; and twice the variation that the level's own noise
/// (`level_noise`, a variance) explains, since a level that never really moved can't teach that
/// a stage ignores it (errors in variables).
#[must_use]
pub fn exposure(pairs: &[(f64, f64)], limit: f64, level_noise: f64) -> f64 {
    let centre = median_of(pairs.iter().map(|(_, level)| *level)).unwrap_or(0.0);
    let usual = median_of(pairs.iter().map(|(residual, _)| *residual)).unwrap_or(0.0);
    let (mut product, mut square) = (0.0, 0.0);
    for (residual, level) in pairs {
        let level = level - centre;
        product += (residual - usual).clamp(-limit, limit) * level;
        square += level * level;
    }
    let prior = 0.1 * square + 2.0 * count(pairs.len()) * level_noise;
    let slope = (product + prior) / (square + prior);
    if slope.is_finite() { slope.clamp(0.0, 1.3) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(residuals: &[f64]) -> Vec<LeafResidual> {
        residuals
            .iter()
            .enumerate()
            .map(|(stage, r)| LeafResidual { stage, residual: *r, weight: 1.0 })
            .collect()
    }

    #[test]
    fn a_slow_stage_is_not_a_slow_runner_and_the_reverse() {
        let one_slow = leaves(&[0.01, 0.9, -0.02, 0.0]);
        assert!(runner_level(&one_slow, &[1]).abs() < 0.05);
        assert!(runner_level(&one_slow, &[]).abs() < 0.05);
        let all_slow = leaves(&[0.3, 0.31, 0.29, 0.3]);
        assert!((runner_level(&all_slow, &[0]) - 0.3).abs() < 0.02);
    }

    #[test]
    fn too_few_others_say_nothing() {
        assert!(runner_level(&leaves(&[0.3, 0.3, 0.3]), &[0]).abs() < f64::EPSILON);
        assert!(runner_level(&[], &[]).abs() < f64::EPSILON);
    }

    #[test]
    fn exposure_is_learned_and_stays_one_where_nothing_moves() {
        let follows = |b: f64| -> Vec<(f64, f64)> {
            (0..40).map(|i| f64::from(i % 7) / 20.0).map(|g| (b * g, g)).collect()
        };
        assert!((exposure(&follows(1.0), 9.0, 0.0) - 1.0).abs() < 1e-9);
        // (b v + .1 v) / 1.1 v = (.2 + .1) / 1.1
        assert!((exposure(&follows(0.2), 9.0, 0.0) - 0.3 / 1.1).abs() < 1e-9);
        assert!((exposure(&[(0.4, 0.0), (-0.4, 0.0)], 9.0, 0.01) - 1.0).abs() < 1e-9);
        assert!((exposure(&[], 9.0, 0.0) - 1.0).abs() < f64::EPSILON);
        assert!((exposure(&[(0.0, 0.0)], 9.0, 0.0) - 1.0).abs() < f64::EPSILON);
    }
}
