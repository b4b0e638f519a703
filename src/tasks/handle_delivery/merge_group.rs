//! A merge queue made a group of pull requests, or let go of one. Its head needs our check, or the
//! queue would wait for it: a group is judged like a pull request, without a comment.

use super::Delivery;
use crate::tasks::TaskError;
use crate::tasks::evaluate::evaluation::begin;
use pacegate_store::MergeGroupRow;

pub(super) async fn changed(delivery: Delivery<'_>, group: &MergeGroupRow) -> Result<(), TaskError> {
    let work = delivery.work;
    let mut tx = work.db.write().await?;
    let Some(repository) = delivery.record_repository(&mut tx).await? else { return Ok(()) };
    tx.record_merge_group(repository.id, group, work.clock.now()).await?;
    if group.is_open {
        begin(work, &mut tx, repository.id, &group.head_sha, 1, "queued").await?;
    }
    tx.commit().await?;
    Ok(())
}
