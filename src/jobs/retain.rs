//! Sweeps what is no longer needed: batches of collected traces, done jobs, old deliveries, files
//! of old heads, raw traces that no policy keeps.

use std::time::Duration;

use super::thin_traces::thin_traces;
use super::{JobError, Work};

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

pub(super) async fn retain(work: &Work) -> Result<(), JobError> {
    let now = work.clock.now();
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
    tx.sweep_files(now.before(FILES)).await?;
    tx.sweep_done_jobs(now.before(DONE_JOBS)).await?;
    tx.commit().await?;
    if rootless > 0 {
        tracing::warn!(traces = rootless, "traces were dropped after a week without a root span");
    }
    thin_traces(work).await
}
