//! One run of one pipeline on one commit, with its measurements.

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
    Success,
    /// The pipeline's own work failed, such as a test or a compiler.
    Failure,
    /// The CI system failed.
    Error,
    /// It was ended because it exceeded its time limit.
    Timeout,
    Cancellation,
    Skip,
}

impl RunResult {
    /// The value on the wire and in the store.
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

    /// Reads values of the semantic conventions, of older conventions and of GitHub, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
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

/// The line of development that a run measured. Only [`Lineage::Branch`] can be a baseline.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Lineage {
    /// A push to a branch.
    Branch {
        /// The branch's name without `refs/heads/`.
        name: String,
    },
    /// A pull request's head.
    PullRequest {
        /// The number comes from GitHub, or from a producer with a token.
        number: PrNumber,
    },
    /// The producer named neither. The run is measured, but can't be a baseline.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineRun {
    pub id: RunId,
    /// The repository that the producer's identity belongs to.
    pub repo: RepoName,
    /// Name of the pipeline with its varying parts templated. Runs of one name are compared.
    pub pipeline: String,
    /// The producer's own identifier of this run (`cicd.pipeline.run.id`), if it has one.
    pub external_id: Option<String>,
    /// None for a run from a file without traces.
    pub trace_id: Option<TraceId>,
    /// 1 for the first attempt, more for a rerun.
    pub attempt: u32,
    /// The commit that was measured.
    pub head_sha: CommitSha,
    pub lineage: Lineage,
    pub result: RunResult,
    pub runner: RunnerClass,
    /// Beginning of the root span.
    pub started_at: Timestamp,
    /// Wall-clock length of the root span, nanoseconds, never negative.
    pub duration_ns: i64,
    /// The workflow's file, from the repository's root. None when the pipeline is not a workflow of
    /// GitHub Actions.
    #[serde(default)]
    pub workflow_path: Option<String>,
    /// Facts about repairs and omissions.
    pub notes: Vec<Note>,
}

/// A run with its measurements: the input of the decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredRun {
    pub run: PipelineRun,
    /// At most one sample for each key.
    pub stages: Vec<StageSample>,
    pub errors: Vec<StageError>,
}
