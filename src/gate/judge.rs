//! One stage's samples against its fitted past and the policy: verdict and reason. What other
//! stages do, and which of them is responsible, is not known here.

use std::time::Duration;

use super::calibrate::score;
use super::fit::{FittedBaseline, FittedStage, MIN_SAMPLES, MIN_TO_CONFIRM};
use super::words::{change, counted, duration, ratio};
use crate::model::comparison::StageVerdict;
use crate::model::policy::{GatePolicy, StagePolicy};
use crate::stats::robust::median_of;

/// One candidate sample of a stage.
#[derive(Debug, Clone, Copy)]
pub struct Observed {
    /// Its duration.
    pub seconds: f64,
    /// ln of the ratio to the prediction, when the stage is in the model.
    pub residual: Option<f64>,
    /// How many times slower than usual its runner was.
    pub runner_factor: f64,
}

/// What one stage's samples say.
#[derive(Debug, Clone)]
pub struct Judgement {
    pub verdict: StageVerdict,
    pub reason: String,
    /// Median of the samples the verdict stands on, seconds.
    pub candidate_s: f64,
    pub ratio: Option<f64>,
    pub increase_s: Option<f64>,
    pub score: Option<f64>,
    pub threshold: Option<f64>,
    /// Over its budget, which no other stage explains away.
    pub over_budget: bool,
}

/// Judges samples of one stage, oldest first, at least one; `newest_s` is the newest one's
/// duration.
#[must_use]
pub fn judge(
    fitted: &FittedBaseline,
    stage: Option<&FittedStage>,
    samples: &[Observed],
    policy: &GatePolicy,
    rule: StagePolicy,
) -> Judgement {
    let confirm = policy.confirm().samples as usize;
    let mut judgement = match stage {
        Some(stage) if stage.samples >= MIN_SAMPLES => {
            against_the_past(fitted, stage, samples, confirm, rule)
        }
        Some(stage) => too_short(stage.samples, Some(stage.median_s), samples),
        None if fitted.summary.runs >= MIN_SAMPLES => unknown(samples),
        None => too_short(0, None, samples),
    };
    if let Some(budget) = rule.budget {
        hold_to_budget(&mut judgement, samples, budget, confirm);
    }
    judgement
}

fn newest_s(samples: &[Observed]) -> f64 {
    samples.last().map_or(0.0, |s| s.seconds)
}

fn unjudged(verdict: StageVerdict, reason: String, samples: &[Observed]) -> Judgement {
    let candidate_s = newest_s(samples);
    Judgement {
        verdict,
        reason,
        candidate_s,
        ratio: None,
        increase_s: None,
        score: None,
        threshold: None,
        over_budget: false,
    }
}

fn unknown(samples: &[Observed]) -> Judgement {
    let reason = "not in the baseline: it is judged once it has a history".to_owned();
    unjudged(StageVerdict::New, reason, samples)
}

fn too_short(n: usize, median_s: Option<f64>, samples: &[Observed]) -> Judgement {
    let why = format!("{} so far, {MIN_SAMPLES} are needed", counted(n, "comparable run"));
    let mut judgement = unjudged(StageVerdict::Inconclusive(why.clone()), why, samples);
    if let Some(median_s) = median_s.filter(|m| *m > 0.0) {
        judgement.ratio = Some(judgement.candidate_s / median_s);
        judgement.increase_s = Some(judgement.candidate_s - median_s);
    }
    judgement
}

/// How one sample compares with the prediction.
struct Deviation {
    residual: f64,
    ratio: f64,
    increase_s: f64,
}

