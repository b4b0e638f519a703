//! The result of a comparison: verdicts, and the numbers and facts that they rest on. `gate/`
//! computes it, the store keeps it, `report/` formats it. It contains no text for readers.

use serde::{Deserialize, Serialize};

use super::decision::Decision;
use super::ids::{CommitSha, RepoName};
use super::note::Note;
use super::policy::PolicyFacts;
use super::reason::{ErrorReason, ExclusionReason, StageFact, error_reason, stage_facts};
use super::stage::StageKey;
use super::structure::StructuralChange;

/// The verdict on one stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageVerdict {
    /// No change with enough evidence that also exceeds the policy's floors.
    Pass,
    /// Slower in too few samples, or against too short a baseline. Never blocks.
    Suspect,
    /// Enough samples together are slower.
    Regressed,
    /// Enough samples together are faster.
    Improved,
    /// The baseline does not have the stage.
    New,
    /// The baseline has the stage, the candidate does not.
    Removed,
    /// There is too little data.
    Inconclusive,
    /// The data can't be compared: it failed, was skipped, ran on another kind of runner.
    NotComparable,
}

impl StageVerdict {
    /// Value in the JSON API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Suspect => "suspect",
            Self::Regressed => "regressed",
            Self::Improved => "improved",
            Self::New => "new",
            Self::Removed => "removed",
            Self::Inconclusive => "inconclusive",
            Self::NotComparable => "not_comparable",
        }
    }
}

/// The verdict on a run, or on a head with several. The order is from the mildest to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunVerdict {
    /// Nothing got slower.
    Pass,
    /// A stage got faster and none slower.
    Improved,
    /// There was too little data.
    Inconclusive,
    /// A stage was slower but not confirmed, or an error is unknown but not confirmed.
    Suspect,
    /// Confirmed: slower, or a gated new error.
    Regressed,
}

impl RunVerdict {
    /// Value in the JSON API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Improved => "improved",
            Self::Inconclusive => "inconclusive",
            Self::Suspect => "suspect",
            Self::Regressed => "regressed",
        }
    }
}

/// A line in the repository that a reader would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// Path from the repository's root.
    pub path: String,
    /// Counted from 1.
    pub line: u32,
}

/// Runs that could not be a baseline for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exclusion {
    pub reason: ExclusionReason,
    pub runs: usize,
}

/// The past runs with which the candidate was compared.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BaselineSummary {
    pub runs: usize,
    /// Commit of the oldest.
    pub from_sha: Option<CommitSha>,
    /// Commit of the newest.
    pub to_sha: Option<CommitSha>,
    /// The most frequent reason first.
    pub excluded: Vec<Exclusion>,
}

/// Wall-clock time of the whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WallClock {
    /// The newest candidate run, seconds.
    pub candidate_s: f64,
    /// Median of the baseline, seconds; none without a baseline.
    pub baseline_median_s: Option<f64>,
    /// The stages that determined the end of the candidate, outermost first.
    pub critical_path: Vec<StageKey>,
}

/// The numbers from which a verdict was calculated, so that it can be calculated again by hand.
/// `docs/statistics-method.md` does it once. Durations are ln seconds, or ratios of such.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workings {
    /// Predicted duration on a usual runner, seconds.
    pub predicted_s: f64,
    /// Durations of the samples that were judged together, oldest first, seconds.
    pub seconds: Vec<f64>,
    /// Of the same samples: ln of the ratio to the prediction, without the runner's speed.
    pub deviations: Vec<f64>,
    /// Of the same samples: how many times slower than usual the runner was.
    #[serde(rename = "machine")]
    pub runner_factors: Vec<f64>,
    /// The noise is Student's t with these degrees of freedom.
    pub degrees_of_freedom: f64,
    /// Scale of the noise.
    pub scale: f64,
    /// Standard deviation of ln scale.
    pub ln_scale_deviation: f64,
    /// Standard deviation of the prediction.
    pub level_deviation: f64,
    /// How far the stage's rare slow mode lies above its usual level; none without a slow mode.
    pub slow_shift: Option<f64>,
    pub slow_scale: Option<f64>,
    /// Share of the runs that are in the slow mode.
    pub slow_share: Option<f64>,
    /// Evidence at which the tail of the null distribution begins.
    pub tail_start: f64,
    /// P(evidence > start + h) = rate x exp(-slope x h).
    pub tail_slope: f64,
    /// How often an unchanged stage reaches the tail.
    pub tail_rate: f64,
    /// Stages that could have become a finding.
    pub stages: usize,
    /// Weighted number of decisions of this kind in a pull request of four pushes: 4, 3, 8 and 8
    /// for 1, 2, 3 and 4 samples.
    pub decisions: f64,
    /// This stage's share of the allowed false alarms; 1 is an equal share.
    pub share: f64,
}

