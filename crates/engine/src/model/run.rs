//! One run of one pipeline on one commit, and what was measured in it.

use serde::{Deserialize, Serialize};

use super::environment::RunnerClass;
use super::ids::{CommitSha, PrNumber, RepoName, RunId, TraceId};
use super::note::Note;
use super::stage::{StageError, StageSample};
use super::time::Timestamp;

/// How a run or a stage ended: the values of `cicd.pipeline.result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunResult {
    /// Everything passed.
    Success,
    /// The pipeline's own work failed: a test, a compiler.
    Failure,
    /// The pipeline's machinery failed.
    Error,
    /// It took too long and was ended.
    Timeout,
    /// It was cancelled.
    Cancellation,
    /// It did not run.
    Skip,
}

impl RunResult {
    /// Value on the wire and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Cancellation => "cancellation",
            Self::Skip => "skip",
        }
    }

    /// Parses the values of the semantic conventions, of older conventions and of GitHub.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "success" | "succeeded" | "passed" | "ok" | "neutral" => Self::Success,
            "failure" | "failed" | "fail" | "unstable" => Self::Failure,
            "error" | "errored" | "startup_failure" => Self::Error,
            "timeout" | "timed_out" | "timedout" | "expired" => Self::Timeout,
            "cancellation" | "cancelled" | "canceled" | "aborted" | "interrupted" => Self::Cancellation,
            "skip" | "skipped" | "not_built" => Self::Skip,
            _ => return None,
        })
    }
}

/// Which line of development a run measured. Only [`Lineage::Branch`] can be a baseline.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Lineage {
    /// A push to a branch.
    Branch {
        /// Its name without `refs/heads/`.
        name: String,
    },
    /// A pull request's head.
    PullRequest {
        /// Its number, as GitHub or the tokened producer says.
        number: PrNumber,
    },
    /// The producer named neither: it is measured, but never a baseline.
    Unknown,
}

/// One run of one pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineRun {
    /// Row identifier.
    pub id: RunId,
    /// The repository the producer's identity belongs to.
    pub repo: RepoName,
    /// Name of the pipeline with varying parts templated; runs of one name are compared.
    pub pipeline: String,
    /// The producer's own identifier of this run (`cicd.pipeline.run.id`), if it has one.
    pub external_id: Option<String>,
    /// The trace it came from; a file without traces has none.
    pub trace_id: Option<TraceId>,
    /// 1 for the first attempt, more for a rerun.
    pub attempt: u32,
    /// The commit that was measured.
    pub head_sha: CommitSha,
    /// Which line of development it is on.
    pub lineage: Lineage,
    /// How it ended.
    pub result: RunResult,
    pub runner: RunnerClass,
    /// When its root span began.
    pub started_at: Timestamp,
    /// Wall-clock length of its root span in nanoseconds, never negative.
    pub duration_ns: i64,
    /// Path of its workflow file from the repository's root; none outside of GitHub Actions.
    #[serde(default)]
    pub workflow_path: Option<String>,
    /// Facts about repairs and omissions.
    pub notes: Vec<Note>,
}

/// A run with everything that was measured in it: what the decision works on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredRun {
    /// The run.
    pub run: PipelineRun,
    /// Its stages, at most one sample for each key.
    pub stages: Vec<StageSample>,
    /// Its errors.
    pub errors: Vec<StageError>,
}
