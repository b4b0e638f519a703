//! Deletes old rows: batches of collected traces, finished tasks, deliveries, files of old heads and
//! grants. Starts the deletion of raw traces. Collects traces whose root span never arrived.

use std::time::Duration;

use super::prune_raw_traces::prune_raw_traces;
use crate::tasks::collect::collect_run::CollectRun;
use crate::tasks::collect::job_spans::day;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::time::Timestamp;

/// Spans of a collected trace are kept this long after the newest one, so that late spans can be added.
const COLLECTED_TRACES: Duration = Duration::from_hours(24);
/// A trace may wait this long for its root span: pipelines with an approval need it.
const ROOTLESS_TRACES: Duration = Duration::from_hours(7 * 24);
/// GitHub redelivers for at most three days.
const DELIVERIES: Duration = Duration::from_hours(8 * 24);
/// Files at a commit are kept this long, because a head may be evaluated again for some days.
const FILES: Duration = Duration::from_hours(8 * 24);
/// Finished tasks are kept this long: their dedupe keys have to last as long as the rows they refer to.
const DONE_TASKS: Duration = Duration::from_hours(8 * 24);

/// Expired grants are kept this long: the uploads to an attempt are counted for as long as it may run.
const GRANTS: Duration = Duration::from_hours(24);

/// Most incomplete traces that one sweep collects.
const ROOTLESS: i64 = 500;

pub(in crate::tasks) async fn retain(context: &WorkerContext) -> Result<(), TaskError> {
    let now = context.clock.now();
    collect_rootless(context, now).await?;
    let mut tx = context.db.write().await?;
    let rootless = tx
        .sweep_open_traces(
            now.before(COLLECTED_TRACES),
            now.before(ROOTLESS_TRACES),
            // As long as the dedupe key of the task that collected it.
            now.before(DONE_TASKS),
            now,
        )
        .await?;
    tx.sweep_deliveries(now.before(DELIVERIES)).await?;
    // For as long, late spans of a trace are distinguished from a new trace.
    tx.sweep_pipeline_traces(now.before(DONE_TASKS)).await?;
    tx.sweep_files(now.before(FILES)).await?;
    // A process with a slow clock accepts a token for a moment longer.
    tx.sweep_grants(now.before(GRANTS), now.before(Duration::from_mins(1))).await?;
    tx.sweep_artifact_quotas(day(now) - 1).await?;
    tx.sweep_done_tasks(now.before(DONE_TASKS)).await?;
    tx.commit().await?;
    if rootless > 0 {
        tracing::warn!(traces = rootless, "traces were deleted after a week without a root span");
    }
    prune_raw_traces(context).await
}

/// Collects traces that have waited for their root span as long as a check's timeout: its sender may have
/// crashed. If the root span arrives later, the run is collected again.
async fn collect_rootless(context: &WorkerContext, now: Timestamp) -> Result<(), TaskError> {
    let since = now.before(context.check_timeout);
    let rootless = context.db.read().await?.rootless_traces(since, ROOTLESS).await?;
    if rootless.is_empty() {
        return Ok(());
    }
    let mut tx = context.db.write().await?;
    for (repo, trace) in rootless {
        let collect = CollectRun { repo, trace, collections: 0 };
        collect.push(&mut tx, now, &context.rng, now).await?;
    }
    tx.commit().await?;
    Ok(())
}
