//! gRPC in as far as spans need it: one message each way. Messages stay bytes, so that a body is
//! read within its place, inflated off the async threads and decoded once; a library's server
//! would take the size a frame claims, and a zstd window of 128 MiB, for granted.

use std::net::SocketAddr;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use axum::response::IntoResponse;
use http_body_util::{BodyExt, Full};

use super::admission::Room;
use super::body::{Reader, coding, inflated, too_large};
use super::inflate::Coding;
use super::otlp_http::protobuf_answer;
use super::{BODY_LIMIT, Outcome, content_type, receive, refused, room_for};
use crate::web::AppState;
use crate::web::access::pushing_repository;
use crate::web::error::{GrpcError, WebError};
use pacegate_ingest::Format;

/// A flag and a length before each message.
const PREFIX: usize = 5;
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// A method that takes spans.
#[derive(Debug, Clone, Copy)]
pub(super) struct Method {
    /// How the counters call its door.
    pub(super) door: &'static str,
    /// What its message is.
    pub(super) format: Format,
    /// What it answers.
    pub(super) answer: fn(Outcome) -> Vec<u8>,
}

/// `opentelemetry.proto.collector.trace.v1.TraceService/Export`.
pub(super) const OTLP: Method =
    Method { door: "otlp_grpc", format: Format::OtlpProtobuf, answer: protobuf_answer };

/// `jaeger.api_v2.CollectorService/PostSpans`: its answer is empty.
pub(super) const JAEGER: Method =
    Method { door: "jaeger_grpc", format: Format::JaegerProtobuf, answer: |_| Vec::new() };

/// A call of a method.
pub(super) async fn call(
    method: Method,
    State(state): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> axum::response::Response {
    match accept(method, &state, peer, &headers, body).await.map_err(refused(&state, method.door)) {
        Ok(outcome) => answer((method.answer)(outcome)),
        Err(error @ WebError::UnsupportedMediaType(_)) => error.into_response(),
        Err(error) => GrpcError(error).into_response(),
    }
}

async fn accept(
    method: Method,
    state: &AppState,
    peer: SocketAddr,
    headers: &HeaderMap,
    body: Body,
) -> Result<Outcome, WebError> {
    if !matches!(content_type(headers).as_str(), "application/grpc" | "application/grpc+proto") {
        return Err(WebError::UnsupportedMediaType("application/grpc: this port speaks gRPC"));
    }
    let sender = pushing_repository(state, headers, peer).await?;
    let room = room_for(state, &sender)?;
    let (room, message) = message(state, room, headers, body).await?;
    receive(state, &sender, room, method.door, method.format, message).await
}

/// The one message of a call, inflated.
async fn message(
    state: &AppState,
    mut room: Room,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Room, Bytes), WebError> {
    let coding = coding(headers, &ENCODING)?;
    let mut reader = Reader::new(headers, body)?;
    // A frame that claims too much is refused before it is read.
    let (compressed, length) = prefix(reader.fill(&mut room, PREFIX).await?)?;
    let mut body = reader.finish(&mut room).await?;
    if body.len() - PREFIX != length {
        return Err(WebError::BadRequest(format!(
            "the call has to hold one message: {length} bytes were announced, {} came",
            body.len() - PREFIX
        )));
    }
    let message = body.split_off(PREFIX);
    match (compressed, coding) {
        (false, _) => Ok((room, message)),
        (true, Coding::Identity) => {
            Err(WebError::BadRequest("the message is compressed, but no grpc-encoding says how".to_owned()))
        }
        (true, coding) => inflated(state, room, coding, message).await,
    }
}

/// Whether a message is compressed, and how long it is.
fn prefix(read: &[u8]) -> Result<(bool, usize), WebError> {
    let [flag @ (0 | 1), a, b, c, d, ..] = *read else {
        return Err(WebError::BadRequest("the call holds no message of gRPC".to_owned()));
    };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length > BODY_LIMIT { Err(too_large()) } else { Ok((flag == 1, length)) }
}

/// A message, and after it the status: all is well.
fn answer(message: Vec<u8>) -> axum::response::Response {
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend(message);
    let trailers = HeaderMap::from_iter([(tonic::Status::GRPC_STATUS, HeaderValue::from_static("0"))]);
    let body = Full::new(Bytes::from(frame)).with_trailers(async { Some(Ok(trailers)) });
    with_encodings(
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"))], Body::new(body))
            .into_response(),
    )
}

/// Names the compressions that are read.
pub(in crate::web) fn with_encodings<B>(mut response: Response<B>) -> Response<B> {
    let name = HeaderName::from_static("grpc-accept-encoding");
    response.headers_mut().insert(name, HeaderValue::from_static("identity,gzip,deflate,zstd"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_believed_up_to_the_limit() {
        assert!(matches!(prefix(&[0, 0, 0, 1, 2, 9]), Ok((false, 258))));
        assert!(matches!(prefix(&[1, 0, 0, 0, 0]), Ok((true, 0))));
        assert!(matches!(prefix(&[0, 255, 255, 255, 255]), Err(WebError::TooLarge { .. })));
        for wrong in [&[][..], &[0, 0, 0, 0], &[2, 0, 0, 0, 0], &[0x80, 0, 0, 0, 0]] {
            assert!(matches!(prefix(wrong), Err(WebError::BadRequest(_))), "{wrong:?}");
        }
    }
}
