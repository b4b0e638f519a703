//! GitHub Actions: workflows, their runs, the jobs of an attempt, and the filters of a list of
//! runs.

use serde_json::{Value, json};

use super::contract::CONTRACT;
use super::reply::Reply;
use super::routes::{Call, page};
use super::state::{Repository, State};
use super::views::overlay;
use crate::time::rfc3339;

const READ: [(&str, &str); 1] = [("actions", "read")];

/// A workflow run. Times are seconds since the epoch.
#[derive(Clone, Debug)]
pub(crate) struct WorkflowRun {
    pub id: u64,
    pub workflow_id: u64,
    pub workflow: String,
    pub event: String,
    pub head_sha: String,
    pub head_branch: String,
    /// `OWNER/NAME`. It differs from the run's repository for a fork.
    pub head_repo: String,
    pub attempt: u64,
    pub status: String,
    pub conclusion: Option<String>,
    pub started_at: i64,
    pub updated_at: i64,
    pub jobs: Vec<Job>,
}

/// A job with its steps (name, start, end).
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub name: String,
    pub created_at: i64,
    pub started_at: i64,
    pub completed_at: Option<i64>,
    pub conclusion: String,
    pub steps: Vec<(String, i64, i64)>,
}

impl WorkflowRun {
    /// A successful push to main of the workflow `CI` (159038), without jobs yet.
    pub(crate) fn new(id: u64, full_name: &str, head_sha: &str, started_at: i64) -> Self {
        Self {
            id,
            workflow_id: 159_038,
            workflow: "CI".to_owned(),
            event: "push".to_owned(),
            head_sha: head_sha.to_owned(),
            head_branch: "main".to_owned(),
            head_repo: full_name.to_owned(),
            attempt: 1,
            status: "completed".to_owned(),
            conclusion: Some("success".to_owned()),
            started_at,
            updated_at: started_at,
            jobs: Vec::new(),
        }
    }

    /// Adds a job that waited `wait` seconds for a runner and then ran steps of these durations.
    pub(crate) fn job(mut self, name: &str, wait: i64, steps: &[(&str, i64)]) -> Self {
        let created_at = self.started_at;
        let started_at = created_at + wait;
        let mut at = started_at;
        let steps = steps
            .iter()
            .map(|(name, seconds)| {
                at += seconds;
                ((*name).to_owned(), at - seconds, at)
            })
            .collect();
        self.updated_at = self.updated_at.max(at);
        let (name, conclusion) = (name.to_owned(), "success".to_owned());
        self.jobs.push(Job { name, created_at, started_at, completed_at: Some(at), conclusion, steps });
        self
    }
}

fn visible(state: &State, call: &Call) -> Result<(Repository, Vec<WorkflowRun>), Reply> {
    let repository = call.repository(state, &READ)?;
    let of_it = state.workflow_runs.iter().filter(|(repo, _)| *repo == repository.id);
    let mut runs: Vec<WorkflowRun> = of_it.map(|(_, run)| run.clone()).collect();
    runs.sort_by_key(|run| std::cmp::Reverse((run.started_at, run.id)));
    Ok((repository, runs))
}

fn one(state: &State, call: &Call) -> Result<(Repository, WorkflowRun), Reply> {
    let (repository, runs) = visible(state, call)?;
    let attempt = call.parameter_of_path("attempt_number");
    let found = runs
        .into_iter()
        .find(|run| run.id == call.number("run_id") && attempt.is_none_or(|attempt| attempt == run.attempt));
    Ok((repository, found.ok_or_else(Reply::not_found)?))
}

pub(crate) fn run(state: &State, call: &Call) -> Result<Reply, Reply> {
    let (repository, run) = one(state, call)?;
    Ok(Reply::ok(run_view(state, &repository, &run)))
}

pub(crate) fn jobs(state: &State, call: &Call) -> Result<Reply, Reply> {
    let (repository, run) = one(state, call)?;
    let items = (1..).zip(&run.jobs).map(|(n, job)| job_view(&repository, &run, n, job)).collect();
    Ok(page(call, items, |jobs, total| json!({ "total_count": total, "jobs": jobs })))
}

/// Records that a job is to run again. The test adds the new attempt.
pub(crate) fn rerun(state: &mut State, call: &Call) -> Result<Reply, Reply> {
    call.repository(state, &[("actions", "write")])?;
    state.reruns.push(call.number("job_id"));
    Ok(Reply::new(201, json!({})))
}

