//! Fits the duration model to a baseline, once for all decisions on it: turns runs into a table of
//! stages, and new runs into deviations from the predictions. It judges nothing.

use std::collections::BTreeMap;

use super::ablation::Ablation;
use super::multiple_testing::HypothesisFamily;
use super::runner_speed::ReferenceStages;
use super::{Deviations, DurationModel, NewRun, Observations};
use crate::gate::baseline::Baseline;
use crate::gate::baseline::columns::{Column, Columns, seconds};
use crate::gate::baseline::rebase_level::rebase_level;
use crate::gate::structure::BaselineStructure;
use crate::gate::verdict::errors::ErrorHistory;
use crate::model::comparison::BaselineSummary;
use crate::model::environment::RunnerClass;
use crate::model::history::{SeriesPoint, StageSeries};
use crate::model::policy::GatePolicy;
use crate::model::run::{MeasuredRun, RunResult};
use crate::model::stage::{CacheState, StageKey, StageKind, StageSample};
use crate::stats::matrix::Matrix;
use crate::stats::robust::median_of;

/// Baseline samples that a stage needs to be judged.
pub const MIN_SAMPLES: usize = 10;
/// Baseline samples that a stage needs for a confirmed finding. With fewer it stays suspect: scale
/// and tail are not known well enough to block a merge.
pub const MIN_TO_CONFIRM: usize = 25;
/// Samples that a stage needs to be in the model.
const MIN_MODELLED: usize = 3;
/// Most stages of the model; those with the most samples are kept. Names that change with every run
/// could be any number.
const MAX_MODELLED: usize = 10_000;
/// Baseline durations that are kept for the sparkline.
const MAX_HISTORY: usize = 60;
/// Resolution of durations, seconds: spans are timed to the nanosecond, but the work around them is
/// not. Where all durations are whole seconds, the resolution is a second.
const CLOCK_S: f64 = 0.001;
/// Shorter leaves depend more on the clock than on the runner, seconds.
const MIN_LEAF_S: f64 = 0.01;
/// From this length on, whole seconds are precise enough for a step.
const LONG_STEP_S: f64 = 10.0;
/// With this many long steps, runner speed is estimated from steps and not from their parts.
const LONG_STEPS: usize = 3;
/// A stage that has to be slower by more than this factor to reach its floor can't become a finding.
/// It is left out of the family of hypotheses, where it would only reduce the other stages' shares.
const MAX_FACTOR: f64 = 20.0;

/// One stage of a fitted baseline.
#[derive(Debug, Clone)]
pub struct FittedStage {
    /// Names, pipeline first.
    pub path: Vec<String>,
    pub parent: Option<StageKey>,
    /// Successful samples.
    pub samples: usize,
    /// Median duration, seconds.
    pub median_s: f64,
    /// Durations, oldest first, seconds, at most the newest 60.
    pub history_s: Vec<f64>,
    /// Present in at least half of the ten newest runs.
    pub expected: bool,
    /// Its column of the model; none when the model does not have it.
    pub column: Option<ColumnOfStage>,
}

/// How a stage's samples become values of the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColumnOfStage {
    /// Position in the model.
    pub at: usize,
    /// Shortest duration that the clock resolves, seconds.
    clock_s: f64,
    /// The rarer state of the cache; none when its states are unknown.
    rare: Option<CacheState>,
}

/// A baseline that is ready for comparisons.
#[derive(Debug, Clone)]
pub struct FittedBaseline {
    pub stages: BTreeMap<StageKey, FittedStage>,
    pub model: DurationModel,
    /// The stages that can become findings.
    pub hypotheses: HypothesisFamily,
    pub summary: BaselineSummary,
    /// Median wall-clock time, seconds.
    pub wall_median_s: Option<f64>,
    /// The kind of runner, when all runs share it.
    pub runner: Option<RunnerClass>,
    /// Errors of the base branch.
    pub errors: ErrorHistory,
    /// The usual shape of the pipeline.
    pub structure: BaselineStructure,
}

/// Fits the model to a baseline of any size, even an empty one. The cost is about linear in the number
/// of samples.
#[must_use]
pub fn fit(baseline: &Baseline, policy: &GatePolicy) -> FittedBaseline {
    fit_with(baseline, policy, Ablation::ALL)
}

