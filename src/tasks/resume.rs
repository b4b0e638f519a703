//! What waited or was left out because nothing could be posted goes on: a repository can be written to
//! again, or its installation is back. Nothing is judged or written twice: each job looks first.

use std::collections::BTreeSet;

use super::evaluation::judge_again;
use super::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_store::{Tx, WorkflowRunRow};

/// Heads of a repository that are looked at again; what is beyond is the reconciler's.
const AT_ONCE: i64 = 100;
/// The kinds of two tasks, as [`Task::kind`] has them.
const HANDLE_DELIVERY: &str = "handle_delivery";
const CONCLUDE_SILENT_CHECK: &str = "conclude_silent_check";

/// Has what is open in these repositories done now. `cause`: what made it possible.
pub(super) async fn resume(
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

/// Makes postponed tasks due now. The task that ends a check's wait keeps its time.
async fn wake(work: &WorkerContext, tx: &mut Tx, repositories: &[RepoId]) -> Result<(), TaskError> {
    let now = work.clock.now();
    for repo in repositories {
        tx.wake_tasks_of_repository(*repo, CONCLUDE_SILENT_CHECK, now).await?;
    }
    // Only its body names the repository of a delivery. One that is due too early waits again.
    tx.wake_tasks_of_kind(HANDLE_DELIVERY, now).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_those_of_the_tasks() {
        let delivery = Task::HandleDelivery { delivery_id: String::new(), subject: String::new() };
        let head_sha = "a".repeat(40).parse().expect("a commit");
        let silent = Task::ConcludeSilentCheck { repo: RepoId(1), head_sha, evaluation: 1 };
        assert_eq!([delivery.kind(), silent.kind()], [HANDLE_DELIVERY, CONCLUDE_SILENT_CHECK]);
    }
}
