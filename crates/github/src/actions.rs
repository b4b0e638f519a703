//! Workflow runs, their jobs and steps, as GitHub answers them: what it knows of a pipeline
//! without anybody sending spans. Every list and every text is bounded; what is left out is
//! counted. Makes no trace of it (`actions_trace`).

use serde::Deserialize;

use super::{GitHubError, RepoClient, query};
use pacegate_engine::model::bounded;
use pacegate_engine::model::workflow_run::{JobsOfAttempt, MAX_JOBS, WorkflowJob, WorkflowRun, is_file};

/// GitHub's largest page.
const PAGE: usize = 100;
/// Workflows of one repository that are read.
const MAX_WORKFLOWS: usize = 500;

/// A workflow.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Workflow {
    /// GitHub's number.
    pub id: i64,
    /// Its name, or its path where it has none.
    #[serde(deserialize_with = "bounded::text")]
    pub name: String,
    /// Its file.
    #[serde(deserialize_with = "bounded::text")]
    pub path: String,
    /// `active`, or why it is not.
    #[serde(deserialize_with = "bounded::text")]
    pub state: String,
}

/// Which runs are asked for; what is none is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunQuery<'a> {
    /// Of this workflow alone.
    pub workflow: Option<i64>,
    /// On a branch of this name, in whatever repository.
    pub branch: Option<&'a str>,
    /// With this status or conclusion.
    pub status: Option<&'a str>,
    /// Of this commit.
    pub head_sha: Option<&'a str>,
    /// Created in this range, such as `>=2026-01-31`.
    pub created: Option<&'a str>,
    /// Runs on a page, at most 100.
    pub per_page: usize,
    /// From 1.
    pub page: usize,
}

/// A page of runs, newest first.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RunPage {
    /// How many there are on all pages; GitHub shows at most 1,000 of them.
    pub total_count: usize,
    /// Those of this page.
    #[serde(deserialize_with = "bounded::list")]
    pub workflow_runs: Vec<WorkflowRun>,
}

impl RepoClient {
    /// A run, in its newest attempt.
    pub async fn workflow_run(&self, run_id: i64) -> Result<WorkflowRun, GitHubError> {
        self.transport.get(&format!("/repos/{}/actions/runs/{run_id}", self.repo)).await
    }

    /// One attempt of a run.
    pub async fn workflow_run_attempt(&self, run_id: i64, attempt: u32) -> Result<WorkflowRun, GitHubError> {
        self.transport.get(&format!("/repos/{}/actions/runs/{run_id}/attempts/{attempt}", self.repo)).await
    }

    /// Runs a job again, and what depends on it: a further attempt of its run.
    pub async fn rerun_job(&self, job_id: i64) -> Result<(), GitHubError> {
        self.transport.post_nothing(&format!("/repos/{}/actions/jobs/{job_id}/rerun", self.repo)).await
    }

    /// The jobs of an attempt, on all pages.
    pub async fn jobs_of_attempt(&self, run_id: i64, attempt: u32) -> Result<JobsOfAttempt, GitHubError> {
        #[derive(Deserialize)]
        struct Answer {
            total_count: usize,
            #[serde(deserialize_with = "bounded::list")]
            jobs: Vec<WorkflowJob>,
        }
        let mut found = JobsOfAttempt::default();
        for page in 1..=MAX_JOBS / PAGE {
            let route = format!(
                "/repos/{}/actions/runs/{run_id}/attempts/{attempt}/jobs?per_page={PAGE}&page={page}",
                self.repo
            );
            let answer: Answer = self.transport.get(&route).await?;
            let is_last = answer.jobs.len() < PAGE;
            found.jobs.extend(answer.jobs);
            found.left_out = answer.total_count.saturating_sub(found.jobs.len());
            if is_last || found.left_out == 0 {
                found.left_out = 0;
                break;
            }
        }
        Ok(found)
    }

    /// The active workflows that have a file.
    pub async fn workflows(&self) -> Result<Vec<Workflow>, GitHubError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(deserialize_with = "bounded::list")]
            workflows: Vec<Workflow>,
        }
        let mut found = Vec::new();
        for page in 1..=MAX_WORKFLOWS / PAGE {
            let route = format!("/repos/{}/actions/workflows?per_page={PAGE}&page={page}", self.repo);
            let answer: Answer = self.transport.get(&route).await?;
            let is_last = answer.workflows.len() < PAGE;
            found.extend(answer.workflows);
            if is_last {
                break;
            }
        }
        found.retain(|workflow| workflow.state == "active" && is_file(&workflow.path));
        Ok(found)
    }

    /// A page of runs, newest first.
    pub async fn workflow_runs(&self, asked: &RunQuery<'_>) -> Result<RunPage, GitHubError> {
        let (per_page, page) = (asked.per_page.to_string(), asked.page.to_string());
        let mut parameters = vec![("per_page", per_page.as_str()), ("page", page.as_str())];
        let optional = [
            ("branch", asked.branch),
            ("status", asked.status),
            ("head_sha", asked.head_sha),
            ("created", asked.created),
        ];
        parameters.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let of_workflow = asked.workflow.map_or(String::new(), |id| format!("/workflows/{id}"));
        let route = format!("/repos/{}/actions{of_workflow}/runs?{}", self.repo, query(&parameters));
        self.transport.get(&route).await
    }
}
