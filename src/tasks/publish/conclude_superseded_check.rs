//! A check that waits on a commit which is no pull request's head any more is concluded as neutral at
//! once: a forced push often ends the commit's pipeline. A trace that comes all the same is judged, and
//! replaces this.

use super::publishing::{client, conclude_unjudged};
use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_github::app_auth::Purpose;
use pacegate_report::check::NotJudged;

pub(in crate::tasks) async fn conclude_superseded_check(
    work: &WorkerContext,
    repo: RepoId,
    head_sha: &CommitSha,
    evaluation: i64,
) -> Result<(), TaskError> {
    let mut tx = work.db.read().await?;
    let waits = tx.check(repo, head_sha, evaluation).await?.is_some_and(|check| check.concluded_at.is_none());
    let has_verdict =
        tx.newest_comparison(repo, head_sha).await?.is_some_and(|row| row.evaluation == evaluation);
    let target = tx.pull_request_of_head(repo, head_sha).await?;
    drop(tx);
    // Judged, moved back to this commit meanwhile, or nobody's.
    let by = target.map(|pull_request| pull_request.head_sha).filter(|head| head != head_sha);
    let Some(by) = by.filter(|_| waits && !has_verdict) else { return Ok(()) };
    let Some((_, client)) = client(work, repo, Purpose::WriteChecks).await? else { return Ok(()) };
    conclude_unjudged(work, &client, repo, head_sha, evaluation, &NotJudged::Superseded { by }).await
}
