//! A request's spans into the store: one transaction, and nothing is answered before it ends.

use super::prepare::Batch;
use crate::ingest::Rejected;
use crate::jobs::Job;
use crate::store::{OpenTrace, RepositoryRow, SpanBatch};
use crate::web::AppState;
use crate::web::error::WebError;

/// Spans of one trace; a pipeline with more is not a pipeline.
const TRACE_SPANS: i64 = 200_000;
/// And so many bytes: a run is made of all of them at once.
const TRACE_BYTES: i64 = 128 << 20;

/// One transaction: every batch, and a job for each trace that has its root. Returns the spans
/// of traces that take no more.
pub(super) async fn store(
    state: &AppState,
    repository: &RepositoryRow,
    batches: &[Batch],
) -> Result<Rejected, WebError> {
    let mut rejected = Rejected::default();
    if batches.is_empty() {
        return Ok(rejected);
    }
    let work = &state.work;
    let now = work.clock.now();
    let mut tx = work.db.write().await?;
    for batch in batches {
        if let Some(reason) =
            tx.open_trace(repository.id, batch.trace).await?.and_then(|open| full(&open, batch))
        {
            let count = usize::try_from(batch.spans).unwrap_or(usize::MAX);
            rejected.add_many(count, || format!("trace {} {reason}", batch.trace));
            continue;
        }
        let stored = SpanBatch {
            body: &batch.body,
            spans: batch.spans,
            has_root: batch.has_root,
            head_sha: batch.head_sha.as_ref(),
        };
        let open = tx.add_span_batch(repository.id, batch.trace, &stored, &work.chance, now).await?;
        if open.has_root == 1 {
            let collect =
                Job::CollectRun { repo: repository.id, trace: batch.trace, collections: open.collections };
            collect.push(&mut tx, now.after(work.settle), &work.chance, now).await?;
        }
    }
    tx.commit().await?;
    Ok(rejected)
}

/// Why a trace takes no more, if it does not.
fn full(open: &OpenTrace, batch: &Batch) -> Option<String> {
    if open.swept_at.is_some() {
        return Some("was completed long ago".to_owned());
    }
    let bytes = i64::try_from(batch.body.len()).unwrap_or(i64::MAX);
    if open.spans.saturating_add(batch.spans) > TRACE_SPANS || open.bytes.saturating_add(bytes) > TRACE_BYTES
    {
        return Some(format!("holds more than {TRACE_SPANS} spans or {} MiB", TRACE_BYTES >> 20));
    }
    None
}