/// One stage against its baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageComparison {
    pub key: StageKey,
    /// Names, pipeline first.
    pub path: Vec<String>,
    pub parent: Option<StageKey>,
    pub verdict: StageVerdict,
    /// Median of the candidate's samples that were judged, seconds; none when removed.
    pub candidate_s: Option<f64>,
    /// Median of the baseline, seconds; none when new.
    pub baseline_median_s: Option<f64>,
    /// Ratio to the prediction, without the runner's speed.
    pub ratio: Option<f64>,
    /// Candidate minus prediction, seconds, without the runner's speed.
    pub increase_s: Option<f64>,
    /// ln of the likelihood ratio of "slower by a constant" to "unchanged", over all samples that
    /// were judged.
    pub score: Option<f64>,
    /// The score has to exceed it; learned from the baseline.
    pub threshold: Option<f64>,
    /// Probability that an unchanged pull request shows as much on any stage.
    #[serde(default)]
    pub probability: Option<f64>,
    /// Only of a stage that got slower or faster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workings: Option<Box<Workings>>,
    /// Candidate samples that were judged.
    pub samples: usize,
    pub baseline_samples: usize,
    /// On the candidate's critical path.
    pub critical: bool,
    /// The deeper stage that is responsible for this stage's slowdown.
    pub explained_by: Option<StageKey>,
    /// A decision that covers this finding, which then does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// The facts on which the verdict rests, in the order in which they are shown.
    #[serde(deserialize_with = "stage_facts")]
    pub reason: Vec<StageFact>,
    pub location: Option<Location>,
    /// Baseline durations oldest first, then the candidate's, seconds: for a sparkline. At
    /// most the newest 60 and all candidate samples; see `history_candidates`.
    pub history_s: Vec<f64>,
    /// How many of the last values of `history_s` are the candidate's.
    pub history_candidates: usize,
}

/// The verdict on one error signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorVerdict {
    /// In two or more samples of the change and never in the baseline.
    New,
    /// In more than 20% of the baseline's runs.
    Known,
    /// In some runs of the baseline.
    Flaky,
    /// Never in the baseline, and once in the change or against too short a history. Or in the
    /// baseline, and far more often in the change. Never blocks.
    Suspect,
}

impl ErrorVerdict {
    /// Value in the JSON API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Known => "known",
            Self::Flaky => "flaky",
            Self::Suspect => "suspect",
        }
    }
}

/// One error signature against the baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorComparison {
    pub stage: StageKey,
    /// Names, pipeline first.
    pub path: Vec<String>,
    /// Identity.
    pub signature: String,
    /// Exception type.
    pub error_type: String,
    /// As sent by the newest sample.
    pub message: String,
    pub verdict: ErrorVerdict,
    /// Candidate samples that had it.
    pub candidate_runs: usize,
    /// Baseline runs that had it.
    pub baseline_runs_with: usize,
    /// All baseline runs.
    pub baseline_runs: usize,
    /// None in comparisons that were stored without one.
    #[serde(default, deserialize_with = "error_reason")]
    pub reason: Option<ErrorReason>,
    /// A decision that covers this finding, which then does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    pub location: Option<Location>,
}

impl ErrorComparison {
    /// Whether the baseline never had it.
    #[must_use]
    pub fn is_unseen(&self) -> bool {
        self.baseline_runs_with == 0
    }
}

/// The result of one comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunComparison {
    /// The worst of stages and errors.
    pub verdict: RunVerdict,
    pub repo: RepoName,
    /// The candidate's newest commit.
    pub head_sha: CommitSha,
    /// How many runs of the change were judged together.
    pub candidate_runs: usize,
    pub baseline: BaselineSummary,
    /// Runner speed: how many times as long as usual everything took; none without a baseline.
    pub runner_factor: Option<f64>,
    pub wall_clock: WallClock,
    /// Every stage: findings first, then by path.
    pub stages: Vec<StageComparison>,
    /// Every error of the candidate.
    pub errors: Vec<ErrorComparison>,
    /// Changes in the shape of the pipeline, the most important first.
    #[serde(default)]
    pub structure: Vec<StructuralChange>,
    pub notes: Vec<Note>,
    /// The defaults in comparisons that were stored without one.
    #[serde(default)]
    pub policy: PolicyFacts,
}

impl RunComparison {
    /// Whether the data of a job of the newest run contradicts GitHub's own times.
    #[must_use]
    pub fn contradicts_github(&self) -> bool {
        self.notes.iter().any(Note::contradicts_github)
    }
}

#[cfg(test)]
mod tests;
