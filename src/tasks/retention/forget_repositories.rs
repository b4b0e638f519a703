//! Deletes repositories that no installation covered for the grace period: raw traces, then rows,
//! in steps that hold the database for a moment each. What is left over is the next sweep's.

use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::model::ids::{RepoId, RunId};
use pacegate_engine::model::time::Timestamp;

/// Runs, or other rows, of a step.
const STEP: i64 = 200;
/// Steps of a sweep.
const STEPS: usize = 500;

pub(in crate::tasks) async fn forget_repositories(work: &WorkerContext) -> Result<(), TaskError> {
    let now = work.clock.now();
    let mut tx = work.db.write().await?;
    tx.mark_detached(now).await?;
    tx.commit().await?;
    let before = now.before(work.grace);
    let due = work.db.read().await?.repositories_to_forget(before).await?;
    let mut steps = 0;
    for repo in due {
        while steps < STEPS {
            steps += 1;
            if !step(work, repo, before, now).await? {
                break;
            }
        }
    }
    Ok(())
}

/// One step; `false` when it was the last of this repository.
async fn step(
    work: &WorkerContext,
    repo: RepoId,
    before: Timestamp,
    now: Timestamp,
) -> Result<bool, TaskError> {
    let mut tx = work.db.write().await?;
    if !tx.hold_for_forgetting(repo, before, now).await? {
        return Ok(false);
    }
    let runs = tx.runs_to_forget(repo, STEP).await?;
    tx.commit().await?;
    // Traces before the rows that lead to them, or they would lie there for ever.
    for trace in runs.iter().filter_map(|(_, trace)| *trace) {
        work.traces.delete(repo, trace).await?;
    }
    let mut tx = work.db.write().await?;
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
