//! A baseline as a fitted model, made once and used by every decision on it: what each stage
//! usually takes, how much it scatters, how it follows the runner, and how large a score has
//! to be. Judges nothing.
//!
//! The model: ln(duration) = usual + exposure x runner level + residual, per stage.

use std::collections::BTreeMap;

use super::baseline::Baseline;
use super::calibrate::{Thresholds, calibrate, local_level, scales};
use super::columns::{Column, Columns};
use super::common_mode::{LeafResidual, MAX_LEAVE_OUT, MIN_OTHERS, RunnerRow, exposure};
use super::errors::ErrorHistory;
use super::structure::BaselineStructure;
use crate::model::comparison::BaselineSummary;
use crate::model::environment::RunnerClass;
use crate::model::policy::GatePolicy;
use crate::model::run::{MeasuredRun, RunResult};
use crate::model::stage::{StageKey, StageKind};
use crate::stats::count;
use crate::stats::quantile::quantile;
use crate::stats::robust::{mad, median_of};
use crate::stats::sample::Sample;

/// Shortest duration that is told apart: spans are timed to the nanosecond, the work around
/// them isn't.
pub const CLOCK_S: f64 = 0.001;
/// A stage needs so many samples to be judged.
pub const MIN_SAMPLES: usize = 10;
/// With fewer, what looks confirmed stays a suspicion: the scale and the threshold are not yet
/// known well enough to block anybody.
pub const MIN_TO_CONFIRM: usize = 25;
/// Baseline durations that are kept to be drawn.
const MAX_HISTORY: usize = 60;
/// Scatter below this share of the duration is not believed.
pub(crate) const MIN_SCALE: f64 = 0.02;
/// Shorter leaves say more of the clock than of the runner.
const MIN_LEAF_S: f64 = 0.01;
/// Exposure is no divisor below this.
const MIN_EXPOSURE: f64 = 0.3;

/// ln of a duration in seconds, from the clock's floor on.
#[must_use]
pub fn log_duration(seconds: f64) -> f64 {
    seconds.max(CLOCK_S).ln()
}

/// What the baseline taught about one stage.
#[derive(Debug, Clone)]
pub struct FittedStage {
    /// What people read.
    pub path: Vec<String>,
    /// The stage that holds it.
    pub parent: Option<StageKey>,
    /// Successful samples.
    pub samples: usize,
    /// Median duration, seconds.
    pub median_s: f64,
    /// Durations, oldest first, seconds, at most the newest 60.
    pub history_s: Vec<f64>,
    /// Present in at least half of the ten newest runs.
    pub expected: bool,
    /// ln of the usual duration on a usual runner, over all samples.
    usual: f64,
    /// Where the residuals were lately, on top of `usual`.
    pub level: f64,
    /// How strongly it follows the runner.
    exposure: f64,
    /// Scale of the residuals upwards and downwards.
    pub scale: Scale,
    /// Position among the columns; leaves are known by it.
    index: usize,
    /// Weight as a witness of the runner's speed; none for what is no leaf.
    weight: Option<f64>,
    /// Leaves that are no independent witnesses for this stage: itself, what it holds.
    related: Vec<usize>,
}

/// Scatter of ln(duration) to either side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Towards slower.
    pub slower: f64,
    /// Towards faster.
    pub faster: f64,
}

