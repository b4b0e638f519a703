//! Spans that were pushed become a run: once the root is there and the trace has been quiet.
//! Spans that come later make the run again from all of them.

use std::time::Duration;

use super::recording::{raw, record};
use super::{JobError, Work};
use crate::gate::identity::RunIdentity;
use crate::gate::measure::{Provenance, measure};
use crate::ingest::sampling::Sampling;
use crate::ingest::{Limits, otlp};
use crate::model::ids::{RepoId, RunId, TraceId};
use crate::model::run::Lineage;
use crate::model::time::Timestamp;
use crate::model::trace::Trace;

/// A run may begin so much later than now by this machine's clock.
const CLOCKS_DIFFER: Duration = Duration::from_hours(1);
/// Late spans make a run again at most so often.
const COLLECTIONS: i64 = 20;

pub(super) async fn collect_run(work: &Work, repo: RepoId, trace_id: TraceId) -> Result<(), JobError> {
    let mut tx = work.db.read().await?;
    let (Some(open), Some(repository)) = (tx.open_trace(repo, trace_id).await?, tx.repository(repo).await?)
    else {
        return Ok(()); // swept, or the repository was removed
    };
    let quiet_at = Timestamp(open.last_at).after(work.settle);
    let now = work.clock.now();
    if now < quiet_at {
        return Err(JobError::TooEarly(quiet_at.since(now)));
    }
    if open.collections >= COLLECTIONS {
        tracing::warn!(repo = %repository.name, trace = %trace_id, "late spans are no longer added to this run");
        drop(tx);
        let mut tx = work.db.write().await?;
        tx.mark_collected(repo, trace_id, open).await?;
        tx.commit().await?;
        return Ok(());
    }
    let batches = tx.span_batches(repo, trace_id).await?;
    drop(tx);
    let read = tokio::task::spawn_blocking({
        let sampling = work.trace_settings.sampling.clone();
        move || read_trace(&batches, &sampling)
    });
    let Some((trace, raw, kept_by)) = read.await?? else { return Ok(()) };
    let identity = RunIdentity::of(&trace);
    let Some(head_sha) = identity.head_sha.clone() else {
        tracing::warn!(
            repo = %repository.name, trace = %trace_id,
            "a trace names no commit: set vcs.ref.head.revision in OTEL_RESOURCE_ATTRIBUTES; it is not measured"
        );
        let mut tx = work.db.write().await?;
        tx.mark_collected(repo, trace_id, open).await?;
        tx.commit().await?;
        return Ok(());
    };
    let lineage = identity.lineage();
    let provenance =
        Provenance { id: RunId(work.chance.ulid(now)), repo: repository.name.clone(), head_sha, lineage };
    let mut measured = tokio::task::spawn_blocking(move || measure(&trace, identity, provenance)).await?;
    if measured.run.started_at > now.after(CLOCKS_DIFFER) {
        // A run of the future would be the newest for ever.
        measured.run.started_at = now;
        measured
            .run
            .notes
            .push("its clock is ahead of this service's: taken as begun when it was received".to_owned());
    }
    // Before the run that refers to it.
    work.traces.put(repo, trace_id, raw).await?;
    let collections = open.collections + 1;
    let mut tx = work.db.write().await?;
    // A pull request that becomes known meanwhile either sees this run or is seen by it.
    tx.lock_repository(repo).await?;
    if !tx.mark_collected(repo, trace_id, open).await? {
        return Err(JobError::TooEarly(Duration::from_millis(100)));
    }
    let recorded = record(&mut tx, repo, &mut measured, collections).await?;
    tx.record_trace(repo, &recorded.id, kept_by.as_deref(), now).await?;
    if measured.run.lineage == Lineage::Unknown {
        tracing::warn!(
            repo = %repository.name, trace = %trace_id,
            "a run names no branch (vcs.ref.head.name): it is measured, but is no baseline"
        );
    }
    recorded.judge(work, &mut tx, repo, &collections.to_string()).await?;
    tx.commit().await?;
    Ok(())
}

/// The trace, as the object store keeps it, and the policy that keeps it there.
type ReadTrace = (Trace, Vec<u8>, Option<String>);

fn read_trace(batches: &[Vec<u8>], sampling: &Sampling) -> Result<Option<ReadTrace>, JobError> {
    let unreadable = |e: Box<dyn std::error::Error + Send + Sync>| JobError::Unreadable(e);
    // What was accepted is within the limits already, batch by batch.
    let limits = Limits { spans: usize::MAX, values: usize::MAX };
    let mut spans = Vec::new();
    for batch in batches {
        spans.extend(otlp::decode(batch, limits).map_err(|e| unreadable(e.into()))?.spans);
    }
    let Some(trace) = Trace::build(spans) else { return Ok(None) };
    let raw = raw(trace.spans())?;
    let kept_by = sampling.decide(trace.spans()).map(str::to_owned);
    Ok(Some((trace, raw, kept_by)))
}
