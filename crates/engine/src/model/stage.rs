//! A stage: a part of a pipeline that has the same name in every run. Its key is the
//! identity that a baseline hangs on; its path is what people read.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::comparison::Location;
use super::run::RunResult;

/// Stable name of a stage: `v1|` and the templated path, joined by ` / `. Two runs' samples
/// with equal keys are the same stage. The leading version changes when the rules change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StageKey(String);

impl StageKey {
    /// The prefix that says which rules made a key.
    pub const VERSION: &'static str = "v1|";

    /// The key of a path (pipeline first). A separator inside a part is written `∕` so that
    /// no name can pose as two.
    #[must_use]
    pub fn from_path(path: &[String]) -> Self {
        let parts: Vec<String> = path.iter().map(|part| part.replace(" / ", " \u{2215} ")).collect();
        Self(format!("{}{}", Self::VERSION, parts.join(" / ")))
    }

    /// A key read back from the store or a file.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The whole key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a stage's time was spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageKind {
    /// Work of the pipeline.
    #[default]
    Work,
    /// Waiting for a runner: nothing that a change of the code can shorten or lengthen.
    Queue,
}

impl StageKind {
    /// The word used in the store and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Queue => "queue",
        }
    }

    /// From its own words, in any case.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word.trim().to_ascii_lowercase().as_str() {
            "work" => Self::Work,
            "queue" => Self::Queue,
            _ => return None,
        })
    }
}

/// Whether a stage found what it needed in a cache, where its producer said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheState {
    /// It was there.
    Hit,
    /// It had to be made or fetched.
    Miss,
}

impl CacheState {
    /// The word used in the store and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
        }
    }

    /// From its own words and from `true` and `false`, in any case.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word.trim().to_ascii_lowercase().as_str() {
            "hit" | "true" => Self::Hit,
            "miss" | "false" => Self::Miss,
            _ => return None,
        })
    }
}

/// Duration of one stage in one run. Repeated siblings of one name are one sample: `count`
/// says how many, `duration_ns` is their sum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageSample {
    /// Identity across runs.
    pub key: StageKey,
    /// The stage that holds it; none for the pipeline itself.
    pub parent: Option<StageKey>,
    /// What people read, pipeline first, of this run's templated names.
    pub path: Vec<String>,
    /// Sum over the repeated siblings, nanoseconds, never negative; without the time that was
    /// spent waiting for runners in it (`gate/waiting.rs`).
    pub duration_ns: i64,
    /// How many spans it stands for, at least 1.
    pub count: u32,
    /// Beginning of the first span, nanoseconds after the run's beginning (may be negative
    /// when clocks differ).
    pub start_offset_ns: i64,
    /// End of the last span, nanoseconds after the run's beginning.
    pub end_offset_ns: i64,
    /// How it ended. Only `Success` counts as a duration: a failed stage stops early.
    pub result: RunResult,
    /// Work started by a message: it does not lengthen what holds it.
    pub asynchronous: bool,
    /// What its time was spent on.
    #[serde(default)]
    pub kind: StageKind,
    /// Whether a cache had what it needed; none when nobody said, or it was both.
    #[serde(default)]
    pub cache: Option<CacheState>,
}

impl StageSample {
    /// The duration in seconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a nanosecond in 104 days is beyond what anyone measures")]
    pub fn seconds(&self) -> f64 {
        self.duration_ns as f64 / 1e9
    }
}

/// The topmost place of a stack trace that lies in the repository's own code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// From the repository's root. Where that can't be known, as the trace wrote it, without
    /// what varies from run to run.
    pub path: String,
    /// As the trace names it, without numbers that a compiler gave; may be empty.
    pub function: String,
    /// From 1. None unless the path is from the repository's root: there would be nowhere to
    /// point. It is no part of what the frame identifies, because every edit above moves it.
    pub line: Option<u32>,
}

impl Frame {
    /// Where a reader would look; none where the file can't be told.
    #[must_use]
    pub fn location(&self) -> Option<Location> {
        self.line.map(|line| Location { path: self.path.clone(), line })
    }
}

/// An error seen in one stage of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageError {
    /// Where it was seen.
    pub stage: StageKey,
    /// What people read of the stage.
    pub path: Vec<String>,
    /// Stage, type, templated message and frame: equal signatures are one error. It identifies,
    /// it is not for reading.
    pub signature: String,
    /// Exception type, or `error` when none was sent.
    pub error_type: String,
    /// The message as sent, bounded.
    pub message: String,
    /// Where in the repository it arose, if its producer sent a stack trace that says so.
    #[serde(default)]
    pub frame: Option<Frame>,
}