fn against_the_past(
    fitted: &FittedBaseline,
    stage: &FittedStage,
    samples: &[Observed],
    confirm: usize,
    rule: StagePolicy,
) -> Judgement {
    let deviation = |residual: f64| Deviation {
        residual,
        ratio: residual.exp(),
        increase_s: stage.predicted_s() * residual.exp_m1(),
    };
    let deviations: Vec<Deviation> = samples.iter().filter_map(|s| s.residual).map(deviation).collect();
    let (min_ratio, min_s) = (rule.floors.min_ratio, rule.floors.min_increase.as_secs_f64());
    let up = fitted.threshold(stage, fitted.thresholds.slower);
    let down = fitted.threshold(stage, fitted.thresholds.faster);
    let slower = |d: &&Deviation| {
        score(d.residual, stage.scale.slower) > up && d.ratio >= min_ratio && d.increase_s >= min_s
    };
    let faster = |d: &&Deviation| {
        score(-d.residual, stage.scale.faster) > down && d.ratio <= 1.0 / min_ratio && -d.increase_s >= min_s
    };
    // Only the newest samples in a row count: an older slow one that was followed by a normal
    // one has been answered.
    let slow = deviations.iter().rev().take_while(slower).count();
    // On a machine that slows everything, what stayed as it was looks fast: a gain has to be
    // one by the clock too.
    let gained = samples.iter().rev().take_while(|s| s.seconds < stage.median_s).count();
    let fast = deviations.iter().rev().take_while(faster).count().min(gained);
    let (verdict, judged) = match (slow, fast) {
        (n, _) if n >= confirm && stage.samples >= MIN_TO_CONFIRM => (StageVerdict::Regressed, n),
        (n, _) if n > 0 => (StageVerdict::Suspect, n),
        (_, n) if n >= confirm => (StageVerdict::Improved, n),
        _ => (StageVerdict::Pass, 1),
    };
    let suffix = &deviations[deviations.len().saturating_sub(judged)..];
    let durations = &samples[samples.len().saturating_sub(judged)..];
    let Some(residual) = median_of(suffix.iter().map(|d| d.residual)) else {
        return unknown(samples);
    };
    let (middle, improved) = (deviation(residual), verdict == StageVerdict::Improved);
    // The weakest of the samples, because each of them had to exceed the threshold.
    let score_of = |d: &Deviation| {
        if improved { score(-d.residual, stage.scale.faster) } else { score(d.residual, stage.scale.slower) }
    };
    let weakest = suffix.iter().map(score_of).fold(f64::INFINITY, f64::min);
    let runner = median_of(durations.iter().map(|s| s.runner_factor)).unwrap_or(1.0);
    Judgement {
        reason: reason(&verdict, &middle, stage, judged, confirm, runner),
        verdict,
        candidate_s: median_of(durations.iter().map(|s| s.seconds)).unwrap_or_default(),
        ratio: Some(middle.ratio),
        increase_s: Some(middle.increase_s),
        score: Some(weakest),
        threshold: Some(if improved { down } else { up }),
        over_budget: false,
    }
}

fn reason(
    verdict: &StageVerdict,
    d: &Deviation,
    stage: &FittedStage,
    judged: usize,
    confirm: usize,
    runner: f64,
) -> String {
    let seen = counted(judged, "run");
    let sure = match verdict {
        StageVerdict::Regressed | StageVerdict::Improved => format!("seen in {seen} of this change"),
        StageVerdict::Suspect if judged >= confirm => {
            format!("seen in {seen}; fewer than {MIN_TO_CONFIRM} comparable runs can't confirm it")
        }
        StageVerdict::Suspect if stage.samples < MIN_TO_CONFIRM => {
            format!("seen in {seen}; {MIN_TO_CONFIRM} comparable runs are needed to confirm it")
        }
        StageVerdict::Suspect => format!("seen in {seen} so far, {confirm} in a row confirm it"),
        _ => "within what it usually does".to_owned(),
    };
    let machine = if (runner - 1.0).abs() > 0.05 {
        format!(" (the runner's own {} is taken out)", ratio(runner))
    } else {
        String::new()
    };
    let past = counted(stage.samples, "comparable run");
    format!("{} the expected time ({past}), {}; {sure}{machine}", ratio(d.ratio), change(d.increase_s))
}

/// A stage over its budget is a finding by itself, confirmed as any other.
fn hold_to_budget(judgement: &mut Judgement, samples: &[Observed], budget: Duration, confirm: usize) {
    let limit = budget.as_secs_f64();
    let over: Vec<f64> = samples.iter().rev().map(|s| s.seconds).take_while(|s| *s > limit).collect();
    let Some(took) = median_of(over.iter().copied()) else { return };
    let confirmed = over.len() >= confirm;
    let because = format!(
        "took {}, its budget is {}; seen in {}",
        duration(took),
        duration(limit),
        counted(over.len(), "run")
    );
    let flagged = matches!(judgement.verdict, StageVerdict::Regressed | StageVerdict::Suspect);
    judgement.reason = if flagged { format!("{}; {because}", judgement.reason) } else { because };
    if confirmed {
        judgement.verdict = StageVerdict::Regressed;
    } else if !flagged {
        judgement.verdict = StageVerdict::Suspect;
    }
    if !flagged {
        judgement.candidate_s = took;
    }
    judgement.over_budget = true;
}
