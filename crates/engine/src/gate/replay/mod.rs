//! Back-testing: what the gate would have said on a pipeline's own history. Each run past the
//! warm-up begins a made-up pull request of some consecutive runs, judged push by push against
//! the runs before it, as the service would have. Reads nothing, knows no clock; chance is a seed.
//!
//! `trial` is one such pull request, `inject` slows a stage of it, `incumbents` are the rules
//! other tools use, `summary` adds up, `outlook` says what would be found today, `lasting` what changed for good.

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
use crate::gate::baseline::{Baseline, ROOM_FOR_OTHERS, choose};
use crate::gate::duration_model::fit::MIN_TO_CONFIRM;
use crate::model::policy::GatePolicy;
use crate::model::run::{MeasuredRun, PipelineRun};
use crate::model::stage::{StageKey, StageSample};

/// Comparable runs before the first made-up pull request: fewer can't confirm anything.
pub const WARM_UP: usize = MIN_TO_CONFIRM;
/// How many times as long the slowed stage takes.
pub const SIZES: [f64; 5] = [1.1, 1.2, 1.3, 1.5, 2.0];
/// Only stages that take at least so long, in the median, are slowed; seconds.
pub const MIN_SLOWED_S: f64 = 5.0;

/// What is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Runs in a made-up pull request, at least 1.
    pub commits: usize,
    /// Chooses the stages that are slowed.
    pub seed: u64,
    /// At most so many pull requests, spread evenly over the history.
    pub limit: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { commits: 4, seed: 1, limit: 3_000 }
    }
}

/// The history of one pipeline, ready to be replayed.
pub struct Plan<'a> {
    /// Oldest first, stages under their present names.
    runs: Vec<MeasuredRun>,
    base_branch: Option<&'a str>,
    policy: &'a GatePolicy,
    settings: Settings,
    /// Stages that hold others: no leaves.
    holders: HashSet<StageKey>,
    student: StudentLimits,
}

impl<'a> Plan<'a> {
    /// Of runs of one pipeline on the base branch, in any order. Their errors are not replayed.
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
        let holders = runs.iter().flat_map(|m| &m.stages).filter_map(|s| s.parent.clone()).collect();
        let settings = Settings { commits: settings.commits.max(1), ..settings };
        Self { runs, base_branch, policy, settings, holders, student: StudentLimits::new() }
    }

    /// What is replayed.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// How many runs the history has.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Runs that would have to be added before there is anything to replay.
    #[must_use]
    pub fn missing_runs(&self) -> usize {
        (WARM_UP + self.settings.commits).saturating_sub(self.runs.len())
    }

    /// How many pull requests of consecutive runs the history has past the warm-up.
    #[must_use]
    pub fn possible(&self) -> usize {
        (self.runs.len() + 1).saturating_sub(WARM_UP + self.settings.commits)
    }

    /// Where the pull requests begin that are replayed: all that are possible, or as many as the
    /// limit allows, evenly spread.
    #[must_use]
    pub fn positions(&self) -> Vec<usize> {
        let possible = self.possible();
        let wanted = possible.min(self.settings.limit);
        (0..wanted).map(|i| WARM_UP + i * possible / wanted).collect()
    }

    /// How many of so many replayed pull requests share no run: neighbours overlap, and a share
    /// of them is known no better than this number allows.
    #[must_use]
    pub fn independent(&self, replayed: usize) -> usize {
        replayed.min(self.possible().div_ceil(self.settings.commits))
    }

    /// What a change that begins with `first` at the position `end` is held against: chosen as
    /// the service does, of the runs before it alone.
    fn baseline_before(&self, end: usize, first: &PipelineRun) -> Baseline {
        let room = self.policy.baseline().runs.saturating_add(ROOM_FOR_OTHERS) as usize;
        let history = self.runs[end.saturating_sub(room)..end].to_vec();
        choose(history, first, self.base_branch, self.policy, first.started_at)
    }

    fn is_leaf(&self, sample: &StageSample) -> bool {
        !self.holders.contains(&sample.key)
    }
}

/// Gives a sample the name that the policy's aliases say it has now.
fn rename(sample: &mut StageSample, policy: &GatePolicy) {
    let Some(path) = renamed(&sample.path, policy) else { return };
    sample.key = StageKey::from_path(&path);
    sample.parent = (path.len() > 1).then(|| StageKey::from_path(&path[..path.len() - 1]));
    sample.path = path;
}
