//! Why a stage, an error or a run of the history was treated as it was, as facts. `report` formats
//! them. The numbers that a comparison has anyway are not repeated here.

use serde::{Deserialize, Deserializer, Serialize};

use super::environment::RunnerClass;
use super::run::RunResult;
use super::structure::Repetition;

/// One fact on which a stage's verdict rests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum StageFact {
    /// It was judged against its baseline.
    Judged(FindingSummary),
    /// The baseline does not have it.
    NotInBaseline,
    /// The baseline has too few runs to judge.
    ShortHistory {
        runs: usize,
        needed: usize,
        /// The change is large enough to be named.
        is_large: bool,
    },
    /// The pipeline has more stages than the model holds.
    TooManyStages,
    /// The baseline has too few samples with the same state of the cache.
    RareCacheState,
    /// It took longer than the policy's budget for it.
    OverBudget {
        /// Median of the samples over the budget.
        took_s: f64,
        budget_s: f64,
        samples: usize,
    },
    /// The candidate's newest run used another kind of runner than the baseline.
    OtherRunner { runner: RunnerClass },
    /// It did not succeed.
    Incomplete { result: RunResult },
    /// The baseline has it, the candidate does not.
    Absent,
    /// It is absent from a run that did not succeed.
    NotReached,
    /// It is a wait for a runner, which is not judged.
    Waiting,
    /// It looks like a stage of the baseline under another name.
    Renamed { from: String },
    /// It ran more often than usual.
    Repeated(Repetition),
    /// Text that version 0.1.0 stored.
    #[serde(untagged)]
    Text(String),
}

/// How a stage's samples compare with its baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FindingSummary {
    /// Samples that were judged together.
    pub samples: usize,
    pub confirmation: Confirmation,
    /// Runner speed: how many times as long as usual everything took. The ratio is corrected for it.
    pub runner_factor: f64,
    /// The stage's rare slow mode, where it matters to the verdict.
    pub slow_mode: Option<SlowModeSummary>,
}

/// Whether there is a finding, and what it lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirmation {
    /// There is no finding.
    Unchanged,
    Confirmed,
    /// This many samples, judged together, may confirm it.
    NeedsSamples(usize),
    /// This many comparable runs are needed to confirm it.
    NeedsHistory(usize),
}

/// A stage's rare slow mode.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SlowModeSummary {
    /// Share of the baseline's runs that are in it, 0 to 1.
    pub share: f64,
    /// How much longer than predicted such a run takes.
    pub increase_s: f64,
}

/// Why an error has its verdict. How often it was seen is in the comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum ErrorReason {
    /// The baseline had it as often.
    SeenBefore,
    /// The baseline had it far more rarely.
    MoreOften {
        /// Runs of the change.
        of: usize,
        /// Probability of as many sightings at the baseline's rate, adjusted for all errors.
        probability: f64,
    },
    /// The baseline never had it.
    Unseen,
    /// The baseline never had it, and has fewer runs than are needed to call an error new.
    ShortHistory { needed: usize },
    /// The baseline never had it, but this share of the baseline's own errors occurred only once.
    OftenSeenOnce { share: f64 },
    /// There is no baseline.
    NoHistory,
    /// Text that version 0.1.0 stored.
    #[serde(untagged)]
    Text(String),
}

/// Why a run could not be a baseline. The order is that in which equally frequent reasons are listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum ExclusionReason {
    /// It is not a first attempt.
    Rerun,
    /// It is older than the newest runs that the policy allows.
    BeyondNewest {
        runs: usize,
    },
    Cancelled,
    Failed,
    LaterThanChange,
    /// It does not say which branch it measured.
    NoBranch,
    OfPullRequest,
    OtherPipeline,
    /// It measured the commit that is judged.
    JudgedCommit,
    /// It is older than the policy's number of days.
    TooOld {
        days: u32,
    },
    OtherBranch,
    OtherRunner {
        runner: RunnerClass,
    },
    Skipped,
    TimedOut,
    /// Text that version 0.1.0 stored.
    #[serde(untagged)]
    Text(String),
}

/// Reads a stage's reason: facts, or the one text of a version without facts.
pub(super) fn stage_facts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<StageFact>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Facts(Vec<StageFact>),
        Text(String),
    }
    Ok(match Stored::deserialize(deserializer)? {
        Stored::Facts(facts) => facts,
        Stored::Text(text) if text.is_empty() => Vec::new(),
        Stored::Text(text) => vec![StageFact::Text(text)],
    })
}

/// Reads an error's reason. An empty text is none.
pub(super) fn error_reason<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ErrorReason>, D::Error> {
    let reason = Option::<ErrorReason>::deserialize(deserializer)?;
    Ok(reason.filter(|reason| *reason != ErrorReason::Text(String::new())))
}
