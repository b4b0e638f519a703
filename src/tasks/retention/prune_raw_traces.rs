//! Drops raw traces that no policy keeps once their first days are over: taken, deleted, marked, in
//! bounded steps. A process that dies between two of them leaves what the next sweep takes again.

use crate::tasks::{TaskError, WorkerContext};

/// Traces of a step.
const STEP: i64 = 200;
/// Steps of a sweep; what is left over is the next one's.
const STEPS: usize = 100;

pub(in crate::tasks) async fn prune_raw_traces(work: &WorkerContext) -> Result<(), TaskError> {
    let before = work.clock.now().before(work.trace_settings.kept_whole);
    let mut dropped = 0;
    for _ in 0..STEPS {
        let mut tx = work.db.write().await?;
        let taken = tx.take_traces_to_drop(before, STEP).await?;
        tx.commit().await?;
        if taken.is_empty() {
            break;
        }
        for trace in &taken {
            work.traces.delete(trace.repo, trace.trace).await?;
        }
        let mut tx = work.db.write().await?;
        tx.mark_traces_dropped(&taken).await?;
        tx.commit().await?;
        dropped += taken.len();
    }
    if dropped > 0 {
        tracing::info!(
            traces = dropped,
            "raw traces that no policy keeps were dropped; their durations stay"
        );
    }
    Ok(())
}
