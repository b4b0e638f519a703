//! Shows on GitHub what a head's check waits for: the workflows that run, and those that were read.
//! When all are read and nothing in them could be measured, the check ends with that.

use super::publishing::{self, client, conclude_unjudged};
use crate::tasks::evaluate::evaluation::Awaited;
use crate::tasks::reconcile::listed_runs;
use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_github::app_auth::Purpose;
use pacegate_report::check::NotJudged;
use pacegate_store::RunFilter;

pub(in crate::tasks) async fn show_awaited(
    work: &WorkerContext,
    repo: RepoId,
    head_sha: &CommitSha,
    evaluation: i64,
) -> Result<(), TaskError> {
    let mut tx = work.db.read().await?;
    let is_open =
        tx.check(repo, head_sha, evaluation).await?.is_some_and(|check| check.concluded_at.is_none());
    let mut awaited = Awaited::of(work, &mut tx, repo, head_sha).await?;
    let Some(repository) = tx.repository(repo).await? else { return Ok(()) };
    let of_head = RunFilter::Head(head_sha.clone());
    // Measured and not judged yet: the job that judges it was pushed with the run.
    let is_measured = !tx.list_runs(repo, &repository.name, &of_head, 1).await?.is_empty();
    drop(tx);
    // What was read goes on to be judged, or there was nothing in it.
    let nothing_ran = awaited.is_empty() && !awaited.read.is_empty() && !is_measured;
    if !is_open || (awaited.is_empty() && !nothing_ran) {
        return Ok(());
    }
    let Some((_, client)) = client(work, repo, Purpose::WriteChecks).await? else { return Ok(()) };
    if nothing_ran {
        // Unless there is one that GitHub alone knows of.
        listed_runs::ask(work, repo, head_sha).await?;
        awaited = Awaited::of(work, &mut work.db.read().await?, repo, head_sha).await?;
        if awaited.is_empty() {
            let reason = NotJudged::NothingRan;
            return conclude_unjudged(work, &client, repo, head_sha, evaluation, &reason).await;
        }
    }
    publishing::show_awaited(work, &client, repo, head_sha, evaluation, &awaited).await
}
