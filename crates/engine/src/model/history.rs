//! What happened to a stage over the runs of a branch: the series that is looked at, and the
//! lasting changes that are found in it. Made by `gate/history.rs`.

use serde::{Deserialize, Serialize};

use super::ids::CommitSha;
use super::stage::StageKey;
use super::time::Timestamp;

/// One run of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRun {
    /// The commit that was measured.
    pub commit: CommitSha,
    /// When it began.
    pub started_at: Timestamp,
}

/// One stage in one run of the history.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeriesPoint {
    /// Position of the run, 0 for the oldest.
    pub run: usize,
    /// ln of how many times as long as usual it took, the machine's speed taken out.
    pub residual: f64,
}

/// One stage over the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageSeries {
    /// Identity.
    pub key: StageKey,
    /// For people, pipeline first.
    pub path: Vec<String>,
    /// The stage that holds it.
    pub parent: Option<StageKey>,
    /// The duration whose residual is 0, seconds.
    pub usual_s: f64,
    /// Of the runs that have it, oldest first; a run without it is simply absent.
    pub points: Vec<SeriesPoint>,
}

/// A change somebody decided to live with: from then on the stage is held against what it was
/// after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedChange {
    /// The stage; what holds it changed with it.
    pub stage: StageKey,
    /// Start of the first run with the change ([`HistoryChange::since`]).
    pub since: Timestamp,
}

/// How a stage changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// From one run to the next.
    Step,
    /// Little by little.
    Drift,
}

/// A lasting change of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryChange {
    /// The stage.
    pub stage: StageKey,
    /// For people, pipeline first.
    pub path: Vec<String>,
    /// Step or drift.
    pub kind: ChangeKind,
    /// How many times as long it takes now; below 1 it got faster.
    pub ratio: f64,
    /// Its usual duration before, seconds, at the usual speed of the machine.
    pub before_s: f64,
    /// The same afterwards.
    pub after_s: f64,
    /// Step: the last commit measured before. Drift: the first one of the anchor.
    pub from_sha: CommitSha,
    /// Step: the first commit measured after. Drift: the newest.
    pub to_sha: CommitSha,
    /// Start of the run of `to_sha`.
    pub since: Timestamp,
    /// Step: runs that have come after the first one with the change. Drift: runs from the anchor's
    /// first to the newest.
    pub runs: usize,
    /// Of the test that found it, at a place that was searched for: to order by, not to believe.
    pub p: f64,
    /// The deeper stage that is responsible for this one's change.
    pub explained_by: Option<StageKey>,
}

impl HistoryChange {
    /// Afterwards minus before, seconds.
    #[must_use]
    pub fn increase_s(&self) -> f64 {
        self.after_s - self.before_s
    }
}