/// A baseline that is ready for comparisons.
#[derive(Debug, Clone)]
pub struct FittedBaseline {
    /// Stages by key.
    pub stages: BTreeMap<StageKey, FittedStage>,
    /// Scores that are unusual.
    pub thresholds: Thresholds,
    /// What is told of the baseline.
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

/// A candidate run as the model sees it.
#[derive(Debug, Clone)]
pub struct RunResiduals {
    /// ln of the factor by which the run's machine was slower than usual.
    pub runner: f64,
    /// By stage: ln of the ratio to what was predicted for that run.
    pub residuals: BTreeMap<StageKey, f64>,
}

/// Fits the model. Cost is about linear in the number of samples; a baseline of any size, even
/// an empty one, has a fit.
#[must_use]
pub fn fit(baseline: &Baseline, policy: &GatePolicy) -> FittedBaseline {
    let columns = Columns::of(&baseline.runs, policy);
    let mut stages: Vec<FittedStage> =
        columns.list.iter().enumerate().map(|(i, c)| start(i, c, columns.runs)).collect();
    relate(&mut stages, &columns);
    weigh(&mut stages, &columns);
    let residuals = residuals_of(&mut stages, &columns);
    scales(&mut stages, &residuals);
    let thresholds = calibrate(&stages, &residuals, columns.runs, policy);
    for (stage, column) in stages.iter_mut().zip(&residuals) {
        stage.level = local_level(column, column.len());
    }
    let classes: Vec<&RunnerClass> = baseline.runs.iter().map(|r| &r.run.runner).collect();
    let keys = columns.list.into_iter().map(|c| c.key);
    FittedBaseline {
        stages: keys.zip(stages).collect(),
        thresholds,
        summary: baseline.summary(),
        wall_median_s: median_of(baseline.runs.iter().map(|r| super::columns::seconds(r.run.duration_ns))),
        runner: classes.first().filter(|f| classes.iter().all(|c| c == *f)).map(|c| (*c).clone()),
        errors: ErrorHistory::of(baseline, policy),
        structure: BaselineStructure::of(&baseline.runs, policy),
    }
}

fn start(index: usize, column: &Column, runs: usize) -> FittedStage {
    let recent = runs.min(10);
    let present = column.present.iter().filter(|run| **run + recent >= runs).count();
    FittedStage {
        path: column.path.clone(),
        parent: column.parent.clone(),
        samples: column.samples.len(),
        median_s: median_of(column.seconds.iter().copied()).unwrap_or(0.0),
        history_s: column.seconds[column.seconds.len().saturating_sub(MAX_HISTORY)..].to_vec(),
        expected: present > 0 && present * 2 >= recent,
        usual: median_of(column.samples.iter().map(|(_, y)| *y)).unwrap_or(CLOCK_S.ln()),
        level: 0.0,
        exposure: 1.0,
        scale: Scale { slower: MIN_SCALE, faster: MIN_SCALE },
        index,
        weight: None,
        related: Vec::new(),
    }
}

/// Finds for each stage the leaves that depend on it.
fn relate(stages: &mut [FittedStage], columns: &Columns) {
    let leaves: Vec<usize> = (0..stages.len()).filter(|i| columns.list[*i].is_leaf).collect();
    if leaves.len() > MAX_LEAVE_OUT {
        return;
    }
    for leaf in &leaves {
        let mut at = Some(*leaf);
        // A parent's path is shorter than its child's, so the walk ends.
        while let Some(i) = at {
            stages[i].related.push(*leaf);
            at = columns.parent_of(i);
        }
    }
    for stage in stages.iter_mut() {
        // Where nearly everything is part of a stage (the pipeline itself), its own parts are
        // the only witnesses there are.
        let is_leaf = stage.related == [stage.index];
        if !is_leaf && leaves.len() - stage.related.len() < MIN_OTHERS {
            stage.related.clear();
        }
    }
}

/// Weighs the leaves by their precision, the most precise tenth alike, so that no single leaf
/// is the judge of the runner.
fn weigh(stages: &mut [FittedStage], columns: &Columns) {
    let precision = |stage: &FittedStage, column: &Column| {
        let residuals = column.samples.iter().map(|(_, y)| y - stage.usual).collect();
        let scale = Sample::new(residuals).map_or(1.0, |s| mad(&s)) + 0.5 * CLOCK_S / stage.usual.exp();
        scale.max(MIN_SCALE).powi(-2)
    };
    let witnesses: Vec<usize> = (0..stages.len())
        .filter(|i| {
            let column = &columns.list[*i];
            column.is_leaf
                && !column.asynchronous
                && stages[*i].usual >= MIN_LEAF_S.ln()
                && stages[*i].samples > 1
        })
        .collect();
    let weights: Vec<f64> = witnesses.iter().map(|i| precision(&stages[*i], &columns.list[*i])).collect();
    let Ok(sample) = Sample::new(weights.clone()) else { return };
    let cap = quantile(&sample, 0.9);
    for (i, weight) in witnesses.into_iter().zip(weights) {
        stages[i].weight = Some(weight.min(cap));
    }
}

/// Fits exposures and returns the residuals by stage, as (run, residual), centred.
fn residuals_of(stages: &mut [FittedStage], columns: &Columns) -> Vec<Vec<(usize, f64)>> {
    let mut result = Vec::new();
    for round in 0..3 {
        let rows = leaf_rows(stages, columns);
        let noise = level_noise(stages);
        let mut exposures = Vec::with_capacity(stages.len());
        result.clear();
        for (stage, column) in stages.iter().zip(&columns.list) {
            let with_level: Vec<(usize, f64, f64)> = column
                .samples
                .iter()
                .map(|(run, y)| (*run, y - stage.usual, rows[*run].level(&stage.related)))
                .collect();
            let pairs: Vec<(f64, f64)> = with_level.iter().map(|(_, e, g)| (*e, *g)).collect();
            let scale = Sample::new(pairs.iter().map(|(e, _)| *e).collect()).map_or(0.0, |s| mad(&s));
            exposures.push(exposure(&pairs, 3.0 * scale + 0.5, noise));
            result.push(
                with_level.into_iter().map(|(run, e, g)| (run, e - stage.exposure * g)).collect::<Vec<_>>(),
            );
        }
        if round < 2 {
            // Exposure times level is all that data can tell: by convention the middle leaf has
            // exposure 1, so that the level reads as the factor of a typical stage.
            let of_leaves =
                stages.iter().zip(&exposures).filter(|(s, _)| s.weight.is_some()).map(|(_, b)| *b);
            let middle = median_of(of_leaves).unwrap_or(1.0).max(MIN_EXPOSURE);
            stages.iter_mut().zip(exposures).for_each(|(stage, b)| stage.exposure = b / middle);
        }
    }
    for (stage, residuals) in stages.iter_mut().zip(&mut result) {
        let centre = median_of(residuals.iter().map(|(_, r)| *r)).unwrap_or(0.0);
        for (_, residual) in residuals.iter_mut() {
            *residual -= centre;
        }
        stage.usual += centre;
    }
    result
}

/// Variance of a weighted median of independent normal leaves: π/2 over the total precision.
fn level_noise(stages: &[FittedStage]) -> f64 {
    let total: f64 = stages.iter().filter_map(|s| s.weight).sum();
    if total > 0.0 { std::f64::consts::FRAC_PI_2 / total } else { 0.0 }
}

fn leaf_rows(stages: &[FittedStage], columns: &Columns) -> Vec<RunnerRow> {
    let mut rows: Vec<Vec<LeafResidual>> = vec![Vec::new(); columns.runs];
    for (stage, column) in stages.iter().zip(&columns.list) {
        for (run, y) in &column.samples {
            rows[*run].extend(stage.witness(*y));
        }
    }
    rows.into_iter().map(RunnerRow::new).collect()
}

impl FittedStage {
    fn witness(&self, y: f64) -> Option<LeafResidual> {
        let weight = self.weight? * self.exposure * self.exposure;
        let residual = (y - self.usual) / self.exposure.max(MIN_EXPOSURE);
        Some(LeafResidual { stage: self.index, residual, weight })
    }

