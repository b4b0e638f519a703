//! Resumes what waited, or was left out, while nothing could be posted to a repository: after it was
//! unarchived, or after its installation returned. Each resumed task checks first whether its work is
//! done.

use std::collections::BTreeSet;

use crate::tasks::collect::collect_workflow_run::CollectWorkflowRun;
use crate::tasks::evaluate::evaluation::evaluate_again;
use crate::tasks::handle_delivery::HandleDelivery;
use crate::tasks::publish::announce_check::AnnounceCheck;
use crate::tasks::publish::conclude_silent_check::ConcludeSilentCheck;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_store::{Tx, WorkflowRunRow};

/// Most heads of a repository that are resumed at once. Reconciliation finds the others.
const HEADS: i64 = 100;

/// Resumes the open work of these repositories. `cause` makes the evaluations unique.
pub(in crate::tasks) async fn resume(
    context: &WorkerContext,
    tx: &mut Tx,
    repositories: &[RepoId],
    cause: &str,
) -> Result<(), TaskError> {
    wake_tasks(context, tx, repositories).await?;
    for repo in repositories {
        resume_repository(context, tx, *repo, cause).await?;
    }
    Ok(())
}

async fn resume_repository(
    context: &WorkerContext,
    tx: &mut Tx,
    repo: RepoId,
    cause: &str,
) -> Result<(), TaskError> {
    let now = context.clock.now();
    let mut heads: BTreeSet<CommitSha> = BTreeSet::new();
    for (head_sha, evaluation) in tx.unconcluded_checks(repo, now, HEADS).await? {
        let announce = AnnounceCheck { repo, head_sha: head_sha.clone(), evaluation };
        announce.push_again(tx, &context.rng, now).await?;
        for run in tx.workflow_runs_of_head(repo, &head_sha).await? {
            if run.progress == WorkflowRunRow::COMPLETED && run.is_awaited() {
                let attempt = u32::try_from(run.attempt).unwrap_or(1);
                let collect = CollectWorkflowRun { repo, run_id: run.github_run_id, attempt };
                collect.push_again(tx, &context.rng, now).await?;
            }
        }
        heads.insert(head_sha);
    }
    // The comment of a concluded check may be missing.
    heads.extend(tx.open_heads(repo, HEADS).await?);
    for head_sha in &heads {
        evaluate_again(context, tx, repo, head_sha, cause.to_owned()).await?;
    }
    Ok(())
}

/// Makes postponed tasks of these repositories due now. The timeout of a check keeps its time. The row of
/// a delivery does not name its repository, so all deliveries are woken. If it is still too early, the
/// task is postponed again.
async fn wake_tasks(context: &WorkerContext, tx: &mut Tx, repositories: &[RepoId]) -> Result<(), TaskError> {
    let now = context.clock.now();
    for repo in repositories {
        tx.wake_tasks_of_repository(*repo, ConcludeSilentCheck::KIND, now).await?;
    }
    tx.wake_tasks_of_kind(HandleDelivery::KIND, now).await?;
    Ok(())
}
