//! Judges one stage's samples against its fitted baseline and the policy: verdict and reason. It does
//! not know other stages, nor which stage is responsible.

use std::time::Duration;

use crate::gate::duration_model::fit::{FittedBaseline, FittedStage, MIN_SAMPLES, MIN_TO_CONFIRM};
use crate::gate::duration_model::multiple_testing::{Finding, MAX_SAMPLES};
use crate::gate::duration_model::{Direction, DurationModel};
use crate::model::comparison::{StageVerdict, Workings};
use crate::model::policy::{Floors, GatePolicy, StagePolicy};
use crate::model::reason::{Confirmation, FindingSummary, SlowModeSummary, StageFact};
use crate::stats::evidence::{MAX_BLOCK, SlowMode};
use crate::stats::robust::median_of;

/// One candidate sample of a stage.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    pub seconds: f64,
    /// ln of the ratio to the prediction, by the number of newest runs that are judged together, minus
    /// one. NaN where that block does not contain this run.
    pub deviations: Vec<f64>,
    /// How many times slower than usual its runner was.
    pub runner_factor: f64,
}

/// The result for one stage.
#[derive(Debug, Clone)]
pub(crate) struct Judgement {
    pub verdict: StageVerdict,
    pub reason: Vec<StageFact>,
    /// Median of the samples on which the verdict rests, seconds.
    pub candidate_s: f64,
    pub ratio: Option<f64>,
    pub increase_s: Option<f64>,
    pub finding: Option<Finding>,
    /// Only for a stage that got slower or faster.
    pub workings: Option<Workings>,
    /// It exceeds its budget, which no other stage can explain.
    pub over_budget: bool,
}

/// Judges at least one sample of one stage, oldest first.
#[must_use]
pub(crate) fn judge(
    fitted: &FittedBaseline,
    stage: Option<&FittedStage>,
    samples: &[Observed],
    policy: &GatePolicy,
    rule: StagePolicy,
) -> Judgement {
    let confirm = policy.confirm().samples as usize;
    let mut judgement = match stage {
        Some(stage) if stage.samples >= MIN_SAMPLES => {
            against_the_past(fitted, stage, samples, confirm, rule.floors)
        }
        Some(stage) => too_short(stage.samples, Some(stage.median_s), samples),
        None if fitted.summary.runs >= MIN_SAMPLES => {
            unjudged(StageVerdict::New, StageFact::NotInBaseline, samples)
        }
        None => too_short(0, None, samples),
    };
    if let Some(budget) = rule.budget {
        apply_budget(&mut judgement, samples, budget, confirm);
    }
    judgement
}

fn unjudged(verdict: StageVerdict, reason: StageFact, samples: &[Observed]) -> Judgement {
    let candidate_s = samples.last().map_or(0.0, |s| s.seconds);
    Judgement {
        verdict,
        reason: vec![reason],
        candidate_s,
        ratio: None,
        increase_s: None,
        finding: None,
        workings: None,
        over_budget: false,
    }
}

/// From this size on a change is called large where the history is too short to judge it.
const LARGE_RATIO: f64 = 2.0;
const LARGE_S: f64 = 30.0;

fn too_short(runs: usize, median_s: Option<f64>, samples: &[Observed]) -> Judgement {
    let newest_s = samples.last().map_or(0.0, |s| s.seconds);
    let median_s = median_s.filter(|m| *m > 0.0);
    let is_large = median_s.is_some_and(|m| newest_s - m >= LARGE_S && newest_s >= LARGE_RATIO * m);
    let why = StageFact::ShortHistory { runs, needed: MIN_SAMPLES, is_large };
    let mut judgement = unjudged(StageVerdict::Inconclusive, why, samples);
    judgement.ratio = median_s.map(|median_s| newest_s / median_s);
    judgement.increase_s = median_s.map(|median_s| newest_s - median_s);
    judgement
}

/// A number of newest samples and their result.
#[derive(Clone, Copy)]
struct Block {
    size: usize,
    finding: Finding,
}

/// A stage's samples with everything against which they are evaluated.
struct StageEvaluation<'a> {
    fitted: &'a FittedBaseline,
    samples: &'a [Observed],
    column: usize,
    predicted_s: f64,
    median_s: f64,
    floors: Floors,
    /// Samples that are needed to confirm.
    confirm: usize,
}

