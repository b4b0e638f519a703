//! Finds the smallest slowdown of each stage that two samples would confirm today. It runs the real
//! comparison on a simulated change with otherwise usual durations.

use std::collections::HashMap;

use super::Plan;
use super::inject::slowed;
use super::trial::values_by_stage;
use crate::gate::duration_model::fit::{FittedBaseline, fit};
use crate::gate::verdict::compare::compare;
use crate::model::comparison::StageVerdict;
use crate::model::ids::RunId;
use crate::model::policy::GatePolicy;
use crate::model::run::{MeasuredRun, RunResult};
use crate::model::stage::{StageKey, StageSample};
use crate::stats::robust::median_of;

/// Number of newest runs that determine the usual durations.
const LATELY: usize = 20;
/// Largest slowdown that is tried.
pub const MAX_RATIO: f64 = 10.0;
/// Number of stages that are tried, the longest first: the work grows with its square.
pub const MAX_STAGES: usize = 300;
/// Steps up to [`MAX_RATIO`], equal as ratios.
const STEPS: u32 = 16;
/// Halvings of the step that contains the result, to about half a percent.
const HALVINGS: u32 = 5;

/// One stage against today's baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct StageOutlook {
    pub key: StageKey,
    pub path: Vec<String>,
    /// Median of today's baseline, seconds. Median of the whole history for a stage that is not in it.
    pub median_s: f64,
    /// Runs of the history that completed it.
    pub runs: usize,
    /// The smallest ratio that would be confirmed; none up to [`MAX_RATIO`].
    pub detectable_ratio: Option<f64>,
    /// The same as a difference from its recent usual duration, seconds.
    pub detectable_increase_s: Option<f64>,
}

/// Today's fitted baseline and a usual run.
pub struct Outlook<'a> {
    policy: &'a GatePolicy,
    fitted: FittedBaseline,
    usual: MeasuredRun,
    stages: Vec<StageOutlook>,
}

impl Plan<'_> {
    /// The baseline of the next change; none without runs.
    #[must_use]
    pub fn outlook(&self) -> Option<Outlook<'_>> {
        let mut next = self.runs.last()?.run.clone();
        // Not a commit of the history, so that no run is left out.
        next.head_sha = "f".repeat(40).parse().ok()?;
        next.id = RunId("next".to_owned());
        next.result = RunResult::Success;
        next.notes.clear();
        let baseline = self.baseline_before(self.runs.len(), &next);
        let newest = &baseline.runs[baseline.runs.len().saturating_sub(LATELY)..];
        let lately = values_by_stage(newest);
        let usual_stage = |key: &StageKey| {
            let mut sample = newest.iter().rev().flat_map(|run| &run.stages).find(|s| s.key == *key)?.clone();
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a median of durations that were nanoseconds"
            )]
            let usual_ns = (median_of(lately.get(key)?.iter().copied())? * 1e9).round() as i64;
            sample.duration_ns = usual_ns;
            sample.end_offset_ns = sample.start_offset_ns.saturating_add(usual_ns);
            sample.result = RunResult::Success;
            Some(sample)
        };
        let mut keys: Vec<&StageKey> = lately.keys().copied().collect();
        keys.sort_unstable();
        let usual: Vec<StageSample> = keys.into_iter().filter_map(usual_stage).collect();
        Some(Outlook {
            policy: self.policy,
            fitted: fit(&baseline, self.policy),
            stages: self.stages_today(&values_by_stage(&baseline.runs)),
            usual: MeasuredRun { run: next, stages: usual, errors: Vec::new() },
        })
    }

    /// Every stage of the history, the longest first.
    fn stages_today(&self, today: &HashMap<&StageKey, Vec<f64>>) -> Vec<StageOutlook> {
        let paths: HashMap<&StageKey, &Vec<String>> =
            self.runs.iter().flat_map(|run| &run.stages).map(|s| (&s.key, &s.path)).collect();
        let stage = |(key, all): (&StageKey, Vec<f64>)| {
            let values = today.get(key).unwrap_or(&all);
            Some(StageOutlook {
                path: (*paths.get(key)?).clone(),
                median_s: median_of(values.iter().copied())?,
                runs: all.len(),
                detectable_ratio: None,
                detectable_increase_s: None,
                key: key.clone(),
            })
        };
        let mut stages: Vec<StageOutlook> =
            values_by_stage(&self.runs).into_iter().filter_map(stage).collect();
        stages.sort_by(|a, b| b.median_s.total_cmp(&a.median_s).then_with(|| a.key.cmp(&b.key)));
        stages
    }
}

impl Outlook<'_> {
    /// Number of stages.
    #[must_use]
    pub fn stages(&self) -> usize {
        self.stages.len()
    }

    /// The stage at a position; the longest is the first.
    #[must_use]
    pub fn stage(&self, place: usize) -> Option<StageOutlook> {
        let mut stage = self.stages.get(place)?.clone();
        if place < MAX_STAGES {
            stage.detectable_ratio = self.detectable_ratio(&stage.key);
            let usual = self.usual.stages.iter().find(|s| s.key == stage.key).map(StageSample::seconds);
            stage.detectable_increase_s =
                usual.zip(stage.detectable_ratio).map(|(s, ratio)| s * (ratio - 1.0));
        }
        Some(stage)
    }

    /// The smallest ratio, to about half a percent, that the policy's number of samples would confirm.
    /// The search goes upwards first, because the model may explain a very slow stage otherwise.
    fn detectable_ratio(&self, key: &StageKey) -> Option<f64> {
        let step = MAX_RATIO.powf(1.0 / f64::from(STEPS));
        let mut above =
            (1..=STEPS).map(|i| step.powf(f64::from(i))).find(|ratio| self.confirms(key, *ratio))?;
        let mut below = above / step;
        for _ in 0..HALVINGS {
            let middle = (below * above).sqrt();
            if self.confirms(key, middle) { above = middle } else { below = middle }
        }
        Some(above)
    }

    fn confirms(&self, key: &StageKey, ratio: f64) -> bool {
        let run = slowed(&self.usual, key, ratio);
        let repo = run.run.repo.clone();
        let samples = vec![run; self.policy.confirm().samples as usize];
        let comparison = compare(&self.fitted, &samples, &repo, self.policy);
        let stage = comparison.iter().flat_map(|c| &c.stages).find(|s| s.key == *key);
        stage.is_some_and(|s| s.verdict == StageVerdict::Regressed)
    }
}
