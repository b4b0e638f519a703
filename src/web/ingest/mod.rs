//! Requests with spans, from any protocol. A request is answered with success only after its spans
//! are committed. The answer to a refused request shows whether sending it again can help.

pub(super) mod admission;
mod body;
pub(super) mod commit;
pub(super) mod grpc;
mod http;
mod inflate;
pub(super) mod otlp;
pub(crate) mod ports;
mod prepare;
pub(crate) mod udp;

use std::net::SocketAddr;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;

use self::admission::MemoryReservation;
pub(super) use self::body::read_compressed;
pub(super) use self::prepare::Prepared;
use self::prepare::{Batch, prepare};
use super::AppState;
use super::access::{Sender, pushing_repository};
use super::error::WebError;
use crate::metrics::Metrics;
use pacegate_ingest::Format;
use pacegate_ingest::ci_job::archive::ArchiveError;

/// The largest body in bytes, after decompression too.
const BODY_LIMIT: usize = 64 << 20;

/// The `outcome` label of a refused request.
fn refusal(error: &WebError) -> &'static str {
    match error {
        WebError::Unauthorized(_) => "unauthorized",
        WebError::TooLarge { .. }
        | WebError::Archive(ArchiveError::TooLarge { .. } | ArchiveError::LargeManifest) => "too_large",
        WebError::Busy => "busy",
        WebError::TooManyOpenTraces => "too_many_open",
        WebError::OutOfMemory => "out_of_memory",
        WebError::TooFast { .. } => "too_fast",
        WebError::Stalled => "stalled",
        WebError::UnsupportedMediaType(_) | WebError::UnsupportedEncoding | WebError::NotGzip => {
            "unsupported"
        }
        WebError::BadRequest(_) => "malformed",
        _ => "unavailable",
    }
}

/// For `map_err`: counts a refused request and returns its error.
pub(super) fn refused(state: &AppState, ingress: &'static str) -> impl Fn(WebError) -> WebError {
    let metrics = state.context.metrics.clone();
    move |error| {
        Metrics::count(&metrics.refused_requests, ingress, refusal(&error));
        error
    }
}

/// The content type of a request, without parameters and in lower case.
pub(super) fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(axum::http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The result of a request that was accepted.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Number of spans.
    pub(super) rejected: usize,
    /// Why spans were rejected, or a warning about the accepted ones.
    pub(super) message: Option<String>,
}

/// Reserves memory for a sender's request, before its body is read.
pub(super) fn admit(state: &AppState, sender: &Sender) -> Result<MemoryReservation, WebError> {
    state.admission.admit(sender.repository.id, sender.key)
}

/// An HTTP request from its headers to its outcome.
async fn accept(
    state: &AppState,
    peer: SocketAddr,
    headers: &HeaderMap,
    body: Body,
    ingress: &'static str,
    format: Format,
) -> Result<Outcome, WebError> {
    // Before the body is read: a sender without permission must not fill the memory.
    let sender = pushing_repository(state, headers, peer).await?;
    let reservation = admit(state, &sender)?;
    let (reservation, body) = body::read_inflated(state, reservation, headers, body).await?;
    receive(state, &sender, reservation, ingress, format, body).await
}

/// The OTLP protobuf of each batch that is forwarded, with its number of spans.
fn copies(batches: &[Batch]) -> Vec<(Bytes, u64)> {
    let copy = |batch: &Batch| Some((batch.forwarded.clone()?, u64::try_from(batch.spans).unwrap_or(0)));
    batches.iter().filter_map(copy).collect()
}

/// Decodes, redacts and commits a body. The spans belong to the sender's repository; spans that
/// name another one are rejected.
pub(super) async fn receive(
    state: &AppState,
    sender: &Sender,
    mut reservation: MemoryReservation,
    ingress: &'static str,
    format: Format,
    body: Bytes,
) -> Result<Outcome, WebError> {
    let repository = &sender.repository;
    let received = body.len();
    state.admission.charge(sender.key, received);
    reservation.reserve_decoding(body.len()).await?;
    let processor = state.admission.processor().await?;
    let (name, redactor) = (repository.name.clone(), state.context.trace_settings.redactor.clone());
    // Two services that forward to each other, or one to itself, would forward without end.
    let forwards = state.forwarder.is_some() && !sender.was_forwarded;
    // The computation owns permit and reservation: it can't be cancelled when the sender leaves.
    let (reservation, prepared) = tokio::task::spawn_blocking(move || {
        let _processor = processor;
        // A resource is stored with each of its traces, so the stored size can exceed the body.
        let prepared = prepare(&body, format, &name, &redactor, forwards, |stored| {
            reservation.grow_to(body.len() + stored)
        });
        (reservation, prepared)
    })
    .await
    .map_err(|e| WebError::Internal(e.into()))?;
    let prepared = prepared?;
    state.admission.charge(sender.key, prepared.bytes.saturating_sub(received));
    Ok(commit(state, sender, reservation, ingress, prepared).await?.1)
}

/// Commits prepared batches and forwards them. Returns the number of stored spans, and the outcome
/// for the sender.
pub(super) async fn commit(
    state: &AppState,
    sender: &Sender,
    reservation: MemoryReservation,
    ingress: &'static str,
    prepared: Prepared,
) -> Result<(usize, Outcome), WebError> {
    let repository = &sender.repository;
    let mut outcome = prepared.outcome;
    // Copied before the committer takes the batches, and only if spans are forwarded.
    let forwarded = state.forwarder.as_ref().map(|forwarder| (forwarder, copies(&prepared.batches)));
    let (committer, repo) = (state.committer.clone(), repository.id);
    // The task owns the reservation: the batches are committed even when the sender has left.
    let full = tokio::spawn(async move {
        let _reservation = reservation;
        committer.commit(repo, prepared.batches).await
    })
    .await
    .map_err(|e| WebError::Internal(e.into()))??;
    outcome.rejected += full.count;
    outcome.message = full.message().or(outcome.message);
    if outcome.rejected > 0 {
        let reason = outcome.message.as_deref().unwrap_or_default();
        tracing::warn!(repo = %repository.name, rejected = outcome.rejected, reason, "spans were rejected");
    }
    let metrics = &state.context.metrics;
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let accepted = prepared.accepted.saturating_sub(full.count);
    Metrics::count_many(&metrics.spans, ingress, "accepted", count(accepted));
    // Forwards the batches of full traces too: their sender does not send them again.
    if let Some((forwarder, batches)) = forwarded.filter(|_| accepted > 0) {
        for (body, spans) in batches {
            forwarder.offer(body, spans);
        }
    }
    Metrics::count_many(&metrics.spans, ingress, "rejected", count(outcome.rejected));
    Ok((accepted, outcome))
}
