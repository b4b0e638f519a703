//! A workflow run, its jobs and steps, as GitHub's REST API describes them. Every list and every
//! text is bounded while it is read.

use serde::Deserialize;

use super::bounded;
use super::ids::CommitSha;

/// Most jobs of one attempt that are kept.
pub const MAX_JOBS: usize = 1_000;

/// One attempt of a run of a workflow.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct WorkflowRun {
    /// GitHub's number, the same for all attempts.
    pub id: i64,
    /// The workflow's name, or its path where it has none.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub name: Option<String>,
    /// Which workflow.
    pub workflow_id: i64,
    /// The workflow's file; GitHub's own workflows have none and begin with `dynamic/`.
    #[serde(default, deserialize_with = "bounded::text")]
    pub path: String,
    /// What started it: `push`, `pull_request`.
    #[serde(deserialize_with = "bounded::text")]
    pub event: String,
    /// `queued`, `in_progress`, `completed` and others.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub status: Option<String>,
    /// How it ended.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub conclusion: Option<String>,
    /// The commit.
    pub head_sha: CommitSha,
    /// The branch, in `head_repository`; a tag's name for a tag.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub head_branch: Option<String>,
    /// Where the commit is; none when that repository was deleted.
    #[serde(default)]
    pub head_repository: Option<RunRepository>,
    /// Where the workflow ran.
    pub repository: RunRepository,
    /// Counts the runs of the workflow.
    #[serde(default)]
    pub run_number: i64,
    /// 1 for the first; a rerun counts on.
    #[serde(default = "first_attempt")]
    pub run_attempt: u32,
    /// When this attempt was asked for, RFC 3339.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub run_started_at: Option<String>,
    /// When the first attempt was asked for.
    #[serde(deserialize_with = "bounded::text")]
    pub created_at: String,
    /// When anything about it last changed, which may be long after its end.
    #[serde(deserialize_with = "bounded::text")]
    pub updated_at: String,
    /// Its page.
    #[serde(default, deserialize_with = "bounded::text")]
    pub html_url: String,
    /// Pull requests with this head; empty for a fork's.
    #[serde(default, deserialize_with = "bounded::list")]
    pub pull_requests: Vec<RunPullRequest>,
}

fn first_attempt() -> u32 {
    1
}

/// A repository as a run names it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RunRepository {
    /// GitHub's number.
    pub id: i64,
    /// `OWNER/NAME`.
    #[serde(default, deserialize_with = "bounded::text")]
    pub full_name: String,
}

impl RunRepository {
    /// Whose it is.
    #[must_use]
    pub fn owner(&self) -> &str {
        self.full_name.split('/').next().unwrap_or_default()
    }
}

/// A pull request as a run names it: it may be another repository's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RunPullRequest {
    /// Its number in its base's repository.
    pub number: i64,
    /// What is to be merged.
    pub head: RunPullRequestSide,
    /// What it is to be merged into.
    pub base: RunPullRequestSide,
}

/// A side of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RunPullRequestSide {
    /// The commit.
    pub sha: CommitSha,
    /// The repository.
    pub repo: RunPullRequestRepository,
}

/// A repository, by its number alone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RunPullRequestRepository {
    /// GitHub's number.
    pub id: i64,
}

impl WorkflowRun {
    /// Whether GitHub says that this attempt has ended.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        self.status.as_deref() == Some("completed")
    }

    /// Whether it is of a fork and has not begun: GitHub calls it completed, with this conclusion.
    #[must_use]
    pub fn awaits_approval(&self) -> bool {
        self.is_completed() && self.conclusion.as_deref() == Some("action_required")
    }

    /// Whether the commit is one of this repository's own, not a fork's.
    #[must_use]
    pub fn is_of_own_branch(&self) -> bool {
        self.head_repository.as_ref().is_some_and(|head| head.id == self.repository.id)
    }

    /// Whether it is a run of a file that somebody can change, not of GitHub's own workflows
    /// (Pages, Dependabot, code scanning by default).
    #[must_use]
    pub fn has_workflow_file(&self) -> bool {
        is_file(&self.path) && self.event != "dynamic"
    }
}

/// Whether a workflow's path names a file of the repository.
#[must_use]
pub fn is_file(path: &str) -> bool {
    !path.is_empty() && !path.starts_with("dynamic/")
}

/// A job of an attempt.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct WorkflowJob {
    /// GitHub's number, which is its check run's as well.
    pub id: i64,
    /// The run.
    pub run_id: i64,
    /// Its name, cut at 100 characters by GitHub.
    #[serde(deserialize_with = "bounded::text")]
    pub name: String,
    /// The workflow's name.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub workflow_name: Option<String>,
    /// `queued`, `in_progress`, `completed` and others.
    #[serde(deserialize_with = "bounded::text")]
    pub status: String,
    /// How it ended.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub conclusion: Option<String>,
    /// When it could have begun; absent on old Enterprise Servers.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub created_at: Option<String>,
    /// When a runner took it.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub started_at: Option<String>,
    /// When it ended.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub completed_at: Option<String>,
    /// Its page.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub html_url: Option<String>,
    /// What it asked of its runner.
    #[serde(default, deserialize_with = "bounded::texts")]
    pub labels: Vec<String>,
    /// The runner that took it; none or empty when none did.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub runner_name: Option<String>,
    /// The runner's group.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub runner_group_name: Option<String>,
    /// In no promised order.
    #[serde(default, deserialize_with = "bounded::list")]
    pub steps: Vec<WorkflowStep>,
}

/// A step of a job.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct WorkflowStep {
    /// What its author or GitHub called it.
    #[serde(deserialize_with = "bounded::text")]
    pub name: String,
    /// Its place in the job, with gaps.
    pub number: i64,
    /// `queued`, `in_progress`, `completed` and others.
    #[serde(default, deserialize_with = "bounded::text")]
    pub status: String,
    /// How it ended.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub conclusion: Option<String>,
    /// When it began, in whole seconds.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub started_at: Option<String>,
    /// When it ended, in whole seconds.
    #[serde(default, deserialize_with = "bounded::optional_text")]
    pub completed_at: Option<String>,
}

/// The jobs of an attempt.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobsOfAttempt {
    /// At most [`MAX_JOBS`].
    pub jobs: Vec<WorkflowJob>,
    /// How many there are beyond these.
    pub left_out: usize,
}
