//! One page of a workflow's history: green first attempts of the default branch, each measured
//! and written by itself, so that a kill costs one of them and none is fetched twice.

use std::time::Duration;

use crate::tasks::evaluation::judge_again;
use crate::tasks::recording::record;
use crate::tasks::workflow_run::{ApiRun, branch_of, measure_attempt};
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::policy::GatePolicy;
use pacegate_engine::model::run::Lineage;
use pacegate_engine::model::workflow_run::WorkflowRun;
use pacegate_github::RepoClient;
use pacegate_github::actions::{RunPage, RunQuery};
use pacegate_ingest::ci_job::api_trace::Completeness;
use pacegate_ingest::ci_job::ids::trace_id;
use pacegate_store::{BackfillRow, PageRead, RepositoryRow, Tx};

/// Runs of a page: between two pages other workflows and live work have their turn.
const PAGE: usize = 20;
/// GitHub shows no more of one list.
const LISTED_AT_MOST: i64 = 1_000;
/// With so many runs of a workflow a first verdict makes sense.
const FIRST_VERDICT: i64 = 25;
/// Heads of open pull requests that are judged again.
const HEADS: i64 = 100;

/// How much of the hour's rate limit is left to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserve {
    /// Half of it: live work needs it.
    Half,
    /// None: nobody else has this token.
    Nothing,
}

/// What comes after a page that was not the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then<'a> {
    /// A job for the next one, with this cause.
    PushNext(&'a str),
    /// The caller's turn.
    Return,
}

/// What a page brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageOutcome {
    /// How far the workflow is now.
    pub row: BackfillRow,
    /// Runs that were not stored before.
    pub new: i64,
}

/// Reads a page (`of`: the workflow's number, and which page from 1). None: it was read before.
pub async fn read_page(
    work: &WorkerContext,
    repository: &RepositoryRow,
    github: &RepoClient,
    (workflow_id, page): (i64, i64),
    reserve: Reserve,
    then: Then<'_>,
) -> Result<Option<PageOutcome>, TaskError> {
    let repo = repository.id;
    let row = work.db.read().await?.backfill(repo, workflow_id).await?;
    let Some(row) = row.filter(|row| !row.is_done() && row.next_page == page) else { return Ok(None) };
    let listed = list(work, github, &row).await?;
    let room = usize::try_from(row.wanted - row.collected).unwrap_or(0);
    let (mut collected, mut new) = (0, 0);
    for run in listed.workflow_runs.iter().filter(|run| is_baseline(run, &row)).take(room) {
        if work.db.read().await?.run_of_trace(repo, trace_id(run.id, run.run_attempt)).await?.is_some() {
            collected += 1;
            continue;
        }
        leave_enough(work, github, reserve)?;
        if collect(work, repository, github, run.clone(), &row).await? {
            collected += 1;
            new += 1;
        }
    }
    let total = i64::try_from(listed.total_count).unwrap_or(i64::MAX);
    let on_page = i64::try_from(listed.workflow_runs.len()).unwrap_or(0);
    let after = row.collected + collected;
    let wanted = row.wanted.min(total);
    let page_size = i64::try_from(PAGE).unwrap_or(i64::MAX);
    let is_last =
        on_page < page_size || after >= wanted || page.saturating_mul(page_size) >= total.min(LISTED_AT_MOST);
    let read = PageRead { page, listed: on_page, collected, wanted, is_last };

    let now = work.clock.now();
    let mut tx = work.db.write().await?;
    if !tx.advance_backfill(repo, workflow_id, read, now).await? {
        return Ok(None);
    }
    if is_last || (row.collected < FIRST_VERDICT && after >= FIRST_VERDICT) {
        judge_open_heads(work, &mut tx, &row, repository, after).await?;
    }
    if let (Then::PushNext(cause), false) = (then, is_last) {
        let next = Task::BackfillWorkflow { repo, workflow_id, page: page + 1, cause: cause.to_owned() };
        next.push(&mut tx, now, &work.rng, now).await?;
    }
    let row = tx.backfill(repo, workflow_id).await?;
    tx.commit().await?;
    tracing::info!(
        repo = %repository.name, workflow = read_name(row.as_ref()), runs = after, of = wanted,
        "history is being read"
    );
    Ok(row.map(|row| PageOutcome { row, new }))
}