impl StageEvaluation<'_> {
    fn model(&self) -> &DurationModel {
        &self.fitted.model
    }

    /// The newest `size` samples judged together. None without a finding, or when one of them is
    /// missing.
    fn block(&self, size: usize, direction: Direction) -> Option<Block> {
        let newest = self.samples.len().checked_sub(size)?;
        let deviations: Vec<f64> = self.samples[newest..]
            .iter()
            .map(|sample| sample.deviations.get(size - 1).copied().unwrap_or(f64::NAN))
            .collect();
        let finite: Vec<f64> = deviations.iter().copied().filter(|d| d.is_finite()).collect();
        let newest = deviations.last().filter(|d| d.is_finite())?;
        if finite.len() < size {
            return None;
        }
        let speed = self.runner_speed(size);
        let finding =
            self.fitted.hypotheses.judge_on(self.model(), self.column, &finite, direction, speed)?;
        // Each of the samples that are needed has to show the change, also the newest. One outlying
        // sample is not enough, and a newer sample without the change contradicts it.
        let sign = if direction == Direction::Slower { 1.0 } else { -1.0 };
        let shows_it = |deviation: &f64| sign * deviation >= 0.5 * finding.evidence.shift;
        let agrees =
            shows_it(newest) && finite.iter().filter(|d| shows_it(d)).count() >= self.confirm.min(size);
        (finding.is_rare() && agrees && self.is_relevant(size, &finding, direction))
            .then_some(Block { size, finding })
    }

    /// The largest distance of the newest `size` samples' runners from the usual one, ln of a factor.
    fn runner_speed(&self, size: usize) -> f64 {
        let factors = self.samples.iter().rev().take(size).map(|sample| sample.runner_factor);
        factors.map(|factor| factor.max(f64::MIN_POSITIVE).ln().abs()).fold(0.0, f64::max)
    }

    /// Whether the change exceeds both floors and is visible in the raw durations too. On a runner that
    /// slows everything, a stage with an unchanged duration looks fast; on a faster runner it looks
    /// slow.
    fn is_relevant(&self, size: usize, finding: &Finding, direction: Direction) -> bool {
        let ratio = finding.evidence.shift.exp();
        let least_s = self.floors.min_increase.as_secs_f64();
        if ratio < self.floors.min_ratio {
            return false;
        }
        match direction {
            Direction::Slower => {
                let newest = self.samples.iter().rev().take(size);
                let by_the_clock = newest.filter(|sample| sample.seconds > self.median_s).count();
                by_the_clock >= self.confirm.min(size) && self.predicted_s * (ratio - 1.0) >= least_s
            }
            Direction::Faster => {
                // Half of it: with few reference stages, one slow stage is taken for a slow runner, and
                // then all others look fast.
                let gained = self.median_s * (-0.5 * finding.evidence.shift).exp();
                let by_the_clock = self.samples.iter().rev().take(size).all(|sample| sample.seconds < gained);
                by_the_clock && self.predicted_s * (1.0 - 1.0 / ratio) >= least_s
            }
        }
    }

    fn workings(&self, block: &Block) -> Workings {
        let judged = &self.samples[self.samples.len() - block.size..];
        let noise = self.model().noise_of_new(self.column, self.runner_speed(block.size));
        let ((tail_start, tail_slope, tail_rate), (stages, decisions, share)) =
            (block.finding.tail, block.finding.tests);
        Workings {
            predicted_s: self.predicted_s,
            seconds: judged.iter().map(|sample| sample.seconds).collect(),
            deviations: judged.iter().map(|sample| sample.deviations[block.size - 1]).collect(),
            runner_factors: judged.iter().map(|sample| sample.runner_factor).collect(),
            degrees_of_freedom: noise.degrees.value(),
            scale: noise.scale,
            ln_scale_deviation: noise.ln_scale_deviation,
            level_deviation: noise.level_deviation,
            slow_shift: noise.slow.map(|slow| slow.shift),
            slow_scale: noise.slow.map(|slow| slow.scale),
            slow_share: noise.slow.map(|slow| slow.share),
            tail_start,
            tail_slope,
            tail_rate,
            stages,
            decisions,
            share,
        }
    }

    /// The block of at least `least` samples with the smallest probability.
    fn rarest(&self, least: usize, direction: Direction) -> Option<Block> {
        let most = MAX_SAMPLES.max(least).min(self.samples.len()).min(MAX_BLOCK);
        (least..=most)
            .filter_map(|size| self.block(size, direction))
            .min_by(|a, b| a.finding.probability.total_cmp(&b.finding.probability))
    }
}