/// The same with parts of the method switched off, for the benchmark.
#[must_use]
pub fn fit_with(baseline: &Baseline, policy: &GatePolicy, ablation: Ablation) -> FittedBaseline {
    let columns = Columns::of(&baseline.runs, policy);
    let modelled = modelled(&columns);
    let mut stages: Vec<FittedStage> = columns.list.iter().map(|c| describe(c, columns.runs)).collect();
    for (at, i) in modelled.iter().enumerate() {
        stages[*i].column = Some(column_of(at, &columns.list[*i]));
    }
    let mut observations = observe(&columns, &modelled, &stages, ablation);
    let mut model = DurationModel::fit(&observations);
    if ablation.segments {
        let series = series(&columns, &modelled, &model);
        if let Some(logs) = rebase_level(&series, &observations.logs, baseline) {
            observations.logs = logs;
            model = DurationModel::fit(&observations);
        }
    }
    let can_be_a_finding = |i: &usize| {
        let rule = policy.stage(&stages[*i].path);
        stages[*i].samples >= MIN_SAMPLES
            && !rule.ignore
            && stages[*i].median_s * (MAX_FACTOR - 1.0) >= rule.floors.min_increase.as_secs_f64()
    };
    let members = (0..modelled.len()).filter(|at| can_be_a_finding(&modelled[*at])).collect();
    let classes: Vec<&RunnerClass> = baseline.runs.iter().map(|r| &r.run.runner).collect();
    let keys = columns.list.into_iter().map(|c| c.key);
    FittedBaseline {
        stages: keys.zip(stages).collect(),
        hypotheses: HypothesisFamily::new(&model, members),
        model,
        summary: baseline.summary(),
        wall_median_s: median_of(baseline.runs.iter().map(|r| seconds(r.run.duration_ns))),
        runner: classes.first().filter(|f| classes.iter().all(|c| c == *f)).map(|c| (*c).clone()),
        errors: ErrorHistory::of(baseline, policy),
        structure: BaselineStructure::of(&baseline.runs, policy),
    }
}

/// The columns of the model, ordered by key so that the order of stages does not matter.
fn modelled(columns: &Columns) -> Vec<usize> {
    let mut modelled: Vec<usize> =
        (0..columns.list.len()).filter(|i| columns.list[*i].samples.len() >= MIN_MODELLED).collect();
    if modelled.len() > MAX_MODELLED {
        modelled.sort_by_key(|i| (std::cmp::Reverse(columns.list[*i].samples.len()), &columns.list[*i].key));
        modelled.truncate(MAX_MODELLED);
    }
    modelled.sort_by_key(|i| &columns.list[*i].key);
    modelled
}

fn describe(column: &Column, runs: usize) -> FittedStage {
    let recent = runs.min(10);
    let present = column.present.iter().filter(|run| **run + recent >= runs).count();
    let seconds: Vec<f64> = column.samples.iter().map(|sample| sample.seconds).collect();
    FittedStage {
        path: column.path.clone(),
        parent: column.parent.clone(),
        samples: seconds.len(),
        median_s: median_of(seconds.iter().copied()).unwrap_or(0.0),
        history_s: seconds[seconds.len().saturating_sub(MAX_HISTORY)..].to_vec(),
        expected: present > 0 && present * 2 >= recent,
        column: None,
    }
}

fn column_of(at: usize, column: &Column) -> ColumnOfStage {
    let in_whole_seconds = column.samples.iter().all(|sample| sample.seconds.fract() == 0.0);
    let with = |state| column.samples.iter().filter(|s| s.cache == Some(state)).count();
    let (hits, misses) = (with(CacheState::Hit), with(CacheState::Miss));
    let rare = if misses > hits { CacheState::Hit } else { CacheState::Miss };
    ColumnOfStage {
        at,
        clock_s: if in_whole_seconds { 1.0 } else { CLOCK_S },
        // A state that is rarely stated explains nothing.
        rare: (2 * (hits + misses) >= column.samples.len()).then_some(rare),
    }
}

impl ColumnOfStage {
    fn log(&self, seconds: f64) -> f64 {
        seconds.max(self.clock_s).ln()
    }

    /// 1 in the rarer state, 0 in the usual one, NaN where it isn't known.
    fn state(&self, cache: Option<CacheState>) -> f64 {
        match (self.rare, cache) {
            (Some(rare), Some(state)) => f64::from(u8::from(rare == state)),
            _ => f64::NAN,
        }
    }
}

