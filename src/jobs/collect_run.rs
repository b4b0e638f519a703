//! Spans that were pushed become a run: once the root is there and the trace has been quiet.
//! Spans that come later make the run again from all of them.

use std::time::Duration;

use super::{Job, JobError, Work};
use crate::gate::identity::RunIdentity;
use crate::gate::measure::{Provenance, measure};
use crate::ingest::{Limits, otlp};
use crate::model::ids::{RepoId, RunId, TraceId};
use crate::model::run::Lineage;
use crate::model::time::Timestamp;
use crate::model::trace::Trace;
use crate::store::PullRequestRow;

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
    let Some((trace, raw)) = tokio::task::spawn_blocking(move || read_trace(&batches)).await?? else {
        return Ok(());
    };
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
    let claimed = identity.lineage();
    let provenance = Provenance {
        id: RunId(work.chance.ulid(now)),
        repo: repository.name.clone(),
        head_sha: head_sha.clone(),
        lineage: claimed.clone(),
    };
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
    let pull_request =
        tx.pull_request_of_head(repo, &head_sha).await?.filter(|pr| pr.is_open || pr.is_from_fork);
    // The run of an earlier push is a sample for the newest head as well.
    let newest_head =
        pull_request.as_ref().map(|pr| pr.head_sha.clone()).filter(|newest| *newest != head_sha);
    let is_base_branch = match &claimed {
        Lineage::Branch { name } => tx.is_base_branch(repo, name).await?,
        Lineage::PullRequest { .. } | Lineage::Unknown => false,
    };
    measured.run.lineage = lineage_of(pull_request, claimed, is_base_branch);
    if measured.run.lineage == Lineage::Unknown {
        tracing::warn!(
            repo = %repository.name, trace = %trace_id,
            "a run names no branch (vcs.ref.head.name): it is measured, but is no baseline"
        );
    }
    let id = tx.record_run(repo, &measured.run, collections).await?;
    tx.record_samples(repo, &id, &measured.stages).await?;
    tx.record_errors(repo, &id, &measured.errors).await?;
    for head_sha in std::iter::once(head_sha).chain(newest_head) {
        let evaluate = Job::EvaluateHead { repo, head_sha, cause: format!("run {id} {collections}") };
        evaluate.push(&mut tx, now, &work.chance, now).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Which line of development a run is on: what GitHub says of its commit counts before what its
/// spans say, because a fork's `main` is not ours.
fn lineage_of(pull_request: Option<PullRequestRow>, claimed: Lineage, is_base_branch: bool) -> Lineage {
    match (pull_request, claimed) {
        // A branch of ours that others are merged into stays what it is, even when its commit
        // is a head too.
        (Some(pr), Lineage::Branch { name }) if !pr.is_from_fork && is_base_branch => {
            Lineage::Branch { name }
        }
        (Some(pr), _) => Lineage::PullRequest { number: pr.number },
        (None, claimed) => claimed,
    }
}

fn read_trace(batches: &[Vec<u8>]) -> Result<Option<(Trace, Vec<u8>)>, JobError> {
    let unreadable = |e: Box<dyn std::error::Error + Send + Sync>| JobError::Unreadable(e);
    // What was accepted is within the limits already, batch by batch.
    let limits = Limits { spans: usize::MAX, values: usize::MAX };
    let mut spans = Vec::new();
    for batch in batches {
        spans.extend(otlp::decode_json(batch, limits).map_err(|e| unreadable(e.into()))?.spans);
    }
    let Some(trace) = Trace::build(spans) else { return Ok(None) };
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    otlp::write_json(trace.spans(), &mut gzip).map_err(|e| unreadable(e.into()))?;
    let raw = gzip.finish().map_err(|e| unreadable(e.into()))?;
    Ok(Some((trace, raw)))
}
