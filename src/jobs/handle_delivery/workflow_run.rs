//! A run of a workflow was requested, began or ended: its commit's check waits for it, or has it
//! read.

use super::Delivery;
use crate::github::webhook::{RunProgress, WorkflowRunNews};
use crate::jobs::{Job, JobError};
use crate::store::WorkflowRunRow;

pub(super) async fn changed(delivery: Delivery<'_>, run: WorkflowRunNews) -> Result<(), JobError> {
    let work = delivery.work;
    let now = work.clock.now();
    let mut tx = work.db.write().await?;
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
    tx.record_workflow_run(repository.id, &row, now).await?;
    if row.progress == WorkflowRunRow::COMPLETED {
        let attempt = u32::try_from(row.attempt).unwrap_or(1);
        let read = Job::CollectWorkflowRun { repo: repository.id, run_id: row.github_run_id, attempt };
        read.push(&mut tx, now, &work.chance, now).await?;
    }
    if let Some(check) = tx.newest_check(repository.id, &run.head_sha).await?
        && check.concluded_at.is_none()
    {
        // Deliveries of one push come together: one look at what they say is enough.
        let slot = work.settle.as_micros().max(1);
        let shown = Job::ShowAwaited {
            repo: repository.id,
            head_sha: run.head_sha,
            evaluation: check.evaluation,
            slot: i64::try_from(u128::try_from(now.0).unwrap_or(0) / slot).unwrap_or(0),
        };
        shown.push(&mut tx, now.after(work.settle), &work.chance, now).await?;
    }
    tx.commit().await?;
    Ok(())
}

fn progress(progress: RunProgress) -> i64 {
    match progress {
        RunProgress::Queued => 0,
        RunProgress::InProgress => 1,
        RunProgress::Completed => WorkflowRunRow::COMPLETED,
    }
}
