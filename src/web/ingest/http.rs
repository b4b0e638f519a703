//! The HTTP routes of every protocol: from the content type to the format, from the outcome to the
//! protocol's own answer. The rows of `protocols` define both; this file names no protocol.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::{accept, content_type, otlp, refused};
use crate::protocols::{Answer, Route};
use crate::web::AppState;
use crate::web::error::{OtlpError, WebError};
use pacegate_ingest::Format;

/// The routes of one protocol. `ingress` is its label in the metrics.
pub(super) fn router(ingress: &'static str, routes: &'static [Route], answer: Answer) -> Router<AppState> {
    routes.iter().fold(Router::new(), |router, route| {
        let handler = move |State(state): State<AppState>,
                            ConnectInfo(peer): ConnectInfo<SocketAddr>,
                            headers: HeaderMap,
                            body: Body| async move {
            push(&state, peer, &headers, body, ingress, route, answer).await
        };
        router.route(route.path, post(handler))
    })
}

async fn push(
    state: &AppState,
    peer: SocketAddr,
    headers: &HeaderMap,
    body: Body,
    ingress: &'static str,
    route: &'static Route,
    answer: Answer,
) -> Response {
    let content_type = content_type(headers);
    let format = route.formats.iter().find(|(name, _)| *name == content_type).map(|(_, format)| *format);
    let accepted = match format {
        Some(format) => accept(state, peer, headers, body, ingress, format).await,
        None => Err(WebError::UnsupportedMediaType(route.accepted_types)),
    };
    // The answer to an unknown content type is JSON, which a person can read.
    let json = format != Some(Format::OtlpProtobuf);
    match (answer, accepted.map_err(refused(state, ingress))) {
        (Answer::Otlp, Ok(outcome)) => otlp::answer(outcome, json),
        (Answer::Otlp, Err(error)) => OtlpError { error, json }.into_response(),
        (Answer::Empty, Ok(_)) => StatusCode::ACCEPTED.into_response(),
        (Answer::Empty, Err(error)) => error.into_response(),
    }
}
