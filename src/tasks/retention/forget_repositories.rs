//! Deletes repositories that had no installation for the grace period: first raw traces, then rows. Each
//! step holds the database for a moment only. The next sweep continues.

use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::model::ids::{RepoId, RunId};
use pacegate_engine::model::time::Timestamp;

/// Runs, or other rows, that one step deletes.
const STEP: i64 = 200;
/// Most steps of one sweep.
const STEPS: usize = 500;

pub(in crate::tasks) async fn forget_repositories(context: &WorkerContext) -> Result<(), TaskError> {
    let now = context.clock.now();
    let mut tx = context.db.write().await?;
    tx.mark_detached(now).await?;
    tx.commit().await?;
    let before = now.before(context.grace);
    let due = context.db.read().await?.repositories_to_forget(before).await?;
    let mut steps = 0;
    for repo in due {
        while steps < STEPS {
            steps += 1;
            if !step(context, repo, before, now).await? {
                break;
            }
        }
    }
    Ok(())
}

/// Deletes one step. `false`: nothing of this repository is left.
async fn step(
    context: &WorkerContext,
    repo: RepoId,
    before: Timestamp,
    now: Timestamp,
) -> Result<bool, TaskError> {
    let mut tx = context.db.write().await?;
    if !tx.hold_for_forgetting(repo, before, now).await? {
        return Ok(false);
    }
    let runs = tx.runs_to_forget(repo, STEP).await?;
    tx.commit().await?;
    // Traces first: without the rows that refer to them they could never be found again.
    for trace in runs.iter().filter_map(|(_, trace)| *trace) {
        context.traces.delete(repo, trace).await?;
    }
    let mut tx = context.db.write().await?;
    if !tx.hold_for_forgetting(repo, before, now).await? {
        return Ok(false);
    }
    let ids: Vec<RunId> = runs.into_iter().map(|(run, _)| run).collect();
    tx.forget_runs(repo, &ids).await?;
    let more = !ids.is_empty() || tx.forget_rows(repo, STEP).await?;
    if !more {
        tx.forget_repository(repo).await?;
    }
    tx.commit().await?;
    if !more {
        tracing::info!(
            repo = repo.0,
            "a repository without an installation was deleted after its grace period"
        );
    }
    Ok(more)
}
