//! The routes of a TCP port for spans. The answer to any other path names the purpose of the port.

use axum::Router;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::post;

use super::{content_type, grpc, http};
use crate::protocols::{Protocol, Transport};
use crate::web::error::{GrpcError, WebError};
use crate::web::{AppState, bounded};

/// The routes of a protocol; none for UDP.
pub(in crate::web) fn routes(protocol: &'static Protocol) -> Router<AppState> {
    let name = protocol.name;
    match &protocol.transport {
        Transport::Http { routes, answer, .. } => http::router(name, routes, *answer),
        Transport::Grpc { path, format, answer, .. } => {
            let method = grpc::Method { ingress: name, format: *format, answer: *answer };
            let handler =
                async move |state, peer, headers, body| grpc::call(method, state, peer, headers, body).await;
            Router::new().route(path, post(handler))
        }
        Transport::Udp(_) => Router::new(),
    }
}

/// Everything that answers on a protocol's own port.
pub(crate) fn router(protocol: &'static Protocol, state: AppState) -> Router {
    let (purpose, is_grpc) = match protocol.transport {
        Transport::Http { purpose, .. } => (purpose, false),
        Transport::Grpc { purpose, .. } => (purpose, true),
        Transport::Udp(_) => ("this port takes datagrams", false),
    };
    let other_path = move |headers: HeaderMap| async move {
        let error = WebError::WrongPort(purpose);
        // A gRPC client shows only a status of gRPC.
        if is_grpc && content_type(&headers).starts_with("application/grpc") {
            GrpcError(error).into_response()
        } else {
            error.into_response()
        }
    };
    bounded(routes(protocol).fallback(other_path)).with_state(state)
}
