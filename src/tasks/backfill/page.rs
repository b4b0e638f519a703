//! Reads one page of a workflow's history: successful first attempts on the default branch. Each run is
//! measured and stored in its own transaction, so that a crash loses one run and none is fetched twice.

use std::time::Duration;

use super::backfill_workflow::BackfillWorkflow;
use crate::tasks::collect::recording::record;
use crate::tasks::collect::workflow_run::{ApiRun, branch_of, measure_attempt};
use crate::tasks::evaluate::evaluation::evaluate_again;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::policy::GatePolicy;
use pacegate_engine::model::run::Lineage;
use pacegate_engine::model::workflow_run::WorkflowRun;
use pacegate_github::RepoClient;
use pacegate_github::actions::{RunPage, RunQuery};
use pacegate_ingest::ci_job::api_trace::Completeness;
use pacegate_ingest::ci_job::ids::trace_id;
use pacegate_store::{BackfillRow, PageRead, RepositoryRow, Tx};

/// Runs of a page. Between two pages, other workflows and live tasks have their turn.
const PAGE: usize = 20;
/// GitHub lists no more results than this.
const MAX_LISTED: i64 = 1_000;
/// Number of runs at which open heads are evaluated for the first time.
const FIRST_VERDICT: i64 = 25;
/// Most heads of open pull requests that are evaluated again.
const HEADS: i64 = 100;

/// The part of the hourly rate limit that a backfill leaves to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserve {
    /// Half of it, for live tasks.
    Half,
    /// None, if the token is used for this backfill only.
    Nothing,
}

/// How the next page is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then<'a> {
    /// By a task with this cause.
    PushNext(&'a str),
    /// By the caller.
    Return,
}

/// The result of reading a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageOutcome {
    /// Progress of the workflow.
    pub row: BackfillRow,
    /// Number of runs that were not stored before.
    pub new: i64,
}

