//! Spans in: OTLP over HTTP. A request is answered with success only after its spans are
//! committed; what is refused gets an answer that says whether sending again can help.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::AppState;
use super::access::pushing_repository;
use super::error::{OtlpError, WebError, body_error};
use crate::gate::identity::{SHA_KEYS, repository_claim};
use crate::ingest::otlp::{decode_json, decode_protobuf, encode_json};
use crate::ingest::redact::redact;
use crate::ingest::{Decoded, IngestError, Limits, Rejected};
use crate::jobs::Job;
use crate::metrics::Metrics;
use crate::model::ids::{CommitSha, RepoName, TraceId};
use crate::model::span::Span;
use crate::store::{OpenTrace, RepositoryRow, SpanBatch};

/// The largest body, after inflation too.
const BODY_LIMIT: usize = 64 << 20;
/// The most a request may take in the store: a resource is kept with each of its traces.
const STORED_LIMIT: usize = 128 << 20;
/// Spans of one trace; a pipeline with more is not a pipeline.
const TRACE_SPANS: i64 = 200_000;
/// And so many bytes: a run is made of all of them at once.
const TRACE_BYTES: i64 = 128 << 20;

/// `POST /v1/traces`.
pub async fn traces(
    State(state): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let content_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = match content_type.as_str() {
        "application/json" => true,
        "application/x-protobuf" => false,
        _ => return WebError::UnsupportedMediaType.into_response(),
    };
    match accept(&state, peer, &headers, body, json).await {
        Ok(outcome) => outcome.answer(json),
        Err(error) => {
            Metrics::count(&state.work.metrics.refused_requests, "otlp_http", refusal(&error));
            OtlpError { error, json }.into_response()
        }
    }
}

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
struct Outcome {
    rejected: usize,
    message: Option<String>,
}

impl Outcome {
    /// OTLP's answer: empty, or a partial success. One that rejects nothing is a warning.
    fn answer(self, json: bool) -> Response {
        if json {
            let body = match self.message {
                None => serde_json::json!({}),
                Some(message) => serde_json::json!({
                    "partialSuccess": { "rejectedSpans": self.rejected.to_string(), "errorMessage": message }
                }),
            };
            return (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], body.to_string())
                .into_response();
        }
        let mut body = Vec::new();
        if let Some(message) = self.message {
            let mut partial_success = vec![0x08];
            varint(self.rejected, &mut partial_success);
            partial_success.extend(protobuf_text_field(2, &message));
            body.push(0x0a);
            varint(partial_success.len(), &mut body);
            body.extend(partial_success);
        }
        (StatusCode::OK, [(header::CONTENT_TYPE, "application/x-protobuf")], body).into_response()
    }
}

fn varint(mut number: usize, into: &mut Vec<u8>) {
    loop {
        let bits = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            return into.push(bits);
        }
        into.push(bits | 0x80);
    }
}

/// One text field of a protobuf message: tag, length, bytes.
pub(super) fn protobuf_text_field(number: u8, text: &str) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    varint(text.len(), &mut field);
    field.extend(text.as_bytes());
    field
}