fn against_the_past(
    fitted: &FittedBaseline,
    stage: &FittedStage,
    samples: &[Observed],
    confirm: usize,
    floors: Floors,
) -> Judgement {
    let Some(column) = stage.column.map(|column| column.at) else {
        return unjudged(StageVerdict::Inconclusive, StageFact::TooManyStages, samples);
    };
    let newest = samples.last().and_then(|sample| sample.deviations.first()).copied().unwrap_or(f64::NAN);
    if newest.is_nan() {
        return unjudged(StageVerdict::NotComparable, StageFact::RareCacheState, samples);
    }
    let predicted_s = fitted.model.predicted_s(column);
    let evaluation =
        StageEvaluation { fitted, samples, column, predicted_s, median_s: stage.median_s, floors, confirm };
    // Two samples are suspect together even where the policy or the history needs more to confirm.
    let joint = evaluation.rarest(2, Direction::Slower);
    let confirmed = evaluation.rarest(confirm, Direction::Slower).filter(|_| stage.samples >= MIN_TO_CONFIRM);
    let single = evaluation.block(1, Direction::Slower);
    let (verdict, block, shift) = if let Some(block) = confirmed {
        (StageVerdict::Regressed, Some(block), block.finding.evidence.shift)
    } else if let Some(block) = joint.or(single) {
        (StageVerdict::Suspect, Some(block), block.finding.evidence.shift)
    } else if let Some(block) =
        evaluation.rarest(confirm, Direction::Faster).filter(|_| stage.samples >= MIN_TO_CONFIRM)
    {
        (StageVerdict::Improved, Some(block), -block.finding.evidence.shift)
    } else {
        (StageVerdict::Pass, None, newest)
    };
    let size = block.map_or(1, |block| block.size);
    let judged = &samples[samples.len() - size..];
    let finding = block
        .map(|block| block.finding)
        .or_else(|| fitted.hypotheses.judge(&fitted.model, column, &[newest], Direction::Slower));
    let (ratio, increase_s) = (shift.exp(), predicted_s * shift.exp_m1());
    let confirmation = match verdict {
        StageVerdict::Regressed | StageVerdict::Improved => Confirmation::Confirmed,
        StageVerdict::Suspect if stage.samples < MIN_TO_CONFIRM => Confirmation::NeedsHistory(MIN_TO_CONFIRM),
        StageVerdict::Suspect => Confirmation::NeedsSamples(confirm),
        _ => Confirmation::Unchanged,
    };
    let summary = FindingSummary {
        samples: size,
        confirmation,
        runner_factor: median_of(judged.iter().map(|s| s.runner_factor)).unwrap_or(1.0),
        slow_mode: slow_mode(fitted.model.noise(column).slow, verdict, ratio, predicted_s),
    };
    Judgement {
        reason: vec![StageFact::Judged(summary)],
        candidate_s: median_of(judged.iter().map(|s| s.seconds)).unwrap_or_default(),
        ratio: Some(ratio),
        increase_s: Some(increase_s),
        verdict,
        workings: block.map(|block| evaluation.workings(&block)),
        finding,
        over_budget: false,
    }
}

/// The rare slow mode where it matters: a passed sample may be in it, a finding takes it into account.
fn slow_mode(
    slow: Option<SlowMode>,
    verdict: StageVerdict,
    ratio: f64,
    predicted_s: f64,
) -> Option<SlowModeSummary> {
    let slow = slow?;
    let matters = match verdict {
        StageVerdict::Pass => ratio.ln() > 0.5 * slow.shift,
        StageVerdict::Suspect | StageVerdict::Regressed => true,
        _ => false,
    };
    let increase_s = predicted_s * slow.shift.exp_m1();
    matters.then_some(SlowModeSummary { share: slow.share, increase_s })
}

/// A stage over its budget is a finding of its own, with the same number of samples to confirm it.
fn apply_budget(judgement: &mut Judgement, samples: &[Observed], budget: Duration, confirm: usize) {
    let limit = budget.as_secs_f64();
    let over: Vec<f64> = samples.iter().rev().map(|s| s.seconds).take_while(|s| *s > limit).collect();
    let Some(took) = median_of(over.iter().copied()) else { return };
    let confirmed = over.len() >= confirm;
    let over_budget = StageFact::OverBudget { took_s: took, budget_s: limit, samples: over.len() };
    let flagged = matches!(judgement.verdict, StageVerdict::Regressed | StageVerdict::Suspect);
    if !flagged {
        judgement.reason.clear();
    }
    judgement.reason.push(over_budget);
    if confirmed {
        judgement.verdict = StageVerdict::Regressed;
    } else if !flagged {
        judgement.verdict = StageVerdict::Suspect;
    }
    if !flagged {
        judgement.candidate_s = took;
        // The budget is not a comparison with the baseline, so there is no ratio.
        (judgement.ratio, judgement.increase_s) = (None, None);
    }
    judgement.over_budget = true;
}