    /// Its usual duration of late on a usual runner, seconds.
    #[must_use]
    pub fn predicted_s(&self) -> f64 {
        (self.usual + self.level).exp()
    }
}

impl FittedBaseline {
    /// What the model makes of a run: the runner's speed, and each successful stage's residual.
    #[must_use]
    pub fn residuals(&self, run: &MeasuredRun) -> RunResiduals {
        let known: Vec<(&StageKey, &FittedStage, f64)> = run
            .stages
            .iter()
            .filter(|s| s.result == RunResult::Success && s.kind == StageKind::Work)
            .filter_map(|s| Some((&s.key, self.stages.get(&s.key)?, log_duration(s.seconds()))))
            .collect();
        let row = RunnerRow::new(known.iter().filter_map(|(_, stage, y)| stage.witness(*y)).collect());
        let residual = |stage: &FittedStage, y: f64| {
            y - stage.usual - stage.exposure * row.level(&stage.related) - stage.level
        };
        RunResiduals {
            runner: row.level(&[]),
            residuals: known.iter().map(|(key, stage, y)| ((*key).clone(), residual(stage, *y))).collect(),
        }
    }

    /// What a stage's score has to exceed: a calibrated threshold (`base`), widened for
    /// the stage's own centre and scale being estimated from few samples.
    #[must_use]
    pub fn threshold(&self, stage: &FittedStage, base: f64) -> f64 {
        base * (1.0 + 2.0 / count(stage.samples.max(1))).sqrt()
    }
}
