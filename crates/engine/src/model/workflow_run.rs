//! A workflow run, its jobs and steps, as GitHub's REST API describes them. Times are RFC 3339. Every
//! list and every text is cut at a limit while it is read.

use serde::Deserialize;

use super::bounded;
use super::ids::CommitSha;

/// Most jobs of one attempt that are kept.
pub const MAX_JOBS: usize = 1_000;

/// One attempt of a run of a workflow.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct WorkflowRun {
    /// The same for all attempts.
    pub id: i64,
    /// The workflow's name, or its path where it has none.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub name: Option<String>,
    pub workflow_id: i64,
    /// The workflow's file. For GitHub's own workflows it is not a file and begins with `dynamic/`.
    #[serde(default, deserialize_with = "bounded::text")]
    pub path: String,
    /// `push`, `pull_request` and others.
    #[serde(deserialize_with = "bounded::text")]
    pub event: String,
    /// `queued`, `in_progress`, `completed` and others.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub status: Option<String>,
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub conclusion: Option<String>,
    pub head_sha: CommitSha,
    /// A branch of `head_repository`, or the name of a tag.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub head_branch: Option<String>,
    /// The repository of the commit. `None` if it was deleted.
    #[serde(default)]
    pub head_repository: Option<RunRepository>,
    pub repository: RunRepository,
    /// The ordinal of the run within its workflow.
    #[serde(default)]
    pub run_number: i64,
    /// From 1. Each rerun adds 1.
    #[serde(default = "first_attempt")]
    pub run_attempt: u32,
    /// When this attempt was requested.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub run_started_at: Option<String>,
    /// When the first attempt was requested.
    #[serde(deserialize_with = "bounded::text")]
    pub created_at: String,
    /// The time of the last change, which may be long after the run's end.
    #[serde(deserialize_with = "bounded::text")]
    pub updated_at: String,
    #[serde(default, deserialize_with = "bounded::text")]
    pub html_url: String,
    /// Pull requests with this head. GitHub lists none for a fork's run.
    #[serde(default, deserialize_with = "bounded::list")]
    pub pull_requests: Vec<RunPullRequest>,
}

fn first_attempt() -> u32 {
    1
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RunRepository {
    pub id: i64,
    /// `OWNER/NAME`.
    #[serde(default, deserialize_with = "bounded::text")]
    pub full_name: String,
}

impl RunRepository {
    #[must_use]
    pub fn owner(&self) -> &str {
        self.full_name.split('/').next().unwrap_or_default()
    }
}

/// A pull request in the data of a run. It may belong to another repository.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RunPullRequest {
    /// The number within the base's repository.
    pub number: i64,
    pub base: RunPullRequestSide,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RunPullRequestSide {
    pub repo: RunPullRequestRepository,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RunPullRequestRepository {
    pub id: i64,
}

impl WorkflowRun {
    #[must_use]
    pub fn is_completed(&self) -> bool {
        self.status.as_deref() == Some("completed")
    }

    /// Whether a fork's run waits for approval before it starts. GitHub reports such a run as completed,
    /// with the conclusion `action_required`.
    #[must_use]
    pub fn awaits_approval(&self) -> bool {
        self.is_completed() && self.conclusion.as_deref() == Some("action_required")
    }

    /// Whether the commit is in this repository and not in a fork.
    #[must_use]
    pub fn is_of_own_branch(&self) -> bool {
        self.head_repository.as_ref().is_some_and(|head| head.id == self.repository.id)
    }

    /// Whether the workflow is a file of the repository. GitHub's own workflows have none: Pages,
    /// Dependabot, the default setup of code scanning.
    #[must_use]
    pub fn has_workflow_file(&self) -> bool {
        is_file(&self.path) && self.event != "dynamic"
    }
}

/// Whether a workflow's path is a file of the repository.
#[must_use]
pub fn is_file(path: &str) -> bool {
    !path.is_empty() && !path.starts_with("dynamic/")
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct WorkflowJob {
    /// Also the number of its check run.
    pub id: i64,
    pub run_id: i64,
    /// GitHub cuts it at 100 characters.
    #[serde(deserialize_with = "bounded::text")]
    pub name: String,
    /// `queued`, `in_progress`, `completed` and others.
    #[serde(deserialize_with = "bounded::text")]
    pub status: String,
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub conclusion: Option<String>,
    /// When it was ready to run. Old GitHub Enterprise Servers do not provide it.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub created_at: Option<String>,
    /// When a runner picked it up.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub started_at: Option<String>,
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub completed_at: Option<String>,
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub html_url: Option<String>,
    /// The labels that it requests of a runner.
    #[serde(default, deserialize_with = "bounded::texts")]
    pub labels: Vec<String>,
    /// `None` or empty if no runner picked it up.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub runner_name: Option<String>,
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub runner_group_name: Option<String>,
    /// The order is not specified.
    #[serde(default, deserialize_with = "bounded::list")]
    pub steps: Vec<WorkflowStep>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct WorkflowStep {
    #[serde(deserialize_with = "bounded::text")]
    pub name: String,
    /// The position in the job. There are gaps.
    pub number: i64,
    /// `queued`, `in_progress`, `completed` and others.
    #[serde(default, deserialize_with = "bounded::text")]
    pub status: String,
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub conclusion: Option<String>,
    /// In whole seconds.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub started_at: Option<String>,
    /// In whole seconds.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub completed_at: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobsOfAttempt {
    /// At most [`MAX_JOBS`].
    pub jobs: Vec<WorkflowJob>,
    /// Number of jobs beyond the limit.
    pub left_out: usize,
}
