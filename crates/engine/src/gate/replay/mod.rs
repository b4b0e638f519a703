//! Back-tests the gate on a pipeline's own history. Each run past the warm-up begins a simulated pull
//! request of consecutive runs. It is judged push by push against the runs before it, as the service
//! would have done. The random choices come from a seed.
//!
//! - `trial` judges one such pull request, and `inject` slows a stage of it.
//! - `incumbents` has the rules of other tools.
//! - `summary` aggregates the trials.
//! - `outlook` finds the smallest slowdown that would be found today.
//! - `lasting` finds the lasting changes of the branch.

pub mod incumbents;
mod inject;
mod lasting;
pub mod outlook;
pub mod summary;
#[cfg(test)]
mod tests;
pub mod trial;

use std::collections::HashSet;

use self::incumbents::StudentLimits;
use crate::gate::baseline::columns::renamed;
use crate::gate::baseline::{Baseline, EXTRA_RUNS, choose};
use crate::gate::duration_model::fit::MIN_TO_CONFIRM;
use crate::model::policy::GatePolicy;
use crate::model::run::{MeasuredRun, PipelineRun};
use crate::model::stage::{StageKey, StageSample};

/// Comparable runs before the first simulated pull request: fewer can't confirm a finding.
pub const WARM_UP: usize = MIN_TO_CONFIRM;
/// Factors by which a stage is slowed.
pub const SIZES: [f64; 5] = [1.1, 1.2, 1.3, 1.5, 2.0];
/// Smallest median of a stage that is slowed, seconds.
pub const MIN_SLOWED_S: f64 = 5.0;

/// Parameters of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Runs in a simulated pull request, at least 1.
    pub commits: usize,
    /// Seed for the choice of the slowed stages.
    pub seed: u64,
    /// Most pull requests, spread evenly over the history.
    pub limit: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { commits: 4, seed: 1, limit: 3_000 }
    }
}

/// The history of one pipeline, ready to be replayed.
pub struct Plan<'a> {
    /// Oldest first, with the stages' present names.
    runs: Vec<MeasuredRun>,
    base_branch: Option<&'a str>,
    policy: &'a GatePolicy,
    settings: Settings,
    /// Stages with children.
    parents: HashSet<StageKey>,
    student: StudentLimits,
}

impl<'a> Plan<'a> {
    /// The plan for runs of one pipeline on the base branch, in any order. Errors are not replayed.
    #[must_use]
    pub fn new(
        mut runs: Vec<MeasuredRun>,
        base_branch: Option<&'a str>,
        policy: &'a GatePolicy,
        settings: Settings,
    ) -> Self {
        runs.sort_by(|a, b| (a.run.started_at, &a.run.id).cmp(&(b.run.started_at, &b.run.id)));
        for measured in &mut runs {
            measured.errors.clear();
            measured.stages.iter_mut().for_each(|sample| rename(sample, policy));
        }
        let parents = runs.iter().flat_map(|m| &m.stages).filter_map(|s| s.parent.clone()).collect();
        let settings = Settings { commits: settings.commits.max(1), ..settings };
        Self { runs, base_branch, policy, settings, parents, student: StudentLimits::new() }
    }

    #[must_use]
    pub fn settings(&self) -> Settings {
        self.settings
    }

    #[must_use]
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Runs that are missing for the first pull request; 0 when there are enough.
    #[must_use]
    pub fn missing_runs(&self) -> usize {
        (WARM_UP + self.settings.commits).saturating_sub(self.runs.len())
    }

    /// Number of pull requests of consecutive runs in the history past the warm-up.
    #[must_use]
    pub fn possible(&self) -> usize {
        (self.runs.len() + 1).saturating_sub(WARM_UP + self.settings.commits)
    }

    /// Positions of the replayed pull requests: all that are possible, or as many as the limit allows,
    /// evenly spread.
    #[must_use]
    pub fn positions(&self) -> Vec<usize> {
        let possible = self.possible();
        let wanted = possible.min(self.settings.limit);
        (0..wanted).map(|i| WARM_UP + i * possible / wanted).collect()
    }

    /// How many of `replayed` pull requests share no run. Neighbours overlap, so this number limits the
    /// precision of a share of them.
    #[must_use]
    pub fn independent(&self, replayed: usize) -> usize {
        replayed.min(self.possible().div_ceil(self.settings.commits))
    }

    /// The baseline of a change that begins with `first` at position `end`. Only runs before it are
    /// considered, by the rules of the service.
    fn baseline_before(&self, end: usize, first: &PipelineRun) -> Baseline {
        let limit = self.policy.baseline().runs.saturating_add(EXTRA_RUNS) as usize;
        let history = self.runs[end.saturating_sub(limit)..end].to_vec();
        choose(history, first, self.base_branch, self.policy, first.started_at)
    }

    fn is_leaf(&self, sample: &StageSample) -> bool {
        !self.parents.contains(&sample.key)
    }
}

/// Renames a sample by the policy's aliases.
fn rename(sample: &mut StageSample, policy: &GatePolicy) {
    let Some(path) = renamed(&sample.path, policy) else { return };
    sample.key = StageKey::from_path(&path);
    sample.parent = (path.len() > 1).then(|| StageKey::from_path(&path[..path.len() - 1]));
    sample.path = path;
}
