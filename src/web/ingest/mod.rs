//! Spans in. Each protocol's own door reads the request and writes the answer; what is between
//! is the same for all: a request is answered with success only after its spans are committed,
//! and what is refused gets an answer that says whether sending again can help.

pub(super) mod admission;
mod body;
pub(super) mod commit;
pub(super) mod grpc;
mod inflate;
mod jaeger_http;
pub mod jaeger_udp;
pub(super) mod otlp_http;
pub mod ports;
mod prepare;
mod zipkin;

use std::net::SocketAddr;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;

use self::admission::Room;
pub(super) use self::body::whole_as_sent;
pub(super) use self::prepare::Prepared;
use self::prepare::{Batch, prepare};
use super::AppState;
use super::access::{Sender, pushing_repository};
use super::error::WebError;
use crate::metrics::Metrics;
use pacegate_ingest::Format;
use pacegate_ingest::ci_job::archive::ArchiveError;

/// The largest body, after inflation too.
const BODY_LIMIT: usize = 64 << 20;

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

/// Counts a request that was refused whole, and gives its error on.
pub(super) fn refused(state: &AppState, door: &'static str) -> impl Fn(WebError) -> WebError {
    let metrics = state.work.metrics.clone();
    move |error| {
        Metrics::count(&metrics.refused_requests, door, refusal(&error));
        error
    }
}

/// The content type of a request, without parameters and in lower case.
pub(super) fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(axum::http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// What became of a request's spans.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Spans that were not taken.
    pub(super) rejected: usize,
    /// Why, or a warning about those that were.
    pub(super) message: Option<String>,
}

/// A place for a sender's request; taken before its body is read.
pub(super) fn room_for(state: &AppState, sender: &Sender) -> Result<Room, WebError> {
    state.admission.room(sender.repository.id, sender.key)
}

/// An HTTP request from its headers to its outcome.
async fn accept(
    state: &AppState,
    peer: SocketAddr,
    headers: &HeaderMap,
    body: Body,
    door: &'static str,
    format: Format,
) -> Result<Outcome, WebError> {
    // Before the body is read: who may not push may not fill our memory either.
    let sender = pushing_repository(state, headers, peer).await?;
    let room = room_for(state, &sender)?;
    let (room, body) = body::whole(state, room, headers, body).await?;
    receive(state, &sender, room, door, format, body).await
}

/// Batches as they are forwarded, with the number of their spans.
fn copies(batches: &[Batch]) -> Vec<(Bytes, u64)> {
    let copy = |batch: &Batch| Some((batch.forwarded.clone()?, u64::try_from(batch.spans).unwrap_or(0)));
    batches.iter().filter_map(copy).collect()
}

/// Decodes, cleans and commits a body that came through a door. The spans are the repository's,
/// whatever they say.
pub(super) async fn receive(
    state: &AppState,
    sender: &Sender,
    mut room: Room,
    door: &'static str,
    format: Format,
    body: Bytes,
) -> Result<Outcome, WebError> {
    let repository = &sender.repository;
    let received = body.len();
    state.admission.charge(sender.key, received);
    room.hold_decoding(body.len()).await?;
    let at_work = state.admission.at_work().await?;
    let (name, redactor) = (repository.name.clone(), state.work.trace_settings.redactor.clone());
    // Two that forward to each other, or one to itself, would never come to an end.
    let forwards = state.forwarder.is_some() && !sender.was_forwarded;
    // The places are the computation's: it can't be called off, whatever becomes of the sender.
    let (room, prepared) = tokio::task::spawn_blocking(move || {
        let _at_work = at_work;
        // A resource is kept with each of its traces: what is stored can be more than what came.
        let prepared =
            prepare(&body, format, &name, &redactor, forwards, |stored| room.hold(body.len() + stored));
        (room, prepared)
    })
    .await
    .map_err(|e| WebError::Internal(e.into()))?;
    let prepared = prepared?;
    state.admission.charge(sender.key, prepared.bytes.saturating_sub(received));
    Ok(commit(state, sender, room, door, prepared).await?.1)
}

/// Commits what was made ready, and passes it on. Returns how many spans were kept, and what is told of
/// the others.
pub(super) async fn commit(
    state: &AppState,
    sender: &Sender,
    room: Room,
    door: &'static str,
    prepared: Prepared,
) -> Result<(usize, Outcome), WebError> {
    let repository = &sender.repository;
    let mut outcome = prepared.outcome;
    // Taken before they are given away, and only if somebody wants them.
    let forwarded = state.forwarder.as_ref().map(|forwarder| (forwarder, copies(&prepared.batches)));
    let (committer, repo) = (state.committer.clone(), repository.id);
    // And the batches': they wait to be committed even when nobody waits for the answer.
    let full = tokio::spawn(async move {
        let _room = room;
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
    let metrics = &state.work.metrics;
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let accepted = prepared.accepted.saturating_sub(full.count);
    Metrics::count_many(&metrics.spans, door, "accepted", count(accepted));
    // What was committed, and what a trace that takes no more would have held: nobody sends that again.
    if let Some((forwarder, batches)) = forwarded.filter(|_| accepted > 0) {
        for (body, spans) in batches {
            forwarder.offer(body, spans);
        }
    }
    Metrics::count_many(&metrics.spans, door, "rejected", count(outcome.rejected));
    Ok((accepted, outcome))
}
