//! Handles pushes to a branch. A commit of a merge queue can become the newest of a branch: its measured
//! runs then belong to the baseline. The stored policy of the branch is outdated.

use super::Delivery;
use crate::tasks::TaskError;
use pacegate_engine::model::ids::CommitSha;

pub(super) async fn pushed(
    delivery: Delivery<'_>,
    branch: &str,
    head_sha: Option<&CommitSha>,
) -> Result<(), TaskError> {
    let mut tx = delivery.context.db.write().await?;
    let Some(repository) = delivery.record_repository(&mut tx).await? else { return Ok(()) };
    if let Some(head_sha) = head_sha {
        tx.assign_runs_to_branch(repository.id, head_sha, branch).await?;
    }
    tx.outdate_policy(repository.id, branch).await?;
    tx.commit().await?;
    Ok(())
}
