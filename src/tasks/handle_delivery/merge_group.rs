//! Handles groups of a merge queue. The queue waits for our check on the head of a group. A group is
//! evaluated like a pull request, without a comment.

use super::Delivery;
use crate::tasks::TaskError;
use crate::tasks::evaluate::evaluation::begin;
use pacegate_store::MergeGroupRow;

pub(super) async fn changed(delivery: Delivery<'_>, group: &MergeGroupRow) -> Result<(), TaskError> {
    let context = delivery.context;
    let mut tx = context.db.write().await?;
    let Some(repository) = delivery.record_repository(&mut tx).await? else { return Ok(()) };
    tx.record_merge_group(repository.id, group, context.clock.now()).await?;
    if group.is_open {
        begin(context, &mut tx, repository.id, &group.head_sha, 1, "queued").await?;
    }
    tx.commit().await?;
    Ok(())
}
