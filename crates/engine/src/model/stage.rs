//! A stage is a part of a pipeline with the same name in every run. Its key identifies it across runs,
//! and its path is for display. Its errors and their stack frames are here too.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::comparison::Location;
use super::run::RunResult;

/// Stable name of a stage: `v1|` and the templated path, joined by ` / `. Samples of two runs with
/// equal keys are of one stage. The version changes when the rules of naming change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StageKey(String);

impl StageKey {
    /// The prefix with the version of the rules.
    pub const VERSION: &'static str = "v1|";

    /// The key of a path, pipeline first. A ` / ` inside a part becomes ` ∕ `, so that a part can't
    /// read as two.
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

/// The kind of time in a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageKind {
    #[default]
    Work,
    /// Waiting for a runner, which a change of the code can't shorten or lengthen.
    Queue,
}

impl StageKind {
    /// The value in the store and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Queue => "queue",
        }
    }

    /// The inverse of [`Self::as_str`], in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.trim().to_ascii_lowercase().as_str() {
            "work" => Self::Work,
            "queue" => Self::Queue,
            _ => return None,
        })
    }
}

/// Whether a stage's cache had the needed content, as its producer reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheState {
    Hit,
    /// The content had to be built or fetched.
    Miss,
}

impl CacheState {
    /// The value in the store and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
        }
    }

    /// Reads `hit` and `miss`, or `true` and `false`, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.trim().to_ascii_lowercase().as_str() {
            "hit" | "true" => Self::Hit,
            "miss" | "false" => Self::Miss,
            _ => return None,
        })
    }
}

/// The duration of one stage in one run. Repeated siblings of one name are one sample: `count` is
/// their number and `duration_ns` their sum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageSample {
    pub key: StageKey,
    /// None for the pipeline itself.
    pub parent: Option<StageKey>,
    /// Templated names of this run for display, pipeline first.
    pub path: Vec<String>,
    /// Sum over the repeated siblings, nanoseconds, never negative. Time of waiting for runners inside
    /// the stage is subtracted (`gate/measure/waiting.rs`).
    pub duration_ns: i64,
    /// Number of spans, at least 1.
    pub count: u32,
    /// Beginning of the first span, nanoseconds after the run's beginning. It may be negative when
    /// clocks differ.
    pub start_offset_ns: i64,
    /// End of the last span, nanoseconds after the run's beginning.
    pub end_offset_ns: i64,
    /// Only the duration of a `Success` is used: a failed stage stops early.
    pub result: RunResult,
    /// Work that a message started. It does not lengthen its parent.
    pub asynchronous: bool,
    #[serde(default)]
    pub kind: StageKind,
    /// None when no span reported it, or when spans reported both.
    #[serde(default)]
    pub cache: Option<CacheState>,
}

impl StageSample {
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "exact to a nanosecond up to 104 days")]
    pub fn seconds(&self) -> f64 {
        self.duration_ns as f64 / 1e9
    }
}

/// The topmost frame of a stack trace in the repository's own code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// From the repository's root. Where that is not known, the path of the trace without its varying
    /// parts.
    pub path: String,
    /// The trace's name of the function, without numbers that a compiler added. It may be empty.
    pub function: String,
    /// From 1. None unless the path is from the repository's root. The line does not identify the
    /// frame, because every edit above moves it.
    pub line: Option<u32>,
}

impl Frame {
    /// The file and line in the repository. None without a line.
    #[must_use]
    pub fn location(&self) -> Option<Location> {
        self.line.map(|line| Location { path: self.path.clone(), line })
    }
}

/// An error in one stage of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageError {
    pub stage: StageKey,
    /// The stage's path for display.
    pub path: Vec<String>,
    /// Stage, type, templated message and frame. Equal signatures are one error. Not for display.
    pub signature: String,
    /// Exception type, or `error` when none was sent.
    pub error_type: String,
    /// The message as sent, cut to a maximal length.
    pub message: String,
    /// The frame in the repository, if the producer sent a stack trace that has one.
    #[serde(default)]
    pub frame: Option<Frame>,
}
