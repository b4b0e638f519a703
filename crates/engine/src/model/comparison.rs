//! What the gate says: verdicts and everything a reader needs to follow them. Made by
//! `gate/`, stored as it is, shown by `report/`.

use serde::{Deserialize, Serialize};

use super::decision::Decision;
use super::ids::{CommitSha, RepoName};
use super::policy::PolicyFacts;
use super::run::CONTRADICTED;
use super::stage::StageKey;
use super::structure::StructuralChange;

/// The verdict on one stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "why")]
pub enum StageVerdict {
    /// Nothing that evidence and the floors together support.
    Pass,
    /// One sample says slower: never blocks.
    Suspect,
    /// Enough samples together say slower.
    Regressed,
    /// Enough samples together say faster.
    Improved,
    /// The baseline has not seen it.
    New,
    /// The baseline has it, the candidate has not.
    Removed,
    /// Too little data to say, with the reason.
    Inconclusive(String),
    /// The data can't be compared, with the reason (failed, skipped, another kind of runner).
    NotComparable(String),
}

impl StageVerdict {
    /// The contract's word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Suspect => "suspect",
            Self::Regressed => "regressed",
            Self::Improved => "improved",
            Self::New => "new",
            Self::Removed => "removed",
            Self::Inconclusive(_) => "inconclusive",
            Self::NotComparable(_) => "not_comparable",
        }
    }
}

/// The verdict on a run, or on a head with several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunVerdict {
    /// Nothing got slower.
    Pass,
    /// A stage got faster and none slower.
    Improved,
    /// There was too little to say anything.
    Inconclusive,
    /// One sample says slower, or an error was seen once.
    Suspect,
    /// Confirmed: slower, or a gated new error.
    Regressed,
}

impl RunVerdict {
    /// The contract's word.
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

/// A place in the repository that a reader would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// Path from the repository's root.
    pub path: String,
    /// Line, from 1.
    pub line: u32,
}

/// Runs that could not be a baseline, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exclusion {
    /// In words: "failed", "on another branch".
    pub reason: String,
    /// How many.
    pub runs: usize,
}

/// Which past runs the candidate was held against.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BaselineSummary {
    /// How many.
    pub runs: usize,
    /// Commit of the oldest.
    pub from_sha: Option<CommitSha>,
    /// Commit of the newest.
    pub to_sha: Option<CommitSha>,
    /// Those that were left out.
    pub excluded: Vec<Exclusion>,
}

/// Wall-clock time of the whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WallClock {
    /// The newest candidate run, seconds.
    pub candidate_s: f64,
    /// Median of the baseline, seconds; none without a baseline.
    pub baseline_median_s: Option<f64>,
    /// The stages that decided when the candidate ended, outermost first.
    pub critical_path: Vec<StageKey>,
}

/// The numbers a verdict was calculated from, so that it can be calculated again by hand
/// (`docs/statistics-method.md` does it once). Durations are ln seconds or ratios of such.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workings {
    /// Duration that was predicted on a usual machine, seconds.
    pub predicted_s: f64,
    /// Of the samples that were judged together, oldest first: how long they took, seconds.
    pub seconds: Vec<f64>,
    /// Of the same samples: ln of the ratio to the prediction, the machine taken out.
    pub deviations: Vec<f64>,
    /// Of the same samples: how many times slower than usual the machine was.
    pub machine: Vec<f64>,
    /// The noise: degrees of freedom of Student's t.
    pub degrees_of_freedom: f64,
    /// Its scale.
    pub scale: f64,
    /// Standard deviation of ln scale: how unsure that is.
    pub ln_scale_deviation: f64,
    /// Standard deviation of the prediction.
    pub level_deviation: f64,
    /// The stage's rare slow mode, if it has one: how far above the usual it lies.
    pub slow_shift: Option<f64>,
    /// Its scale.
    pub slow_scale: Option<f64>,
    /// Share of the runs that are in it.
    pub slow_share: Option<f64>,
    /// Evidence at which the tail of what chance does begins.
    pub tail_start: f64,
    /// P(evidence > start + h) = rate x exp(-slope x h).
    pub tail_slope: f64,
    /// How often this stage reaches the tail by chance.
    pub tail_rate: f64,
    /// Stages that could have become a finding.
    pub stages: usize,
    /// Decisions of this kind that a pull request of four pushes gets, as they are weighed: 4, 3, 8
    /// and 8 for 1, 2, 3 and 4 samples.
    pub decisions: f64,
    /// This stage's share of the allowed chance; 1 is an equal part.
    pub share: f64,
}