fn read_name(row: Option<&BackfillRow>) -> &str {
    row.map_or("", |row| &row.name)
}

async fn list(work: &WorkerContext, github: &RepoClient, row: &BackfillRow) -> Result<RunPage, TaskError> {
    let oldest = work.clock.now().before(GatePolicy::default().baseline().age()).to_rfc3339();
    let created = format!(">={}", oldest.split('T').next().unwrap_or_default());
    let asked = RunQuery {
        workflow: Some(row.workflow_id),
        branch: Some(&row.branch),
        status: Some("success"),
        created: Some(&created),
        per_page: PAGE,
        page: usize::try_from(row.next_page).unwrap_or(1),
        ..RunQuery::default()
    };
    Ok(github.workflow_runs(&asked).await?)
}

/// Green first attempts of the branch itself: a later attempt follows one that was not green, and
/// a fork's branch may have the same name.
fn is_baseline(run: &WorkflowRun, row: &BackfillRow) -> bool {
    run.run_attempt == 1
        && run.is_completed()
        && run.conclusion.as_deref() == Some("success")
        && branch_of(run) == Some(row.branch.as_str())
}

/// Too early when what is left of the rate limit is for live work.
fn leave_enough(work: &WorkerContext, github: &RepoClient, reserve: Reserve) -> Result<(), TaskError> {
    match (reserve, github.hour_of_calls()) {
        (Reserve::Half, Some(hour)) if hour.remaining < hour.limit / 2 => {
            let until_reset = hour.reset_at.since(work.clock.now());
            // A wrong header must not stop it for good.
            Err(TaskError::TooEarly(until_reset.clamp(Duration::from_secs(1), Duration::from_hours(2))))
        }
        _ => Ok(()),
    }
}

/// Measures a run and writes it. `false`: GitHub does not tell enough of it.
async fn collect(
    work: &WorkerContext,
    repository: &RepositoryRow,
    github: &RepoClient,
    mut run: WorkflowRun,
    row: &BackfillRow,
) -> Result<bool, TaskError> {
    let listed = github.jobs_of_attempt(run.id, run.run_attempt).await?;
    // What it was called then does not matter: it is the same workflow.
    run.name = Some(row.name.clone());
    let run_id = run.id;
    let lineage = Lineage::Branch { name: row.branch.clone() };
    let api_run = match ApiRun::build(run, listed, Completeness::Required).await? {
        Ok(api_run) => api_run,
        Err(missing) => {
            tracing::debug!(repo = %repository.name, run = run_id, reason = %missing, "a run of the past is left out");
            return Ok(false);
        }
    };
    let mut attempt = measure_attempt(work, &repository.name, api_run, Vec::new(), lineage).await?;
    // Before the run that refers to it.
    work.traces.put(repository.id, attempt.trace, attempt.raw).await?;
    let mut tx = work.db.write().await?;
    let recorded = record(&mut tx, repository.id, &mut attempt.measured, 1).await?;
    tx.record_trace(repository.id, &recorded.id, attempt.kept_by.as_deref(), work.clock.now()).await?;
    tx.commit().await?;
    Ok(true)
}

/// What was judged with little history, or none, is judged with more.
async fn judge_open_heads(
    work: &WorkerContext,
    tx: &mut Tx,
    row: &BackfillRow,
    repository: &RepositoryRow,
    collected: i64,
) -> Result<(), TaskError> {
    for head_sha in tx.open_heads(repository.id, HEADS).await? {
        let cause = format!("{collected} runs of the history of {}", row.workflow_id);
        judge_again(work, tx, repository.id, &head_sha, cause).await?;
    }
    Ok(())
}
