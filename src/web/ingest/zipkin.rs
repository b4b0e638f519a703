//! Zipkin's own paths: v2 as JSON and protobuf, v1 as JSON. What was stored is 202 with an empty
//! body, as Zipkin answers; a sender does not read more.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};

use super::{accept, content_type, refused};
use crate::web::AppState;
use crate::web::error::WebError;
use pacegate_ingest::Format;

/// How the counters call this door.
const INGRESS: &str = "zipkin";

/// `POST /api/v2/spans`.
pub(super) async fn v2(
    State(state): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, WebError> {
    let format = match content_type(&headers).as_str() {
        "application/x-protobuf" => Ok(Format::ZipkinV2Protobuf),
        // Old senders name no type, and then it is JSON.
        "application/json" | "" => Ok(Format::ZipkinV2Json),
        _ => Err(WebError::UnsupportedMediaType("application/json or application/x-protobuf")),
    };
    push(&state, peer, &headers, body, format).await
}

/// `POST /api/v1/spans`.
pub(super) async fn v1(
    State(state): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, WebError> {
    let format = match content_type(&headers).as_str() {
        "application/json" | "" => Ok(Format::ZipkinV1Json),
        _ => Err(WebError::UnsupportedMediaType(
            "application/json: of Zipkin's version 1 the thrift form is not read; send version 2 to /api/v2/spans",
        )),
    };
    push(&state, peer, &headers, body, format).await
}

async fn push(
    state: &AppState,
    peer: SocketAddr,
    headers: &HeaderMap,
    body: Body,
    format: Result<Format, WebError>,
) -> Result<StatusCode, WebError> {
    let accepted = match format {
        Ok(format) => accept(state, peer, headers, body, INGRESS, format).await,
        Err(error) => Err(error),
    };
    accepted.map_err(refused(state, INGRESS))?;
    Ok(StatusCode::ACCEPTED)
}