/// One stage against its baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageComparison {
    /// Identity.
    pub key: StageKey,
    /// For people, pipeline first.
    pub path: Vec<String>,
    /// The stage that holds it.
    pub parent: Option<StageKey>,
    /// The verdict, with its reason where it has one of its own.
    #[serde(flatten)]
    pub verdict: StageVerdict,
    /// Median of the candidate's samples that were judged, seconds; none when removed.
    pub candidate_s: Option<f64>,
    /// Median of the baseline, seconds; none when new.
    pub baseline_median_s: Option<f64>,
    /// How many times as long as its prediction (after the runner's speed is taken out).
    pub ratio: Option<f64>,
    /// Candidate minus baseline, seconds, at the runner's speed taken out.
    pub increase_s: Option<f64>,
    /// ln of the likelihood ratio of "slower by a constant" to "unchanged", over all samples
    /// that were judged; comparable with `threshold`.
    pub score: Option<f64>,
    /// What the score has to exceed, learned from the baseline's own past.
    pub threshold: Option<f64>,
    /// The chance that a pull request in which nothing changed shows as much on any stage.
    #[serde(default)]
    pub probability: Option<f64>,
    /// What that was calculated from; only of a stage that got slower or faster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workings: Option<Box<Workings>>,
    /// Candidate samples that were judged.
    pub samples: usize,
    /// Baseline samples.
    pub baseline_samples: usize,
    /// On the candidate's critical path.
    pub critical: bool,
    /// The deeper stage that is responsible for this one's slowdown.
    pub explained_by: Option<StageKey>,
    /// What somebody decided about this finding: it counts for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// One sentence a developer understands.
    pub reason: String,
    /// The line a reader would change.
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
    /// Often in the baseline.
    Known,
    /// Now and then in the baseline.
    Flaky,
    /// Never in the baseline, and once in the change or against too short a history; or in the
    /// baseline, and far more often in the change. Never blocks.
    Suspect,
}

impl ErrorVerdict {
    /// The contract's word.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorComparison {
    /// Where it was seen.
    pub stage: StageKey,
    /// For people.
    pub path: Vec<String>,
    /// Identity.
    pub signature: String,
    /// Exception type.
    pub error_type: String,
    /// As sent by the newest sample.
    pub message: String,
    /// The verdict.
    pub verdict: ErrorVerdict,
    /// In how many candidate samples.
    pub candidate_runs: usize,
    /// In how many baseline runs.
    pub baseline_runs_with: usize,
    /// Out of how many.
    pub baseline_runs: usize,
    /// One sentence a developer understands; empty in comparisons of before there was one.
    #[serde(default)]
    pub reason: String,
    /// What somebody decided about it: it counts for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// The line a reader would change.
    pub location: Option<Location>,
}

impl ErrorComparison {
    /// The contract's `seen`: "0 of 143 runs".
    #[must_use]
    pub fn seen(&self) -> String {
        format!("{} of {} runs", self.baseline_runs_with, self.baseline_runs)
    }

    /// Whether the baseline never had it.
    #[must_use]
    pub fn is_unseen(&self) -> bool {
        self.baseline_runs_with == 0
    }
}

/// Everything the gate says about one candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunComparison {
    /// The worst of stages and errors.
    pub verdict: RunVerdict,
    /// The repository.
    pub repo: RepoName,
    /// The candidate's newest commit.
    pub head_sha: CommitSha,
    /// How many runs of the change were judged together.
    pub candidate_runs: usize,
    /// What it was held against.
    pub baseline: BaselineSummary,
    /// How many times as long as usual everything took on this runner; none without baseline.
    pub runner_factor: Option<f64>,
    /// The whole run.
    pub wall_clock: WallClock,
    /// Every stage: findings first, then by path.
    pub stages: Vec<StageComparison>,
    /// Every error of the candidate.
    pub errors: Vec<ErrorComparison>,
    /// What changed in the shape of the pipeline, the most telling first.
    #[serde(default)]
    pub structure: Vec<StructuralChange>,
    /// What else a reader has to know.
    pub notes: Vec<String>,
    /// What it was judged by; the defaults in comparisons of before it was kept.
    #[serde(default)]
    pub policy: PolicyFacts,
}

impl RunComparison {
    /// Whether a job of the newest run sent what can't be true by GitHub's own times.
    #[must_use]
    pub fn contradicts_github(&self) -> bool {
        self.notes.iter().any(|note| note.starts_with(CONTRADICTED))
    }
}
