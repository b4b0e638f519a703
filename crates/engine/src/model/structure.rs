//! Changes of a pipeline's structure, independent of durations: stages that were added, removed,
//! renamed or reordered, or that ran more or less often. `gate/structure` finds them.

use serde::{Deserialize, Serialize};

use super::policy::Alias;
use super::stage::StageKey;

/// One change of one stage against the usual structure of the baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StructuralChange {
    /// A stage of the candidate, or of the baseline when it was removed.
    pub key: StageKey,
    /// For display, pipeline first.
    pub path: Vec<String>,
    #[serde(flatten)]
    pub change: Change,
}

/// The kind of change of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// No run of the baseline has the stage. The stages within it are not reported separately.
    Added {
        /// Duration in the candidate.
        seconds: f64,
        /// Number of stages within it.
        within: usize,
    },
    /// The baseline usually has the stage. The stages within it are not reported separately.
    Removed {
        /// Usual duration, seconds. None when the stage never succeeded.
        usual_s: Option<f64>,
        /// Number of stages within it.
        within: usize,
    },
    /// A removed and an added stage look like the same work.
    Renamed {
        /// The old path.
        from: Vec<String>,
        /// Why they look the same.
        evidence: Vec<RenameEvidence>,
        /// The policy entry that keeps the stage's history. None when a policy can't express these
        /// names.
        alias: Option<Alias>,
    },
    /// The stage runs on the other side of a sibling. They did not overlap before either.
    Reordered {
        sibling: Vec<String>,
        now: Side,
        /// Baseline runs in which the stage ran on the other side.
        runs: usize,
        /// Baseline runs that have both.
        of: usize,
    },
    /// The stage runs more or less often than in any run of the baseline.
    Repeated(Repetition),
}

/// One reason to take two stages for the same work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum RenameEvidence {
    /// They have the same place among their siblings.
    SamePlace,
    /// Share of their parts' names that both have, 0 to 1.
    SharedParts { share: f64 },
    /// They take about as long.
    SameTime { took_s: f64, usual_s: f64 },
    /// Similarity of their names, 0 to 1.
    SimilarNames { similarity: f64 },
    /// Text that version 0.1.0 stored.
    #[serde(untagged)]
    Text(String),
}

/// The side of a sibling on which a stage runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The stage ends before the sibling begins.
    Before,
    /// The stage begins after the sibling ended.
    After,
}

/// How often a stage ran and how long one repetition took, against the baseline. The ratio of the total
/// times is the ratio of the counts times the ratio of the times of one repetition.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Repetition {
    /// Repetitions in the newest run, at least 1.
    pub count: u32,
    /// Median of the baseline's counts, at least 1.
    pub usual_count: f64,
    /// Mean time of one repetition, seconds.
    pub each_s: f64,
    /// Median of the baseline's mean times, seconds.
    pub usual_each_s: f64,
    pub each: EachTime,
}

/// Shorter times count as equal, seconds.
pub const SHORTEST_S: f64 = 0.001;

impl Repetition {
    /// How many times as often as usual it ran.
    #[must_use]
    pub fn count_ratio(&self) -> f64 {
        f64::from(self.count) / self.usual_count
    }

    /// How many times as long as usual each took.
    #[must_use]
    pub fn time_ratio(&self) -> f64 {
        self.each_s.max(SHORTEST_S) / self.usual_each_s.max(SHORTEST_S)
    }
}

/// How the time of one repetition compares with the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EachTime {
    /// Within the usual variation, or below the policy's smallest ratio.
    AsBefore,
    Longer,
    Shorter,
}
