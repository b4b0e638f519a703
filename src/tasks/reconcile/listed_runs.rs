//! Records the workflow runs that GitHub lists for a commit, as their deliveries would have. A run whose
//! delivery is late, or was lost, is awaited and read like the others. One call reads one page per
//! commit. Rows that a delivery recorded are never undone.

use std::collections::HashMap;

use crate::tasks::collect::collect_workflow_run::CollectWorkflowRun;
use crate::tasks::github_client::client;
use crate::tasks::publish::show_awaited::ShowAwaited;
use crate::tasks::queue::missing_permission::allow_missing_permission;
use crate::tasks::{Task, TaskError, WorkerContext, error_chain};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_engine::model::workflow_run::WorkflowRun;
use pacegate_github::GitHubError;
use pacegate_github::actions::{RunPage, RunQuery};
use pacegate_github::app_auth::Purpose;
use pacegate_github::webhook::RunProgress;
use pacegate_ingest::ci_job::ids::trace_id;
use pacegate_store::{Tx, WorkflowRunRow};

/// Most runs of one commit: GitHub's largest page.
const LISTED: usize = 100;

/// The result of listing the runs of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tasks) enum Listing {
    /// The listed runs are recorded.
    Known,
    /// The installation did not grant `actions: read`.
    NotGranted,
    /// There is no App, it is not installed there, or GitHub's list is not readable.
    Unknown,
}

/// Lists the workflow runs of a commit and records the new ones. GitHub does not count an answer that is
/// unchanged since the last call.
pub(in crate::tasks) async fn refresh(
    context: &WorkerContext,
    repo: RepoId,
    head_sha: &CommitSha,
) -> Result<Listing, TaskError> {
    let page = match list(context, repo, head_sha).await {
        Ok(Some(page)) => page,
        Ok(None) => return Ok(Listing::Unknown),
        // Without the list, the check goes on with the runs that deliveries announced.
        Err(TaskError::GitHub(error @ (GitHubError::NotFound { .. } | GitHubError::Unreadable { .. }))) => {
            tracing::warn!(head = %head_sha, error = %error_chain(&error), "the runs of a commit could not be listed");
            return Ok(Listing::Unknown);
        }
        Err(error) => {
            allow_missing_permission(context, repo, error).await?;
            return Ok(Listing::NotGranted);
        }
    };
    record_new(context, repo, head_sha, page).await?;
    Ok(Listing::Known)
}

async fn list(
    context: &WorkerContext,
    repo: RepoId,
    head_sha: &CommitSha,
) -> Result<Option<RunPage>, TaskError> {
    let Some((_, actions)) = client(context, repo, Purpose::ReadActions).await? else { return Ok(None) };
    let query =
        RunQuery { head_sha: Some(head_sha.as_str()), per_page: LISTED, page: 1, ..RunQuery::default() };
    Ok(Some(actions.workflow_runs(&query).await?))
}

async fn record_new(
    context: &WorkerContext,
    repo: RepoId,
    head_sha: &CommitSha,
    page: RunPage,
) -> Result<(), TaskError> {
    let known = context.db.read().await?.workflow_runs_of_head(repo, head_sha).await?;
    let known: HashMap<i64, WorkflowRunRow> = known.into_iter().map(|row| (row.github_run_id, row)).collect();
    let listed = page.workflow_runs.into_iter().filter(|run| run.head_sha == *head_sha).map(row_of);
    let new: Vec<WorkflowRunRow> = listed
        .take(LISTED)
        .filter(|row| known.get(&row.github_run_id).is_none_or(|known| is_newer(known, row)))
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    let mut tx = context.db.write().await?;
    for row in &new {
        record(context, &mut tx, repo, head_sha, row).await?;
    }
    tx.commit().await?;
    tracing::info!(head = %head_sha, runs = new.len(), "GitHub lists runs that are not read, or that no delivery announced");
    Ok(())
}

/// Whether a listed run is further than the stored one, or has to be read.
fn is_newer(known: &WorkflowRunRow, listed: &WorkflowRunRow) -> bool {
    let is_unread = listed.progress == WorkflowRunRow::COMPLETED && known.collected_attempt < listed.attempt;
    (listed.attempt, listed.progress) > (known.attempt, known.progress) || is_unread
}

fn row_of(run: WorkflowRun) -> WorkflowRunRow {
    WorkflowRunRow {
        github_run_id: run.id,
        attempt: i64::from(run.run_attempt).max(1),
        workflow_id: run.workflow_id,
        // `path@ref` if the workflow file is of another commit.
        path: run.path.split('@').next().unwrap_or_default().to_owned(),
        name: run.name.unwrap_or(run.path),
        event: run.event,
        head_sha: run.head_sha.as_str().to_owned(),
        progress: progress(RunProgress::of(
            run.status.as_deref().unwrap_or_default(),
            run.conclusion.as_deref(),
        )),
        collected_attempt: 0,
    }
}

/// The number in the database.
pub(in crate::tasks) fn progress(progress: RunProgress) -> i64 {
    match progress {
        RunProgress::Queued => 0,
        RunProgress::InProgress => 1,
        RunProgress::Completed => WorkflowRunRow::COMPLETED,
    }
}

/// Records a run and pushes the tasks that follow: reading the run if it has ended, and showing it on the
/// pending check of its commit.
pub(in crate::tasks) async fn record(
    context: &WorkerContext,
    tx: &mut Tx,
    repo: RepoId,
    head_sha: &CommitSha,
    row: &WorkflowRunRow,
) -> Result<(), TaskError> {
    let now = context.clock.now();
    tx.record_workflow_run(repo, row, trace_id, now).await?;
    if row.progress == WorkflowRunRow::COMPLETED {
        let attempt = u32::try_from(row.attempt).unwrap_or(1);
        let collect = CollectWorkflowRun { repo, run_id: row.github_run_id, attempt };
        let known = tx.workflow_run(repo, row.github_run_id).await?;
        if known.is_some_and(|known| known.collected_attempt < row.attempt) {
            // An earlier attempt may have had no effect, for example while the App was not installed.
            collect.push_again(tx, &context.rng, now).await?;
        } else {
            collect.push(tx, now, &context.rng, now).await?;
        }
    }
    if let Some(check) = tx.newest_check(repo, head_sha).await?
        && check.concluded_at.is_none()
    {
        // Deliveries of one push arrive together. They are shown together.
        let slot = context.settle.as_micros().max(1);
        let show = ShowAwaited {
            repo,
            head_sha: head_sha.clone(),
            evaluation: check.evaluation,
            slot: i64::try_from(u128::try_from(now.0).unwrap_or(0) / slot).unwrap_or(0),
        };
        show.push(tx, now.after(context.settle), &context.rng, now).await?;
    }
    Ok(())
}
