//! A stage over the runs of a branch: its series, and the lasting changes that `gate/history` finds in
//! it.

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
    /// ln of the ratio to the usual duration, without the runner's speed.
    pub residual: f64,
}

/// One stage over the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageSeries {
    pub key: StageKey,
    /// Names, pipeline first.
    pub path: Vec<String>,
    pub parent: Option<StageKey>,
    /// The duration whose residual is 0, seconds.
    pub usual_s: f64,
    /// From the runs that have it, oldest first.
    pub points: Vec<SeriesPoint>,
}

/// A change that was accepted: from then on the stage is compared with its level after the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedChange {
    /// The stage; its parents changed with it.
    pub stage: StageKey,
    /// Start of the first run with the change ([`HistoryChange::since`]).
    pub since: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// From one run to the next.
    Step,
    /// Slowly, over many runs.
    Drift,
}

/// A lasting change of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryChange {
    pub stage: StageKey,
    /// Names, pipeline first.
    pub path: Vec<String>,
    pub kind: ChangeKind,
    /// Duration after to duration before; below 1 it got faster.
    pub ratio: f64,
    /// Usual duration before the change on a usual runner, seconds.
    pub before_s: f64,
    /// Usual duration after the change on a usual runner, seconds.
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
    /// p of the test that found it. The place was searched for, so it is only good for ordering.
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
