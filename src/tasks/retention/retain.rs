//! Sweeps what is no longer needed: batches of collected traces, done jobs, old deliveries, files
//! of old heads, grants, raw traces that no policy keeps. Collects traces whose root never came.

use std::time::Duration;

use super::prune_raw_traces::prune_raw_traces;
use crate::tasks::collect::job_spans::day;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::time::Timestamp;

/// Spans of a collected trace are kept this long after the newest came: late ones join it.
const COLLECTED_TRACES: Duration = Duration::from_hours(24);
/// A trace may wait this long for its root: pipelines with an approval do.
const ROOTLESS_TRACES: Duration = Duration::from_hours(7 * 24);
/// GitHub redelivers for at most 7 days.
const DELIVERIES: Duration = Duration::from_hours(8 * 24);
/// Files at a commit: a head is judged again for some days.
const FILES: Duration = Duration::from_hours(8 * 24);
/// A done job's dedupe key holds as long as what it refers to.
const DONE_JOBS: Duration = Duration::from_hours(8 * 24);

/// Grants that ended: what was uploaded to an attempt of a run is counted for as long as it may go on.
const GRANTS: Duration = Duration::from_hours(24);

/// Incomplete traces that are collected in one sweep.
const ROOTLESS_AT_ONCE: i64 = 500;

pub(in crate::tasks) async fn retain(work: &WorkerContext) -> Result<(), TaskError> {
    let now = work.clock.now();
    collect_rootless(work, now).await?;
    let mut tx = work.db.write().await?;
    let rootless = tx
        .sweep_open_traces(
            now.before(COLLECTED_TRACES),
            now.before(ROOTLESS_TRACES),
            // As long as the key of the job that collected it.
            now.before(DONE_JOBS),
            now,
        )
        .await?;
    tx.sweep_deliveries(now.before(DELIVERIES)).await?;
    // Late spans of a trace are told apart from a new trace for as long.
    tx.sweep_pipeline_traces(now.before(DONE_JOBS)).await?;
    tx.sweep_files(now.before(FILES)).await?;
    // A token can be used until its end by a clock that is behind.
    tx.sweep_grants(now.before(GRANTS), now.before(Duration::from_mins(1))).await?;
    tx.sweep_artifact_quotas(day(now) - 1).await?;
    tx.sweep_done_tasks(now.before(DONE_JOBS)).await?;
    tx.commit().await?;
    if rootless > 0 {
        tracing::warn!(traces = rootless, "traces were dropped after a week without a root span");
    }
    prune_raw_traces(work).await
}

/// A trace whose root has not come for as long as a check waits is measured without: the service
/// that would have sent it may be gone. If it comes after all, it makes the run again.
async fn collect_rootless(work: &WorkerContext, now: Timestamp) -> Result<(), TaskError> {
    let since = now.before(work.check_timeout);
    let rootless = work.db.read().await?.rootless_traces(since, ROOTLESS_AT_ONCE).await?;
    if rootless.is_empty() {
        return Ok(());
    }
    let mut tx = work.db.write().await?;
    for (repo, trace) in rootless {
        let collect = Task::CollectRun { repo, trace, collections: 0 };
        collect.push(&mut tx, now, &work.rng, now).await?;
    }
    tx.commit().await?;
    Ok(())
}
