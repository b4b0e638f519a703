//! The usual structure of a pipeline, from its baseline: its stages, their order and how often each runs.
//! It is built once for a fit, in time linear in the samples. It does not judge a candidate.

use std::collections::HashMap;

use super::tree::{Stage, Tree};
use crate::gate::baseline::columns::renamed;
use crate::model::policy::GatePolicy;
use crate::model::run::{MeasuredRun, RunResult};
use crate::model::stage::{StageKey, StageKind, StageSample};
use crate::model::structure::SHORTEST_S;
use crate::stats::quantile::quantile;
use crate::stats::robust::median_of;
use crate::stats::sample::Sample;

/// The newest runs whose order of stages and durations are kept.
const KEPT_RUNS: usize = 60;
/// A stage can only be missing if half of the newest runs, up to this number, have it.
const RECENT_RUNS: usize = 10;

/// The stages of the baseline's runs.
#[derive(Debug, Clone, Default)]
pub struct BaselineStructure {
    /// Number of runs.
    pub runs: usize,
    /// All stages of all runs.
    pub stages: Vec<UsualStage>,
    /// By position in `stages`.
    pub tree: Tree,
    place: HashMap<StageKey, usize>,
}

/// One stage over the baseline's runs, with its name after the policy's aliases.
#[derive(Debug, Clone)]
pub struct UsualStage {
    pub key: StageKey,
    /// For display, pipeline first.
    pub path: Vec<String>,
    /// In the newest run with this stage.
    pub kind: StageKind,
    /// Whether at least half of the ten newest runs have the stage.
    pub expected: bool,
    /// Statistics of its successes. None when it never succeeded.
    pub usual: Option<Usual>,
    /// Its times in the newest runs, in their order.
    pub times: Vec<RunTime>,
    /// Durations of a wait for a runner, seconds, oldest first, at most the newest 60. Empty for work.
    pub waits_s: Vec<f64>,
    parent: Option<StageKey>,
}

/// Statistics of a stage over its successful runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usual {
    /// Number of runs.
    pub runs: usize,
    /// Median of its repetitions in a run.
    pub count: f64,
    /// Smallest number of repetitions.
    pub least: u32,
    /// Largest number of repetitions.
    pub most: u32,
    /// Median of its total time, seconds.
    pub seconds: f64,
    /// Median of the mean time of one repetition, seconds.
    pub each_s: f64,
    /// 90% quantile of |ln| of the ratio of one repetition's time to the median.
    pub spread: f64,
    /// Median of its beginning, nanoseconds after the run's beginning.
    pub start_ns: f64,
}

/// The time of a stage in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunTime {
    /// Position of the run in the baseline.
    pub run: usize,
    /// Nanoseconds after the run's beginning.
    pub start_ns: i64,
    /// Nanoseconds after the run's beginning.
    pub end_ns: i64,
}

/// Mean time of one repetition, seconds.
#[must_use]
pub(super) fn each_s(sample: &StageSample) -> f64 {
    sample.seconds() / f64::from(sample.count.max(1))
}

/// ln of the ratio of two times, each at least [`SHORTEST_S`].
#[must_use]
pub(super) fn log_ratio(seconds: f64, usual_s: f64) -> f64 {
    (seconds.max(SHORTEST_S) / usual_s.max(SHORTEST_S)).ln()
}

/// A stage while its samples are collected.
struct Collected {
    stage: UsualStage,
    newest_run: Option<usize>,
    recent: usize,
    counts: Vec<u32>,
    seconds: Vec<f64>,
    each_s: Vec<f64>,
    starts: Vec<i64>,
}

