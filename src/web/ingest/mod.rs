//! Spans in. Each protocol's own door reads the request and writes the answer; what is between
//! is the same for all: a request is answered with success only after its spans are committed,
//! and what is refused gets an answer that says whether sending again can help.

pub(super) mod commit;
pub(super) mod otlp_http;
mod prepare;

use axum::body::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use self::prepare::prepare;
use super::AppState;
use super::error::WebError;
use crate::ingest::Format;
use crate::metrics::Metrics;
use crate::store::RepositoryRow;

/// The largest body, after inflation too.
const BODY_LIMIT: usize = 64 << 20;

fn refusal(error: &WebError) -> &'static str {
    match error {
        WebError::Unauthorized(_) => "unauthorized",
        WebError::TooLarge { .. } => "too_large",
        WebError::Busy => "busy",
        WebError::BadRequest(_) => "malformed",
        _ => "unavailable",
    }
}

/// What became of a request's spans.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Spans that were not taken.
    pub(super) rejected: usize,
    /// Why, or a warning about those that were.
    pub(super) message: Option<String>,
}

/// A request's place among those that are held in memory; free again when it is dropped.
pub(super) struct Room {
    _share: OwnedSemaphorePermit,
    _slot: OwnedSemaphorePermit,
}

impl Room {
    /// Takes a place before the body is read. A few for each repository, so that one slow sender
    /// does not keep the others out.
    pub(super) fn take(state: &AppState, repository: &RepositoryRow) -> Result<Self, WebError> {
        let take = |slots: std::sync::Arc<tokio::sync::Semaphore>| {
            slots.try_acquire_owned().map_err(|_| WebError::Busy)
        };
        let share = take(state.share_of(repository.id))?;
        Ok(Self { _share: share, _slot: take(state.ingest_slots.clone())? })
    }
}

/// Decodes, cleans and commits a body that came through a door. The spans are the repository's,
/// whatever they say.
pub(super) async fn receive(
    state: &AppState,
    repository: &RepositoryRow,
    _room: Room,
    door: &'static str,
    format: Format,
    body: Bytes,
) -> Result<Outcome, WebError> {
    let decoding = state.decode_slots.clone().acquire_owned().await.map_err(|_| WebError::Busy)?;
    let name = repository.name.clone();
    // The place is the computation's: it can't be called off, whatever becomes of the sender.
    let prepared = tokio::task::spawn_blocking(move || {
        let _decoding = decoding;
        prepare(&body, format, &name)
    })
    .await
    .map_err(|e| WebError::Internal(e.into()))??;
    let mut outcome = prepared.outcome;
    let full = state.committer.commit(repository.id, prepared.batches).await?;
    outcome.rejected += full.count;
    outcome.message = full.message().or(outcome.message);
    if outcome.rejected > 0 {
        let reason = outcome.message.as_deref().unwrap_or_default();
        tracing::warn!(repo = %repository.name, rejected = outcome.rejected, reason, "spans were rejected");
    }
    let metrics = &state.work.metrics;
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let accepted = count(prepared.accepted.saturating_sub(full.count));
    Metrics::count_many(&metrics.spans, door, "accepted", accepted);
    Metrics::count_many(&metrics.spans, door, "rejected", count(outcome.rejected));
    Ok(outcome)
}
