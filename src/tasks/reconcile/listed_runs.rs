//! The runs that GitHub lists for a commit, recorded as their deliveries would have been: one whose
//! delivery was lost, or is late, is waited for and read like the others. One call a commit, one
//! page. What deliveries told is never undone.

use std::collections::HashMap;

use crate::tasks::publish::publishing::client;
use crate::tasks::queue::missing_permission::missing_permission;
use crate::tasks::{Task, TaskError, WorkerContext, error_chain};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_github::GitHubError;
use pacegate_github::actions::{RunPage, RunQuery, WorkflowRun};
use pacegate_github::app_auth::Purpose;
use pacegate_github::webhook::RunProgress;
use pacegate_store::{Tx, WorkflowRunRow};

/// Runs of one commit that are looked at: GitHub's largest page.
const LISTED: usize = 100;

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tasks) enum Listing {
    /// What GitHub lists is recorded.
    Known,
    /// The installation did not grant `actions: read`.
    NotGranted,
    /// There is no App, it is not installed there, or GitHub has no readable list.
    Unknown,
}

/// Asks GitHub which runs of workflows a commit has, and records what is new. An answer that did
/// not change since the last time is not counted by GitHub.
pub(in crate::tasks) async fn ask(
    work: &WorkerContext,
    repo: RepoId,
    head_sha: &CommitSha,
) -> Result<Listing, TaskError> {
    let page = match list(work, repo, head_sha).await {
        Ok(Some(page)) => page,
        Ok(None) => return Ok(Listing::Unknown),
        // Deliveries tell of the runs too: without the list a check goes on with what they told.
        Err(TaskError::GitHub(error @ (GitHubError::NotFound { .. } | GitHubError::Unreadable { .. }))) => {
            tracing::warn!(head = %head_sha, error = %error_chain(&error), "the runs of a commit could not be listed");
            return Ok(Listing::Unknown);
        }
        Err(error) => {
            missing_permission(work, repo, error).await?;
            return Ok(Listing::NotGranted);
        }
    };
    record_news(work, repo, head_sha, page).await?;
    Ok(Listing::Known)
}

async fn list(
    work: &WorkerContext,
    repo: RepoId,
    head_sha: &CommitSha,
) -> Result<Option<RunPage>, TaskError> {
    let Some((_, actions)) = client(work, repo, Purpose::ReadActions).await? else { return Ok(None) };
    let asked =
        RunQuery { head_sha: Some(head_sha.as_str()), per_page: LISTED, page: 1, ..RunQuery::default() };
    Ok(Some(actions.workflow_runs(&asked).await?))
}

async fn record_news(
    work: &WorkerContext,
    repo: RepoId,
    head_sha: &CommitSha,
    page: RunPage,
) -> Result<(), TaskError> {
    let known = work.db.read().await?.workflow_runs_of_head(repo, head_sha).await?;
    let known: HashMap<i64, WorkflowRunRow> = known.into_iter().map(|row| (row.github_run_id, row)).collect();
    let listed = page.workflow_runs.into_iter().filter(|run| run.head_sha == *head_sha).map(row_of);
    let news: Vec<WorkflowRunRow> = listed
        .take(LISTED)
        .filter(|row| known.get(&row.github_run_id).is_none_or(|known| is_news(known, row)))
        .collect();
    if news.is_empty() {
        return Ok(());
    }
    let mut tx = work.db.write().await?;
    for row in &news {
        record(work, &mut tx, repo, head_sha, row).await?;
    }
    tx.commit().await?;
    tracing::info!(head = %head_sha, runs = news.len(), "GitHub lists runs that are not read, or that no delivery told of");
    Ok(())
}

/// Whether there is something to be done about a run, by what is stored of it.
fn is_news(known: &WorkflowRunRow, listed: &WorkflowRunRow) -> bool {
    let is_unread = listed.progress == WorkflowRunRow::COMPLETED && known.collected_attempt < listed.attempt;
    (listed.attempt, listed.progress) > (known.attempt, known.progress) || is_unread
}

fn row_of(run: WorkflowRun) -> WorkflowRunRow {
    WorkflowRunRow {
        github_run_id: run.id,
        attempt: i64::from(run.run_attempt).max(1),
        workflow_id: run.workflow_id,
        // `path@ref` where the run is of another commit's file.
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

/// As the database has it.
pub(in crate::tasks) fn progress(progress: RunProgress) -> i64 {
    match progress {
        RunProgress::Queued => 0,
        RunProgress::InProgress => 1,
        RunProgress::Completed => WorkflowRunRow::COMPLETED,
    }
}

/// Records what is known of a run, and what follows from it: one that ended and was not read is
/// read, and the check of its commit shows that it waits for it.
pub(in crate::tasks) async fn record(
    work: &WorkerContext,
    tx: &mut Tx,
    repo: RepoId,
    head_sha: &CommitSha,
    row: &WorkflowRunRow,
) -> Result<(), TaskError> {
    let now = work.clock.now();
    tx.record_workflow_run(repo, row, now).await?;
    if row.progress == WorkflowRunRow::COMPLETED {
        let attempt = u32::try_from(row.attempt).unwrap_or(1);
        let read = Task::CollectWorkflowRun { repo, run_id: row.github_run_id, attempt };
        let known = tx.workflow_run(repo, row.github_run_id).await?;
        if known.is_some_and(|known| known.collected_attempt < row.attempt) {
            // It may have been tried before, as while the App was not installed.
            read.push_again(tx, &work.rng, now).await?;
        } else {
            read.push(tx, now, &work.rng, now).await?;
        }
    }
    if let Some(check) = tx.newest_check(repo, head_sha).await?
        && check.concluded_at.is_none()
    {
        // Deliveries of one push come together: one look at what they say is enough.
        let slot = work.settle.as_micros().max(1);
        let shown = Task::ShowAwaited {
            repo,
            head_sha: head_sha.clone(),
            evaluation: check.evaluation,
            slot: i64::try_from(u128::try_from(now.0).unwrap_or(0) / slot).unwrap_or(0),
        };
        shown.push(tx, now.after(work.settle), &work.rng, now).await?;
    }
    Ok(())
}
