//! What changed in the shape of a pipeline, whatever it took: stages that came, went, got another
//! name or place, or ran more or less often. Found by `gate/structure`, shown by `report/`.

use serde::{Deserialize, Serialize};

use super::policy::Alias;
use super::stage::StageKey;

/// One change of one stage against what the baseline usually has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StructuralChange {
    /// The stage: of the candidate, or of the baseline when it was removed.
    pub key: StageKey,
    /// For people, pipeline first.
    pub path: Vec<String>,
    /// What became of it.
    #[serde(flatten)]
    pub change: Change,
}

/// What became of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// No run of the baseline has it. What it holds is not told again.
    Added {
        /// What it took, seconds.
        seconds: f64,
        /// How many stages it holds.
        within: usize,
    },
    /// The baseline usually has it. What it held is not told again.
    Removed {
        /// What it usually took, seconds; none when it never succeeded.
        usual_s: Option<f64>,
        /// How many stages it held.
        within: usize,
    },
    /// One that was removed and one that was added look like the same work.
    Renamed {
        /// The path it had.
        from: Vec<String>,
        /// Why they look the same.
        evidence: Vec<RenameEvidence>,
        /// What keeps its history, in the policy; none when no policy can say these names.
        alias: Option<Alias>,
    },
    /// It runs on the other side of a sibling that it did not overlap with before either.
    Reordered {
        /// The sibling.
        sibling: Vec<String>,
        /// Where it runs now.
        now: Side,
        /// Baseline runs in which it ran on the other side.
        runs: usize,
        /// Baseline runs that had both.
        of: usize,
    },
    /// It runs more or less often than in any run of the baseline.
    Repeated(Repetition),
}

/// One reason to take two stages for the same work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum RenameEvidence {
    /// They stand at the same place among their siblings.
    SamePlace,
    /// Share of their parts' names that both have, 0 to 1.
    SharedParts { share: f64 },
    /// They take about as long.
    SameTime { took_s: f64, usual_s: f64 },
    /// Similarity of their names, 0 to 1.
    SimilarNames { similarity: f64 },
    /// A reason that a version without facts stored.
    #[serde(untagged)]
    Text(String),
}

/// On which side of a sibling a stage runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// It ends before the sibling begins.
    Before,
    /// It begins after the sibling ended.
    After,
}

/// How often a stage ran and how long each time took, against the baseline: the ratio of its
/// whole time is the ratio of the counts times the ratio of the times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Repetition {
    /// Times in the newest run, at least 1.
    pub count: u32,
    /// Median of the baseline's counts, at least 1.
    pub usual_count: f64,
    /// Mean time of one, seconds.
    pub each_s: f64,
    /// Median of the baseline's mean times, seconds.
    pub usual_each_s: f64,
    /// How the time of each compares.
    pub each: EachTime,
}

/// Shorter times are not told apart, seconds.
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
    /// Within what it usually varies, or below the policy's smallest ratio.
    AsBefore,
    /// Longer than that.
    Longer,
    /// Shorter than that.
    Shorter,
}