async fn accept(
    state: &AppState,
    peer: SocketAddr,
    headers: &HeaderMap,
    body: Body,
    json: bool,
) -> Result<Outcome, WebError> {
    // Before the body is read: who may not push may not fill our memory either.
    let repository = pushing_repository(state, headers, peer).await?;
    // A few for each repository, so that one slow sender does not keep the others out.
    let _share = state.share_of(repository.id).try_acquire_owned().map_err(|_| WebError::Busy)?;
    let _slot = state.ingest_slots.try_acquire().map_err(|_| WebError::Busy)?;
    let body = to_bytes(body, BODY_LIMIT).await.map_err(|e| body_error(&e, BODY_LIMIT))?;
    let decoding = state.decode_slots.clone().acquire_owned().await.map_err(|_| WebError::Busy)?;
    let name = repository.name.clone();
    // The place is the computation's: it can't be called off, whatever becomes of the sender.
    let prepared = tokio::task::spawn_blocking(move || {
        let _decoding = decoding;
        prepare(&body, json, &name)
    })
    .await
    .map_err(|e| WebError::Internal(e.into()))??;
    let mut outcome = prepared.outcome;
    let full = store(state, &repository, &prepared.batches).await?;
    outcome.rejected += full.count;
    outcome.message = full.message().or(outcome.message);
    if outcome.rejected > 0 {
        let reason = outcome.message.as_deref().unwrap_or_default();
        tracing::warn!(repo = %repository.name, rejected = outcome.rejected, reason, "spans were rejected");
    }
    let metrics = &state.work.metrics;
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    Metrics::count_many(
        &metrics.spans,
        "otlp_http",
        "accepted",
        count(prepared.accepted.saturating_sub(full.count)),
    );
    Metrics::count_many(&metrics.spans, "otlp_http", "rejected", count(outcome.rejected));
    Ok(outcome)
}

struct Batch {
    trace: TraceId,
    body: Vec<u8>,
    spans: i64,
    has_root: bool,
    head_sha: Option<CommitSha>,
}

struct Prepared {
    batches: Vec<Batch>,
    accepted: usize,
    outcome: Outcome,
}

/// Decodes, checks, cleans and groups a request's spans. Pure, and off the async threads.
fn prepare(body: &[u8], json: bool, repository: &RepoName) -> Result<Prepared, WebError> {
    let decode = if json { decode_json } else { decode_protobuf };
    let Decoded { mut spans, mut rejected } =
        decode(body, Limits::default()).map_err(|e: IngestError| WebError::BadRequest(e.to_string()))?;
    // Before anything else looks at them: from here on every text is short, and what spans
    // share they still share.
    redact(&mut spans);
    let mut by_trace: BTreeMap<TraceId, Vec<Span>> = BTreeMap::new();
    for span in spans {
        // The token says whose these are. A payload that names another repository is a
        // mistake that would spoil a baseline: refused, not guessed.
        match repository_claim(&span).filter(|claim| !claim.eq_ignore_ascii_case(&repository.to_string())) {
            Some(claim) => {
                rejected
                    .add(|| format!("it names the repository {claim}, but the token is for {repository}"));
            }
            None => by_trace.entry(span.trace_id).or_default().push(span),
        }
    }
    let (mut accepted, mut bytes, mut nameless) = (0, 0, false);
    let mut batches = Vec::with_capacity(by_trace.len());
    for (trace, spans) in by_trace {
        accepted += spans.len();
        let has_root = spans.iter().any(|span| span.parent_span_id.is_none());
        let named = spans.iter().find_map(|span| span.text(&SHA_KEYS));
        nameless |= has_root && named.is_none();
        let body = encode_json(&spans).map_err(|e| WebError::Internal(e.into()))?;
        bytes += body.len();
        if bytes > STORED_LIMIT {
            // Each trace keeps its resource: many small traces can take more than they came in.
            let limit = STORED_LIMIT >> 20;
            let sentence = format!("the request's traces take more than {limit} MiB; send smaller batches");
            return Err(WebError::BadRequest(sentence));
        }
        let head_sha = named.and_then(|text| text.parse().ok());
        let spans = i64::try_from(spans.len()).unwrap_or(i64::MAX);
        batches.push(Batch { trace, body, spans, has_root, head_sha });
    }
    let warning = nameless.then(|| {
        "accepted, but no span names the commit (resource attribute vcs.ref.head.revision): without it the run \
         can't be measured"
            .to_owned()
    });
    let outcome = Outcome { rejected: rejected.count, message: rejected.message().or(warning) };
    Ok(Prepared { batches, accepted, outcome })
}

/// One transaction: every batch, and a job for each trace that has its root. Returns the spans
/// of traces that take no more.
async fn store(
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
