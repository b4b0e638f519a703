//! The usual shape of a pipeline, from its baseline: which stages there are, in what order, how
//! often each runs. Made once for a fit; linear in the samples. Judges nothing.

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

/// Newest runs whose order of stages is kept, and whose durations are drawn.
const KEPT_RUNS: usize = 60;
/// Newest runs of which half have to have a stage, so that its absence is one.
const RECENT_RUNS: usize = 10;

/// What the baseline's runs have in common.
#[derive(Debug, Clone, Default)]
pub struct BaselineStructure {
    /// How many runs.
    pub runs: usize,
    /// Every stage that any of them has.
    pub stages: Vec<UsualStage>,
    /// Who holds whom, by position in `stages`.
    pub tree: Tree,
    place: HashMap<StageKey, usize>,
}

/// One stage over the baseline's runs, under the name that the policy's aliases give it.
#[derive(Debug, Clone)]
pub struct UsualStage {
    /// Identity.
    pub key: StageKey,
    /// What people read.
    pub path: Vec<String>,
    /// What its time is spent on, in the newest run that has it.
    pub kind: StageKind,
    /// In at least half of the ten newest runs.
    pub expected: bool,
    /// What it does when it succeeds; none when it never did.
    pub usual: Option<Usual>,
    /// When it ran in the newest runs, in their order.
    pub times: Vec<RunTime>,
    /// Of waiting for a runner: durations, oldest first, seconds, at most the newest 60.
    pub waits_s: Vec<f64>,
    parent: Option<StageKey>,
}

/// What a stage usually does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usual {
    /// Runs that this is of.
    pub runs: usize,
    /// Median of how often it ran.
    pub count: f64,
    /// The least often.
    pub least: u32,
    /// The most often.
    pub most: u32,
    /// Median of its whole time, seconds.
    pub seconds: f64,
    /// Median of the mean time of one repetition, seconds.
    pub each_s: f64,
    /// What nine in ten runs stay within: |ln| of the time of each against the median.
    pub spread: f64,
    /// Median of when it began, nanoseconds after the run.
    pub start_ns: f64,
}

/// When a stage ran in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunTime {
    /// Position of the run in the baseline.
    pub run: usize,
    /// Beginning, nanoseconds after the run's.
    pub start_ns: i64,
    /// End, the same way.
    pub end_ns: i64,
}

/// Mean time of one repetition, seconds.
#[must_use]
pub(super) fn each_s(sample: &StageSample) -> f64 {
    sample.seconds() / f64::from(sample.count.max(1))
}

/// ln of a ratio of two times, as far as they can be told apart.
#[must_use]
pub(super) fn log_ratio(seconds: f64, usual_s: f64) -> f64 {
    (seconds.max(SHORTEST_S) / usual_s.max(SHORTEST_S)).ln()
}

/// A stage being collected.
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
    /// Of the baseline's runs, oldest first.
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

    /// The stage with a key.
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
        // A rename may meet the new name in the same run: the first one counts.
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
            #[expect(
                clippy::cast_precision_loss,
                reason = "an order of beginnings is all that is asked of it"
            )]
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
