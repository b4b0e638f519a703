//! Estimates the speed of each run's runner from reference stages, so that a slow runner is not taken
//! for a slow stage. References are leaves of the tree, so that a parent and its child don't count
//! twice. A job with enough of them has a speed of its own. It works on logarithms of durations.

use crate::stats::matrix::{Matrix, medians};
use crate::stats::robust::median_in_place;
use crate::stats::student::{first_scales, robust_weight};

/// Leaves that a job needs for a speed of its own: each job has its own runner.
const MIN_JOB: usize = 4;
/// With fewer leaves outside of it, a parent's speed is estimated from its own parts too.
const MIN_OTHERS: usize = 3;
/// Up to this many references, each one is left out exactly. Above it, a single reference hardly
/// changes the others' weights, and its own part is subtracted.
const EXACT: usize = 15;
/// Lower bound when dividing by exposure.
const MIN_EXPOSURE: f64 = 0.15;
/// Steps of the reweighted mean.
const STEPS: usize = 4;

/// The stages from which runner speed is estimated, by the stages that run on the same runner.
#[derive(Debug, Clone)]
pub struct ReferenceStages {
    scopes: Vec<Scope>,
}

/// How the speed of a parent that contains nearly all references is estimated.
#[derive(Clone, Copy)]
enum Alone {
    /// From its own parts: there is nothing else.
    OwnParts,
    /// Not here, but in a wider scope.
    LeaveOut,
}

/// References of one runner and the stages that ran on it.
#[derive(Debug, Clone)]
struct Scope {
    leaves: Vec<usize>,
    /// Stages, each with the positions in `leaves` that are not independent of it.
    stages: Vec<(usize, Vec<usize>)>,
}

impl ReferenceStages {
    /// One runner for the whole run, or one for each job: the choice that leaves less of the baseline
    /// unexplained. `logs` is the table to fit; see [`Self::new`] for the other arguments.
    #[must_use]
    pub fn choose(
        is_reference: &[bool],
        job: &[Option<usize>],
        within: &[Vec<usize>],
        logs: &Matrix,
    ) -> Self {
        let shared = Self::new(is_reference, &vec![None; job.len()], within);
        let apart = Self::new(is_reference, job, within);
        if apart.scopes.len() == 1 {
            return shared;
        }
        let mut e = logs.clone();
        e.subtract_from_rows(&medians(logs));
        let floors = vec![1e-3; job.len()];
        let scales = first_scales(&e, &floors);
        let exposure = vec![1.0; job.len()];
        let in_jobs: Vec<usize> = apart.scopes[1..].iter().flat_map(|scope| scope.leaves.clone()).collect();
        let unexplained = |references: &Self| -> f64 {
            let left = e.minus(&references.levels(&e, &exposure, &scales));
            let scales = first_scales(&left, &floors);
            in_jobs.iter().map(|i| scales[*i].ln()).sum()
        };
        if unexplained(&apart) < unexplained(&shared) { apart } else { shared }
    }

    /// `is_reference` and `job` are by stage. `within` has the leaves that a stage is or contains.
    #[must_use]
    pub fn new(is_reference: &[bool], job: &[Option<usize>], within: &[Vec<usize>]) -> Self {
        let all: Vec<usize> = (0..is_reference.len()).filter(|i| is_reference[*i]).collect();
        let mut jobs: Vec<usize> = all.iter().filter_map(|i| job[*i]).collect();
        jobs.sort_unstable();
        jobs.dedup();
        let mut scopes = vec![Scope::of(all.clone(), 0..is_reference.len(), within, Alone::OwnParts)];
        for this in jobs {
            let leaves: Vec<usize> = all.iter().copied().filter(|i| job[*i] == Some(this)).collect();
            if leaves.len() < MIN_JOB || leaves.len() == all.len() {
                continue;
            }
            let stages: Vec<usize> = (0..job.len()).filter(|i| job[*i] == Some(this)).collect();
            // A stage that contains nearly all of the job, as the job itself, uses the other jobs.
            scopes.push(Scope::of(leaves, stages.into_iter(), within, Alone::LeaveOut));
        }
        Self { scopes }
    }

    /// The runner's speed for each run (row) and stage (column): the robust mean of e / b over the
    /// *other* references, with weights b² / s². `e` are residuals that contain the runner's speed, `b`
    /// exposures, `s` scales. 0 without references.
    #[must_use]
    pub fn levels(&self, e: &Matrix, b: &[f64], s: &[f64]) -> Matrix {
        let mut levels = Matrix::filled(e.rows(), e.columns(), 0.0);
        for scope in &self.scopes {
            let mut row = Row::new(&scope.leaves, b, s);
            for run in 0..e.rows() {
                scope.levels_of_run(e.row(run), &mut row, levels.row_mut(run));
            }
        }
        levels
    }