pub(crate) fn workflows(state: &State, call: &Call) -> Result<Reply, Reply> {
    let (_, mut runs) = visible(state, call)?;
    runs.sort_by_key(|run| run.workflow_id);
    runs.dedup_by_key(|run| run.workflow_id);
    let example = CONTRACT.example("actions/list-repo-workflows", 200)["workflows"][0].clone();
    let view = |run: &WorkflowRun| {
        overlay(
            example.clone(),
            json!({ "id": run.workflow_id, "name": run.workflow, "path": path(run), "state": "active" }),
        )
    };
    let items = runs.iter().map(view).collect();
    Ok(page(call, items, |workflows, total| json!({ "total_count": total, "workflows": workflows })))
}

pub(crate) fn runs(state: &State, call: &Call) -> Result<Reply, Reply> {
    let (repository, mut runs) = visible(state, call)?;
    if let Some(workflow) = call.parameter_of_path("workflow_id") {
        runs.retain(|run| run.workflow_id == workflow);
    }
    let is = |name: &str, value: &str| call.parameter(name).is_none_or(|asked| asked == value);
    runs.retain(|run| {
        let state = is("status", &run.status) || run.conclusion.as_deref().is_some_and(|c| is("status", c));
        let since = call.parameter("created").and_then(|range| range.strip_prefix(">="));
        let created = since.is_none_or(|day| rfc3339(run.started_at).as_str() >= day);
        state && created && is("branch", &run.head_branch) && is("head_sha", &run.head_sha)
    });
    let items = runs.iter().map(|run| run_view(state, &repository, run)).collect();
    Ok(page(call, items, |runs, total| json!({ "total_count": total, "workflow_runs": runs })))
}

fn path(run: &WorkflowRun) -> String {
    format!(".github/workflows/{}.yml", run.workflow.to_lowercase())
}

/// A fork has a number even if the App cannot see it.
pub(crate) fn head_repository_id(state: &State, repository: &Repository, run: &WorkflowRun) -> u64 {
    let (owner, name) = run.head_repo.split_once('/').expect("OWNER/NAME");
    state.repository(owner, name).map_or(repository.id + 1_000_000, |known| known.id)
}

fn run_view(state: &State, repository: &Repository, run: &WorkflowRun) -> Value {
    let head_id = head_repository_id(state, repository, run);
    let url = format!("https://github.com/{}/actions/runs/{}", repository.full_name(), run.id);
    let mut view = overlay(
        CONTRACT.example("actions/get-workflow-run", 200),
        json!({
            "id": run.id, "workflow_id": run.workflow_id, "name": run.workflow, "path": path(run),
            "event": run.event, "head_sha": run.head_sha, "head_branch": run.head_branch,
            "run_attempt": run.attempt, "status": run.status, "conclusion": run.conclusion,
            "run_started_at": rfc3339(run.started_at), "created_at": rfc3339(run.started_at),
            "updated_at": rfc3339(run.updated_at), "html_url": url,
            // The example lists pull requests of another repository. For a fork the list is empty
            // anyway.
            "pull_requests": [],
        }),
    );
    for (side, id, full_name) in [
        ("repository", repository.id, repository.full_name()),
        ("head_repository", head_id, run.head_repo.clone()),
    ] {
        view[side]["id"] = json!(id);
        view[side]["name"] = json!(full_name.split('/').nth(1));
        view[side]["full_name"] = json!(full_name);
    }
    view
}

fn job_view(repository: &Repository, run: &WorkflowRun, number: u64, job: &Job) -> Value {
    let mut example = CONTRACT.example("actions/list-jobs-for-workflow-run-attempt", 200);
    let steps: Vec<Value> = (1..)
        .zip(&job.steps)
        .map(|(n, (name, from, to))| {
            json!({ "name": name, "status": "completed", "conclusion": "success", "number": n,
                    "started_at": rfc3339(*from), "completed_at": rfc3339(*to) })
        })
        .collect();
    let id = run.id * 100 + number;
    overlay(
        example["jobs"][0].take(),
        json!({
            "id": id, "run_id": run.id, "run_attempt": run.attempt, "name": job.name,
            "workflow_name": run.workflow, "head_sha": run.head_sha, "head_branch": run.head_branch,
            "html_url": format!("https://github.com/{}/actions/runs/{}/job/{id}", repository.full_name(), run.id),
            "status": "completed", "conclusion": job.conclusion,
            "created_at": rfc3339(job.created_at), "started_at": rfc3339(job.started_at),
            "completed_at": job.completed_at.map(rfc3339), "steps": steps,
            "labels": ["ubuntu-24.04"], "runner_name": format!("GitHub Actions {number}"),
        }),
    )
}
