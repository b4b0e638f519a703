//! Deletes raw traces that no policy keeps, after their first days. Each bounded step takes some traces,
//! deletes them and marks them. If the process dies in between, the next sweep takes them again.

use crate::tasks::{TaskError, WorkerContext};

/// Traces that one step deletes.
const STEP: i64 = 200;
/// Most steps of one sweep. The next sweep continues.
const STEPS: usize = 100;

pub(super) async fn prune_raw_traces(context: &WorkerContext) -> Result<(), TaskError> {
    let before = context.clock.now().before(context.trace_settings.full_retention);
    let mut deleted = 0;
    for _ in 0..STEPS {
        let mut tx = context.db.write().await?;
        let taken = tx.take_traces_to_drop(before, STEP).await?;
        tx.commit().await?;
        if taken.is_empty() {
            break;
        }
        for trace in &taken {
            context.traces.delete(trace.repo, trace.trace).await?;
        }
        let mut tx = context.db.write().await?;
        tx.mark_traces_dropped(&taken).await?;
        tx.commit().await?;
        deleted += taken.len();
    }
    if deleted > 0 {
        tracing::info!(
            traces = deleted,
            "raw traces that no policy keeps were deleted; their durations stay"
        );
    }
    Ok(())
}
