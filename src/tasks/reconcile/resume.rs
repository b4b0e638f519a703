//! What waited or was left out because nothing could be posted goes on: a repository can be written to
//! again, or its installation is back. Nothing is judged or written twice: each job looks first.

use std::collections::BTreeSet;

use crate::tasks::evaluate::evaluation::judge_again;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_store::{Tx, WorkflowRunRow};

/// Heads of a repository that are looked at again; what is beyond is the reconciler's.
const AT_ONCE: i64 = 100;
/// Jobs that are looked at.
const JOBS: i64 = 10_000;

/// Has what is open in these repositories done now. `cause`: what made it possible.
pub(in crate::tasks) async fn resume(
    work: &WorkerContext,
    tx: &mut Tx,
    repositories: &[RepoId],
    cause: &str,
) -> Result<(), TaskError> {
    wake(work, tx, repositories).await?;
    for repo in repositories {
        resume_repository(work, tx, *repo, cause).await?;
    }
    Ok(())
}

async fn resume_repository(
    work: &WorkerContext,
    tx: &mut Tx,
    repo: RepoId,
    cause: &str,
) -> Result<(), TaskError> {
    let now = work.clock.now();
    let mut heads: BTreeSet<CommitSha> = BTreeSet::new();
    for (head_sha, evaluation) in tx.unconcluded_checks(repo, now, AT_ONCE).await? {
        let announce = Task::AnnounceCheck { repo, head_sha: head_sha.clone(), evaluation };
        announce.push_again(tx, &work.rng, now).await?;
        for run in tx.workflow_runs_of_head(repo, &head_sha).await? {
            if run.progress == WorkflowRunRow::COMPLETED && run.is_awaited() {
                let attempt = u32::try_from(run.attempt).unwrap_or(1);
                let read = Task::CollectWorkflowRun { repo, run_id: run.github_run_id, attempt };
                read.push_again(tx, &work.rng, now).await?;
            }
        }
        heads.insert(head_sha);
    }
    // A concluded check may lack its comment.
    heads.extend(tx.open_heads(repo, AT_ONCE).await?);
    for head_sha in &heads {
        judge_again(work, tx, repo, head_sha, cause.to_owned()).await?;
    }
    Ok(())
}

/// Jobs that were postponed are due now; what ends a check's patience keeps its time.
async fn wake(work: &WorkerContext, tx: &mut Tx, repositories: &[RepoId]) -> Result<(), TaskError> {
    let now = work.clock.now();
    for (job_id, payload) in tx.jobs_to_come(now, JOBS).await? {
        let Ok(job) = serde_json::from_str::<Task>(&payload) else { continue };
        let is_meant = match &job {
            Task::ConcludeSilentCheck { .. } => false,
            // Whose it is, its body says: one that is due too early waits again.
            Task::HandleDelivery { .. } => true,
            job => job.repo().is_some_and(|repo| repositories.contains(&repo)),
        };
        if is_meant {
            tx.wake_task(&job_id, now).await?;
        }
    }
    Ok(())
}