    /// Variance of the speed that is estimated from all references, by their own noise: the cost of
    /// Student's weights (about 1.3) over the total precision. 0 without references.
    #[must_use]
    pub fn level_noise(&self, b: &[f64], s: &[f64]) -> f64 {
        let precision: f64 =
            self.scopes[0].leaves.iter().map(|leaf| (b[*leaf].max(MIN_EXPOSURE) / s[*leaf]).powi(2)).sum();
        if precision > 0.0 { 1.3 / precision } else { 0.0 }
    }

    /// The median over all references of a value that each stage has.
    #[must_use]
    pub fn median_of(&self, by_stage: &[f64]) -> Option<f64> {
        let mut values: Vec<f64> = self.scopes[0].leaves.iter().map(|leaf| by_stage[*leaf]).collect();
        median_in_place(&mut values)
    }

    /// The speed of one run, estimated from all references.
    #[must_use]
    pub fn level_of_run(&self, e: &[f64], b: &[f64], s: &[f64]) -> f64 {
        let mut row = Row::new(&self.scopes[0].leaves, b, s);
        row.read(&self.scopes[0].leaves, &[], e);
        row.mean()
    }
}

impl Scope {
    fn of(
        leaves: Vec<usize>,
        stages: impl Iterator<Item = usize>,
        within: &[Vec<usize>],
        alone: Alone,
    ) -> Self {
        let stages = stages
            .filter_map(|stage| {
                let mut own: Vec<usize> =
                    within[stage].iter().filter_map(|leaf| leaves.binary_search(leaf).ok()).collect();
                own.sort_unstable();
                let is_leaf = own.iter().all(|at| leaves[*at] == stage);
                if !is_leaf && leaves.len() - own.len() < MIN_OTHERS {
                    match alone {
                        Alone::OwnParts => own.clear(),
                        Alone::LeaveOut => return None,
                    }
                }
                Some((stage, own))
            })
            .collect();
        Self { leaves, stages }
    }

    fn levels_of_run(&self, e: &[f64], row: &mut Row, levels: &mut [f64]) {
        if self.leaves.len() <= EXACT {
            for (stage, excluded) in &self.stages {
                row.read(&self.leaves, excluded, e);
                levels[*stage] = row.mean();
            }
            return;
        }
        row.read(&self.leaves, &[], e);
        let over_all = row.mean();
        let total: f64 = row.final_weight.iter().sum();
        for (stage, excluded) in &self.stages {
            let (mut weight, mut product) = (total, total * over_all);
            for at in excluded {
                weight -= row.final_weight[*at];
                product -= row.final_weight[*at] * row.value[*at];
            }
            levels[*stage] = if weight > 1e-9 * total { product / weight } else { 0.0 };
        }
    }
}

/// One run's references, by position among the scope's leaves. The next run reuses the buffers.
struct Row {
    /// Exposure, bounded from below.
    exposure: Vec<f64>,
    /// Inverse of the scale of `value`.
    precision: Vec<f64>,
    /// e / b; 0 where it is missing or excluded.
    value: Vec<f64>,
    /// Weight before the robust steps; 0 where it is missing or excluded.
    weight: Vec<f64>,
    /// Weight in the mean.
    final_weight: Vec<f64>,
    observed: Vec<f64>,
}

impl Row {
    fn new(leaves: &[usize], b: &[f64], s: &[f64]) -> Self {
        let exposure: Vec<f64> = leaves.iter().map(|leaf| b[*leaf].max(MIN_EXPOSURE)).collect();
        let precision = leaves.iter().zip(&exposure).map(|(leaf, b)| b / s[*leaf]).collect();
        let nothing = vec![0.0; leaves.len()];
        Self {
            exposure,
            precision,
            value: nothing.clone(),
            weight: nothing.clone(),
            final_weight: nothing,
            observed: Vec::with_capacity(leaves.len()),
        }
    }

    fn read(&mut self, leaves: &[usize], excluded: &[usize], e: &[f64]) {
        for (at, leaf) in leaves.iter().enumerate() {
            let is_there = e[*leaf].is_finite();
            self.value[at] = if is_there { e[*leaf] / self.exposure[at] } else { 0.0 };
            self.weight[at] = if is_there { self.precision[at] * self.precision[at] } else { 0.0 };
        }
        for at in excluded {
            self.weight[*at] = 0.0;
        }
    }

