//! Sweeps what is no longer needed: batches of collected traces, done jobs, old deliveries.

use std::time::Duration;

use super::{JobError, Work};

/// Spans of a trace are kept this long after the newest came: late ones still find it.
const OPEN_TRACES: Duration = Duration::from_hours(24);
/// GitHub redelivers for at most 7 days.
const DELIVERIES: Duration = Duration::from_hours(8 * 24);
/// A done job's dedupe key holds as long as what it refers to.
const DONE_JOBS: Duration = Duration::from_hours(8 * 24);

pub(super) async fn retain(work: &Work) -> Result<(), JobError> {
    let now = work.clock.now();
    let mut tx = work.db.write().await?;
    let rootless = tx.sweep_open_traces(now.before(OPEN_TRACES)).await?;
    tx.sweep_deliveries(now.before(DELIVERIES)).await?;
    tx.sweep_done_jobs(now.before(DONE_JOBS)).await?;
    tx.commit().await?;
    if rootless > 0 {
        tracing::warn!(traces = rootless, "traces were dropped after a day without a root span");
    }
    Ok(())
}