impl BaselineStructure {
    /// `runs` are the baseline's, oldest first.
    #[must_use]
    pub fn of(runs: &[MeasuredRun], policy: &GatePolicy) -> Self {
        let mut place: HashMap<StageKey, usize> = HashMap::new();
        let mut all: Vec<Collected> = Vec::new();
        for (at, run) in runs.iter().enumerate() {
            let is_recent = at + RECENT_RUNS >= runs.len();
            let is_kept = at + KEPT_RUNS >= runs.len();
            for sample in &run.stages {
                let new_path = renamed(&sample.path, policy);
                let key = new_path.as_ref().map(|path| StageKey::from_path(path));
                let known = place.get(key.as_ref().unwrap_or(&sample.key)).copied();
                let i = known.unwrap_or_else(|| {
                    let key = key.unwrap_or_else(|| sample.key.clone());
                    place.insert(key.clone(), all.len());
                    all.push(Collected::new(key, new_path, sample));
                    all.len() - 1
                });
                all[i].take(at, sample, is_recent, is_kept);
            }
        }
        let recent_runs = runs.len().min(RECENT_RUNS);
        let stages: Vec<UsualStage> =
            all.into_iter().map(|collected| collected.finish(recent_runs)).collect();
        let nodes: Vec<Stage<'_>> = stages
            .iter()
            .map(|s| Stage { key: &s.key, parent: s.parent.as_ref(), depth: s.path.len() })
            .collect();
        let tree = Tree::of(&nodes);
        Self { runs: runs.len(), stages, tree, place }
    }

    #[must_use]
    pub fn find(&self, key: &StageKey) -> Option<&UsualStage> {
        self.place.get(key).map(|i| &self.stages[*i])
    }
}

impl Collected {
    fn new(key: StageKey, new_path: Option<Vec<String>>, sample: &StageSample) -> Self {
        let parent = match &new_path {
            None => sample.parent.clone(),
            Some(path) => (path.len() > 1).then(|| StageKey::from_path(&path[..path.len() - 1])),
        };
        let stage = UsualStage {
            key,
            path: new_path.unwrap_or_else(|| sample.path.clone()),
            kind: sample.kind,
            expected: false,
            usual: None,
            times: Vec::new(),
            waits_s: Vec::new(),
            parent,
        };
        Self {
            stage,
            newest_run: None,
            recent: 0,
            counts: vec![],
            seconds: vec![],
            each_s: vec![],
            starts: vec![],
        }
    }

    fn take(&mut self, run: usize, sample: &StageSample, is_recent: bool, is_kept: bool) {
        // After a rename, one run may have both names. The first sample counts.
        if self.newest_run == Some(run) {
            return;
        }
        self.newest_run = Some(run);
        self.recent += usize::from(is_recent);
        self.stage.kind = sample.kind;
        if sample.result != RunResult::Success {
            return;
        }
        self.counts.push(sample.count.max(1));
        self.seconds.push(sample.seconds());
        self.each_s.push(each_s(sample));
        self.starts.push(sample.start_offset_ns);
        if is_kept && !sample.asynchronous {
            let (start_ns, end_ns) = (sample.start_offset_ns, sample.end_offset_ns);
            self.stage.times.push(RunTime { run, start_ns, end_ns });
        }
    }

    fn finish(self, recent_runs: usize) -> UsualStage {
        let mut stage = self.stage;
        stage.expected = self.recent > 0 && self.recent * 2 >= recent_runs;
        let each = median_of(self.each_s.iter().copied());
        stage.usual = each.map(|each| {
            let scatter = self.each_s.iter().map(|s| log_ratio(*s, each).abs()).collect();
            #[expect(clippy::cast_precision_loss, reason = "only the order of the beginnings is used")]
            let starts = self.starts.iter().map(|start| *start as f64);
            Usual {
                runs: self.counts.len(),
                count: median_of(self.counts.iter().map(|n| f64::from(*n))).unwrap_or(1.0),
                least: self.counts.iter().copied().min().unwrap_or(1),
                most: self.counts.iter().copied().max().unwrap_or(1),
                seconds: median_of(self.seconds.iter().copied()).unwrap_or(0.0),
                each_s: each,
                spread: Sample::new(scatter).map_or(0.0, |s| quantile(&s, 0.9)),
                start_ns: median_of(starts).unwrap_or(0.0),
            }
        });
        if stage.kind == StageKind::Queue {
            stage.waits_s = self.seconds[self.seconds.len().saturating_sub(KEPT_RUNS)..].to_vec();
        }
        stage
    }
}