    /// The robust mean: a few steps of reweighting from the median. 0 without values.
    fn mean(&mut self) -> f64 {
        self.observed.clear();
        let counting = self.value.iter().zip(&self.weight).filter(|(_, weight)| **weight > 0.0);
        self.observed.extend(counting.map(|(value, _)| *value));
        self.final_weight.fill(0.0);
        let Some(mut mean) = median_in_place(&mut self.observed) else { return 0.0 };
        for _ in 0..STEPS {
            let (mut total, mut product) = (0.0, 0.0);
            let terms = self.value.iter().zip(&self.weight).zip(&self.precision);
            for (of_mean, ((value, weight), precision)) in self.final_weight.iter_mut().zip(terms) {
                let z = (value - mean) * precision;
                *of_mean = weight * robust_weight(z * z);
                total += *of_mean;
                product += *of_mean * value;
            }
            mean = product / total;
        }
        mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves without parents, all on one runner.
    fn leaves(n: usize) -> ReferenceStages {
        let within: Vec<Vec<usize>> = (0..n).map(|i| vec![i]).collect();
        ReferenceStages::new(&vec![true; n], &vec![None; n], &within)
    }

    fn row(values: &[f64]) -> Matrix {
        let mut row = Matrix::filled(1, values.len(), 0.0);
        row.row_mut(0).copy_from_slice(values);
        row
    }

    fn agree(found: &[f64], expected: &[f64]) {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    }

    // b = np.maximum(b, .15); x = e / b; w = (b / s)**2; m = np.median(x)
    // for _ in range(4): o = w * 5 / (4 + ((x - m) * b / s)**2); m = (o * x).sum() / o.sum()
    #[test]
    fn stage_speed_is_estimated_from_other_stages() {
        let e = [0.1, 0.12, 0.08, 0.5, 0.11];
        let (b, s) = ([1.0, 0.5, 1.0, 1.0, 0.1], [0.05, 0.1, 0.05, 0.1, 0.2]);
        // m of all, and with np.delete(e, i), np.delete(b, i), np.delete(s, i)
        let others = [
            0.193_045_288_069_878_03,
            0.101_048_215_605_603_36,
            0.186_097_036_124_283,
            0.094_582_567_329_896_85,
            0.104_586_066_031_608_32,
        ];
        agree(&[leaves(5).level_of_run(&e, &b, &s)], &[0.105_125_750_172_446_06]);
        agree(leaves(5).levels(&row(&e), &b, &s).row(0), &others);
        let mut missing = e;
        missing[3] = f64::NAN;
        agree(&leaves(5).levels(&row(&missing), &b, &s).row(0)[3..4], &others[3..4]);
        agree(&[leaves(5).level_of_run(&missing, &b, &s)], &others[3..4]);
    }

    #[test]
    fn own_part_is_subtracted_from_many_references() {
        // i = np.arange(20); e = .1 + .02 * (i * 7 % 5 - 2); e[3] = .9; b = np.where(i % 4 == 0, .5, 1); s = .05
        // k = i != 5; (o * x)[k].sum() / o[k].sum()
        let mut e: Vec<f64> = (0..20).map(|i| 0.1 + 0.02 * f64::from(i * 7 % 5 - 2)).collect();
        e[3] = 0.9;
        let b: Vec<f64> = (0..20).map(|i| if i % 4 == 0 { 0.5 } else { 1.0 }).collect();
        let seen = leaves(20).levels(&row(&e), &b, &[0.05; 20]).get(0, 5);
        agree(&[seen], &[0.113_087_365_392_948_57]);
    }

    #[test]
    fn jobs_with_enough_leaves_have_own_speed() {
        let job: Vec<Option<usize>> = (0..8).map(|i| Some(i / 4)).collect();
        let within: Vec<Vec<usize>> = (0..8).map(|i| vec![i]).collect();
        let references = ReferenceStages::new(&[true; 8], &job, &within);
        let e = [0.3, 0.3, 0.3, 0.3, -0.2, -0.2, -0.2, -0.2];
        agree(references.levels(&row(&e), &[1.0; 8], &[0.05; 8]).row(0), &e);
    }

    #[test]
    fn no_reference_means_speed_zero() {
        for n in [0, 1, 3, 30] {
            let missing = vec![f64::NAN; n];
            let (b, s) = (vec![1.0; n], vec![0.1; n]);
            assert!(leaves(n).levels(&row(&missing), &b, &s).row(0).iter().all(|level| *level == 0.0));
            assert!(leaves(n).level_of_run(&missing, &b, &s).abs() < f64::EPSILON);
        }
    }
}
