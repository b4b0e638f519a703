//! OTLP over HTTP: protobuf and JSON, and the protocol's own answers.

use std::net::SocketAddr;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{BODY_LIMIT, Outcome, Room, receive, refusal};
use crate::ingest::Format;
use crate::metrics::Metrics;
use crate::web::AppState;
use crate::web::access::pushing_repository;
use crate::web::error::{OtlpError, WebError, body_error};

/// How the counters call this door.
const DOOR: &str = "otlp_http";

/// `POST /v1/traces`.
pub async fn traces(
    State(state): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let content_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (json, format) = match content_type.as_str() {
        "application/json" => (true, Format::OtlpJson),
        "application/x-protobuf" => (false, Format::OtlpProtobuf),
        _ => return WebError::UnsupportedMediaType.into_response(),
    };
    match accept(&state, peer, &headers, body, format).await {
        Ok(outcome) => answer(outcome, json),
        Err(error) => {
            Metrics::count(&state.work.metrics.refused_requests, DOOR, refusal(&error));
            OtlpError { error, json }.into_response()
        }
    }
}

async fn accept(
    state: &AppState,
    peer: SocketAddr,
    headers: &HeaderMap,
    body: Body,
    format: Format,
) -> Result<Outcome, WebError> {
    // Before the body is read: who may not push may not fill our memory either.
    let repository = pushing_repository(state, headers, peer).await?;
    let room = Room::take(state, &repository)?;
    let body = to_bytes(body, BODY_LIMIT).await.map_err(|e| body_error(&e, BODY_LIMIT))?;
    receive(state, &repository, room, DOOR, format, body).await
}

/// OTLP's answer: empty, or a partial success. One that rejects nothing is a warning.
fn answer(outcome: Outcome, json: bool) -> Response {
    if json {
        let body = match outcome.message {
            None => serde_json::json!({}),
            Some(message) => serde_json::json!({
                "partialSuccess": { "rejectedSpans": outcome.rejected.to_string(), "errorMessage": message }
            }),
        };
        return (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], body.to_string())
            .into_response();
    }
    let mut body = Vec::new();
    if let Some(message) = outcome.message {
        let mut partial_success = vec![0x08];
        varint(outcome.rejected, &mut partial_success);
        partial_success.extend(protobuf_text_field(2, &message));
        body.push(0x0a);
        varint(partial_success.len(), &mut body);
        body.extend(partial_success);
    }
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/x-protobuf")], body).into_response()
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
pub(crate) fn protobuf_text_field(number: u8, text: &str) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    varint(text.len(), &mut field);
    field.extend(text.as_bytes());
    field
}
