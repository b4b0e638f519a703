//! Requests workflows, workflow runs and their jobs from GitHub's Actions API. Every list and every
//! text is cut at a limit, and jobs beyond it are counted. Does not build traces: see
//! `pacegate_ingest::ci_job::api_trace`.

use serde::Deserialize;

use super::{GitHubError, RepoClient, query};
use pacegate_engine::model::bounded;
use pacegate_engine::model::workflow_run::{JobsOfAttempt, MAX_JOBS, WorkflowJob, WorkflowRun, is_file};

/// GitHub's largest page.
const PAGE: usize = 100;
/// Most workflows read of one repository.
const MAX_WORKFLOWS: usize = 500;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Workflow {
    pub id: i64,
    /// Its name, or its path where it has none.
    #[serde(deserialize_with = "bounded::text")]
    pub name: String,
    /// The workflow's file.
    #[serde(deserialize_with = "bounded::text")]
    pub path: String,
    /// `active`, or the reason why it is inactive.
    #[serde(deserialize_with = "bounded::text")]
    pub state: String,
}

/// A filter and a page of workflow runs. `None` does not filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunQuery<'a> {
    /// The workflow's number.
    pub workflow: Option<i64>,
    /// The name of a branch, in this repository or in a fork.
    pub branch: Option<&'a str>,
    /// A status or a conclusion.
    pub status: Option<&'a str>,
    pub head_sha: Option<&'a str>,
    /// A range of dates of creation, such as `>=2026-01-31`.
    pub created: Option<&'a str>,
    /// Runs on a page, at most 100.
    pub per_page: usize,
    /// From 1.
    pub page: usize,
}

/// A page of runs, newest first.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RunPage {
    /// On all pages. GitHub returns at most 1,000 of them.
    pub total_count: usize,
    #[serde(deserialize_with = "bounded::list")]
    pub workflow_runs: Vec<WorkflowRun>,
}

impl RepoClient {
    /// The newest attempt of a run.
    pub async fn workflow_run(&self, run_id: i64) -> Result<WorkflowRun, GitHubError> {
        self.transport.get(&format!("/repos/{}/actions/runs/{run_id}", self.repo)).await
    }

    pub async fn workflow_run_attempt(&self, run_id: i64, attempt: u32) -> Result<WorkflowRun, GitHubError> {
        self.transport.get(&format!("/repos/{}/actions/runs/{run_id}/attempts/{attempt}", self.repo)).await
    }

    /// Runs a job and the jobs that depend on it again, as a new attempt of the run.
    pub async fn rerun_job(&self, job_id: i64) -> Result<(), GitHubError> {
        self.transport.post_nothing(&format!("/repos/{}/actions/jobs/{job_id}/rerun", self.repo)).await
    }

    /// Reads all pages, up to [`MAX_JOBS`] jobs.
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

    /// Lists the active workflows that are files of the repository.
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
    pub async fn workflow_runs(&self, wanted: &RunQuery<'_>) -> Result<RunPage, GitHubError> {
        let (per_page, page) = (wanted.per_page.to_string(), wanted.page.to_string());
        let mut parameters = vec![("per_page", per_page.as_str()), ("page", page.as_str())];
        let optional = [
            ("branch", wanted.branch),
            ("status", wanted.status),
            ("head_sha", wanted.head_sha),
            ("created", wanted.created),
        ];
        parameters.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let of_workflow = wanted.workflow.map_or(String::new(), |id| format!("/workflows/{id}"));
        let route = format!("/repos/{}/actions{of_workflow}/runs?{}", self.repo, query(&parameters));
        self.transport.get(&route).await
    }
}
