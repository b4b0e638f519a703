//! Shows on GitHub what a head's check waits for: the workflows that run, and those that were read.

use super::evaluation::Awaited;
use super::publishing::{self, client};
use super::{JobError, Work};
use crate::github::app_auth::Purpose;
use crate::model::ids::{CommitSha, RepoId};

pub(super) async fn show_awaited(
    work: &Work,
    repo: RepoId,
    head_sha: &CommitSha,
    evaluation: i64,
) -> Result<(), JobError> {
    let mut tx = work.db.read().await?;
    let is_open =
        tx.check(repo, head_sha, evaluation).await?.is_some_and(|check| check.concluded_at.is_none());
    let awaited = Awaited::of(work, &mut tx, repo, head_sha).await?;
    drop(tx);
    if !is_open || awaited.is_empty() {
        return Ok(());
    }
    let Some((_, client)) = client(work, repo, Purpose::WriteChecks).await? else { return Ok(()) };
    publishing::show_awaited(work, &client, repo, head_sha, evaluation, &awaited).await
}
