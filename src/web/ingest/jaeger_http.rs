//! The Jaeger collector's path for thrift over HTTP. What was stored is 202 with an empty body,
//! as Jaeger answers.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};

use super::{accept, content_type, refused};
use crate::web::AppState;
use crate::web::error::WebError;
use pacegate_ingest::Format;

/// How the counters call this door.
const INGRESS: &str = "jaeger_http";

/// `POST /api/traces`.
pub(super) async fn traces(
    State(state): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, WebError> {
    let accepted = match content_type(&headers).as_str() {
        "application/x-thrift" | "application/vnd.apache.thrift.binary" => {
            accept(&state, peer, &headers, body, INGRESS, Format::JaegerThriftBatch).await
        }
        _ => Err(WebError::UnsupportedMediaType(
            "application/x-thrift or application/vnd.apache.thrift.binary",
        )),
    };
    accepted.map_err(refused(&state, INGRESS))?;
    Ok(StatusCode::ACCEPTED)
}