/// Reads a page of a workflow, both given by number; pages count from 1. `None`: it was read before.
pub async fn read_page(
    context: &WorkerContext,
    repository: &RepositoryRow,
    github: &RepoClient,
    (workflow_id, page): (i64, i64),
    reserve: Reserve,
    then: Then<'_>,
) -> Result<Option<PageOutcome>, TaskError> {
    let repo = repository.id;
    let row = context.db.read().await?.backfill(repo, workflow_id).await?;
    let Some(row) = row.filter(|row| !row.is_done() && row.next_page == page) else { return Ok(None) };
    let listed = list(context, github, &row).await?;
    let missing_runs = usize::try_from(row.wanted - row.collected).unwrap_or(0);
    let (mut collected, mut new) = (0, 0);
    for run in listed.workflow_runs.iter().filter(|run| is_baseline(run, &row)).take(missing_runs) {
        if context.db.read().await?.run_of_trace(repo, trace_id(run.id, run.run_attempt)).await?.is_some() {
            collected += 1;
            continue;
        }
        check_reserve(context, github, reserve)?;
        if collect(context, repository, github, run.clone(), &row).await? {
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
        on_page < page_size || after >= wanted || page.saturating_mul(page_size) >= total.min(MAX_LISTED);
    let read = PageRead { page, listed: on_page, collected, wanted, is_last };

    let now = context.clock.now();
    let mut tx = context.db.write().await?;
    if !tx.advance_backfill(repo, workflow_id, read, now).await? {
        return Ok(None);
    }
    if is_last || (row.collected < FIRST_VERDICT && after >= FIRST_VERDICT) {
        evaluate_open_heads(context, &mut tx, &row, repository, after).await?;
    }
    if let (Then::PushNext(cause), false) = (then, is_last) {
        let next = BackfillWorkflow { repo, workflow_id, page: page + 1, cause: cause.to_owned() };
        next.push(&mut tx, now, &context.rng, now).await?;
    }
    let row = tx.backfill(repo, workflow_id).await?;
    tx.commit().await?;
    tracing::info!(
        repo = %repository.name, workflow = read_name(row.as_ref()), runs = after, of = wanted,
        "read a page of history"
    );
    Ok(row.map(|row| PageOutcome { row, new }))
}

fn read_name(row: Option<&BackfillRow>) -> &str {
    row.map_or("", |row| &row.name)
}

async fn list(context: &WorkerContext, github: &RepoClient, row: &BackfillRow) -> Result<RunPage, TaskError> {
    let oldest = context.clock.now().before(GatePolicy::default().baseline().age()).to_rfc3339();
    let created = format!(">={}", oldest.split('T').next().unwrap_or_default());
    let query = RunQuery {
        workflow: Some(row.workflow_id),
        branch: Some(&row.branch),
        status: Some("success"),
        created: Some(&created),
        per_page: PAGE,
        page: usize::try_from(row.next_page).unwrap_or(1),
        ..RunQuery::default()
    };
    Ok(github.workflow_runs(&query).await?)
}

/// Whether a run is a successful first attempt on the branch. A later attempt follows a failed one. A
/// branch of a fork may have the same name.
fn is_baseline(run: &WorkflowRun, row: &BackfillRow) -> bool {
    run.run_attempt == 1
        && run.is_completed()
        && run.conclusion.as_deref() == Some("success")
        && branch_of(run) == Some(row.branch.as_str())
}

/// `TooEarly` if the rest of the hourly rate limit is reserved.
fn check_reserve(context: &WorkerContext, github: &RepoClient, reserve: Reserve) -> Result<(), TaskError> {
    match (reserve, github.hourly_quota()) {
        (Reserve::Half, Some(hour)) if hour.remaining < hour.limit / 2 => {
            let until_reset = hour.reset_at.since(context.clock.now());
            // Bounded: a wrong header must not stop the backfill for long.
            Err(TaskError::TooEarly(until_reset.clamp(Duration::from_secs(1), Duration::from_hours(2))))
        }
        _ => Ok(()),
    }
}

/// Measures a run and stores it. `false`: GitHub's data on it is incomplete.
async fn collect(
    context: &WorkerContext,
    repository: &RepositoryRow,
    github: &RepoClient,
    mut run: WorkflowRun,
    row: &BackfillRow,
) -> Result<bool, TaskError> {
    let listed = github.jobs_of_attempt(run.id, run.run_attempt).await?;
    // The workflow may have had another name at that time.
    run.name = Some(row.name.clone());
    let run_id = run.id;
    let lineage = Lineage::Branch { name: row.branch.clone() };
    let api_run = match ApiRun::build(run, listed, Completeness::Required).await? {
        Ok(api_run) => api_run,
        Err(missing) => {
            tracing::debug!(repo = %repository.name, run = run_id, reason = %missing, "a run of the history is left out");
            return Ok(false);
        }
    };
    let mut attempt = measure_attempt(context, &repository.name, api_run, Vec::new(), lineage).await?;
    // Stored before the run that refers to it.
    context.traces.put(repository.id, attempt.trace, attempt.raw).await?;
    let mut tx = context.db.write().await?;
    let recorded = record(&mut tx, repository.id, &mut attempt.measured, 1).await?;
    tx.record_trace(repository.id, &recorded.id, attempt.kept_by.as_deref(), context.clock.now()).await?;
    tx.commit().await?;
    Ok(true)
}

/// Evaluates the heads of open pull requests again, with the longer history.
async fn evaluate_open_heads(
    context: &WorkerContext,
    tx: &mut Tx,
    row: &BackfillRow,
    repository: &RepositoryRow,
    collected: i64,
) -> Result<(), TaskError> {
    for head_sha in tx.open_heads(repository.id, HEADS).await? {
        let cause = format!("{collected} runs of the history of {}", row.workflow_id);
        evaluate_again(context, tx, repository.id, &head_sha, cause).await?;
    }
    Ok(())
}
