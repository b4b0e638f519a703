//! Handles workflow runs that were requested, began or ended. The check of their commit awaits them, and
//! an ended run is read.

use super::Delivery;
use crate::tasks::TaskError;
use crate::tasks::reconcile::listed_runs::{progress, record};
use pacegate_github::webhook::WorkflowRunUpdate;
use pacegate_store::WorkflowRunRow;

pub(super) async fn changed(delivery: Delivery<'_>, run: WorkflowRunUpdate) -> Result<(), TaskError> {
    let context = delivery.context;
    let mut tx = context.db.write().await?;
    let Some(repository) = delivery.record_repository(&mut tx).await? else { return Ok(()) };
    let row = WorkflowRunRow {
        github_run_id: run.id,
        attempt: run.attempt,
        workflow_id: run.workflow_id,
        name: run.name,
        path: run.path,
        event: run.event,
        head_sha: run.head_sha.as_str().to_owned(),
        progress: progress(run.progress),
        collected_attempt: 0,
    };
    record(context, &mut tx, repository.id, &run.head_sha, &row).await?;
    tx.commit().await?;
    Ok(())
}