/// The table of the model, with the reference stages of runner speed.
fn observe(
    columns: &Columns,
    modelled: &[usize],
    stages: &[FittedStage],
    ablation: Ablation,
) -> Observations {
    let mut logs = Matrix::filled(columns.runs, modelled.len(), f64::NAN);
    let mut place = vec![None; columns.list.len()];
    let (mut clock_s, mut rare_state) = (Vec::new(), Vec::new());
    for (at, i) in modelled.iter().enumerate() {
        place[*i] = Some(at);
        let Some(of_stage) = stages[*i].column else { continue };
        let mut states = of_stage.rare.map(|_| vec![f64::NAN; columns.runs]);
        for sample in &columns.list[*i].samples {
            logs.set(sample.run, at, of_stage.log(sample.seconds));
            if let Some(states) = &mut states {
                states[sample.run] = of_stage.state(sample.cache);
            }
        }
        clock_s.push(of_stage.clock_s);
        rare_state.push(states.filter(|_| ablation.cache_state));
    }
    // GitHub times steps in whole seconds, too coarse for steps of a few seconds. Where there are too
    // few longer steps, all leaves are used, from any sender.
    let is_long = |i: &&usize| columns.list[**i].is_step() && stages[**i].median_s >= LONG_STEP_S;
    let by_steps = modelled.iter().filter(is_long).count() >= LONG_STEPS;
    let is_reference = |i: &usize| {
        ablation.runner_speed
            && columns.list[*i].indicates_runner_speed(by_steps)
            && stages[*i].median_s >= MIN_LEAF_S
    };
    let is_reference: Vec<bool> = modelled.iter().map(is_reference).collect();
    let mut within: Vec<Vec<usize>> = vec![Vec::new(); modelled.len()];
    for (at, i) in modelled.iter().enumerate() {
        // A step's time contains its parts, so the step is not an independent reference for them.
        let mut step = (by_steps && columns.list[*i].is_part_of_step()).then_some(*i);
        while let Some(ancestor) = step.and_then(|i| columns.parent_of(i)) {
            step = Some(ancestor);
            if let Some(ancestor) = place[ancestor].filter(|ancestor| is_reference[*ancestor]) {
                within[at].push(ancestor);
            }
        }
        let mut up = is_reference[at].then_some(*i);
        // A parent's path is shorter than its child's, so the walk ends.
        while let Some(ancestor) = up {
            if let Some(ancestor) = place[ancestor] {
                within[ancestor].push(at);
            }
            up = columns.parent_of(ancestor);
        }
    }
    let jobs = if ablation.jobs { jobs(columns, modelled) } else { vec![None; modelled.len()] };
    let reference_stages = ReferenceStages::choose(&is_reference, &jobs, &within, &logs);
    Observations { logs, clock_s, rare_state, reference_stages, ablation }
}

/// By column: the job it belongs to, which is the second name of its path.
fn jobs(columns: &Columns, modelled: &[usize]) -> Vec<Option<usize>> {
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    let job = |i: &usize| {
        let path = &columns.list[*i].path;
        let next = known.len();
        (path.len() > 2).then(|| *known.entry(&path[1]).or_insert(next))
    };
    modelled.iter().map(job).collect()
}

/// Each modelled stage over the runs, without the runner's speed.
fn series(columns: &Columns, modelled: &[usize], model: &DurationModel) -> Vec<StageSeries> {
    let of_column = |(at, i): (usize, &usize)| {
        let column = &columns.list[*i];
        let residuals = model.residuals(at).into_iter().enumerate();
        let points = residuals.filter(|(_, residual)| residual.is_finite());
        StageSeries {
            key: column.key.clone(),
            path: column.path.clone(),
            parent: column.parent.clone(),
            usual_s: model.usual_s(at),
            points: points.map(|(run, residual)| SeriesPoint { run, residual }).collect(),
        }
    };
    modelled.iter().enumerate().map(of_column).collect()
}

/// Each stage over runs, oldest first, without the runner's speed: the input of `history`.
#[must_use]
pub fn series_of(baseline: &Baseline, policy: &GatePolicy) -> Vec<StageSeries> {
    let columns = Columns::of(&baseline.runs, policy);
    let modelled = modelled(&columns);
    let mut stages: Vec<FittedStage> = columns.list.iter().map(|c| describe(c, columns.runs)).collect();
    for (at, i) in modelled.iter().enumerate() {
        stages[*i].column = Some(column_of(at, &columns.list[*i]));
    }
    let model = DurationModel::fit(&observe(&columns, &modelled, &stages, Ablation::ALL));
    series(&columns, &modelled, &model)
}

impl FittedBaseline {
    /// A run's successful stages as a row of the table.
    fn row(&self, run: &MeasuredRun) -> NewRun {
        let missing = vec![f64::NAN; self.model.stages()];
        let mut row = NewRun { logs: missing.clone(), rare_state: missing };
        let counts = |s: &&StageSample| s.result == RunResult::Success && s.kind == StageKind::Work;
        for sample in run.stages.iter().filter(counts) {
            if let Some(column) = self.stages.get(&sample.key).and_then(|stage| stage.column) {
                row.logs[column.at] = column.log(sample.seconds());
                row.rare_state[column.at] = column.state(sample.cache);
            }
        }
        row
    }

    /// The deviations of runs, oldest first, from the predictions. The first run follows the baseline.
    #[must_use]
    pub fn deviations(&self, runs: &[&MeasuredRun]) -> Vec<Deviations> {
        self.model.deviations(&runs.iter().map(|run| self.row(run)).collect::<Vec<_>>())
    }
}
