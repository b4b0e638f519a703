//! Which protocol answers on which port. A path that is none of a port's own is told what the
//! port is for.

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::post;

use super::{grpc, jaeger_http, otlp_http, zipkin};
use crate::web::error::{GrpcError, WebError};
use crate::web::{AppState, bounded};

/// A TCP port for spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// OTLP over gRPC.
    OtlpGrpc,
    /// OTLP over HTTP.
    OtlpHttp,
    /// Zipkin.
    Zipkin,
    /// Jaeger's thrift over HTTP.
    JaegerHttp,
    /// Jaeger's gRPC.
    JaegerGrpc,
}

impl Port {
    /// Its routes.
    pub fn router(self, state: AppState) -> Router {
        let routes = match self {
            Self::OtlpGrpc => Router::new().route(
                "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                post(async |state, peer, headers, body| {
                    grpc::call(grpc::OTLP, state, peer, headers, body).await
                }),
            ),
            Self::JaegerGrpc => Router::new().route(
                "/jaeger.api_v2.CollectorService/PostSpans",
                post(async |state, peer, headers, body| {
                    grpc::call(grpc::JAEGER, state, peer, headers, body).await
                }),
            ),
            Self::OtlpHttp => Router::new().route("/v1/traces", post(otlp_http::traces)),
            Self::Zipkin => Router::new()
                .route("/api/v2/spans", post(zipkin::v2))
                .route("/api/v1/spans", post(zipkin::v1)),
            Self::JaegerHttp => Router::new().route("/api/traces", post(jaeger_http::traces)),
        };
        let (purpose, grpc) = (self.purpose(), matches!(self, Self::OtlpGrpc | Self::JaegerGrpc));
        let elsewhere = move |headers: axum::http::HeaderMap| async move {
            let error = WebError::WrongPort(purpose);
            // Who speaks gRPC reads nothing else.
            if grpc && super::content_type(&headers).starts_with("application/grpc") {
                GrpcError(error).into_response()
            } else {
                error.into_response()
            }
        };
        bounded(routes.fallback(elsewhere)).with_state(state)
    }

    fn purpose(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "this port takes OTLP traces over gRPC (TraceService/Export)",
            Self::OtlpHttp => "this port takes OTLP traces over HTTP, at POST /v1/traces",
            Self::Zipkin => "this port takes Zipkin spans, at POST /api/v2/spans or /api/v1/spans",
            Self::JaegerHttp => "this port takes Jaeger thrift over HTTP, at POST /api/traces",
            Self::JaegerGrpc => "this port takes Jaeger spans over gRPC (CollectorService/PostSpans)",
        }
    }
}
