//! The part of gRPC that spans need: one message each way. Messages stay bytes, so a body is read
//! within its memory reservation, inflated off the async threads and decoded once. A library's
//! server would trust the size that a frame claims, and accept a zstd window of 128 MiB.

use std::net::SocketAddr;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use axum::response::IntoResponse;
use http_body_util::{BodyExt, Full};

use super::admission::MemoryReservation;
use super::body::{Reader, coding, inflated, too_large};
use super::inflate::Coding;
use super::otlp::protobuf_answer;
use super::{BODY_LIMIT, Outcome, admit, content_type, receive, refused};
use crate::protocols::Answer;
use crate::web::AppState;
use crate::web::access::pushing_repository;
use crate::web::error::{GrpcError, WebError};
use pacegate_ingest::Format;

/// Bytes of the flag and the length before each message.
const PREFIX: usize = 5;
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// A method that takes spans.
#[derive(Debug, Clone, Copy)]
pub(super) struct Method {
    /// Label in the metrics.
    pub(super) ingress: &'static str,
    pub(super) format: Format,
    pub(super) answer: Answer,
}

/// Answers one call.
pub(super) async fn call(
    method: Method,
    State(state): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> axum::response::Response {
    match accept(method, &state, peer, &headers, body).await.map_err(refused(&state, method.ingress)) {
        Ok(outcome) => answer(match method.answer {
            Answer::Otlp => protobuf_answer(outcome),
            Answer::Empty => Vec::new(),
        }),
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
    let reservation = admit(state, &sender)?;
    let (reservation, message) = message(state, reservation, headers, body).await?;
    receive(state, &sender, reservation, method.ingress, method.format, message).await
}

/// The one message of a call, inflated.
async fn message(
    state: &AppState,
    mut reservation: MemoryReservation,
    headers: &HeaderMap,
    body: Body,
) -> Result<(MemoryReservation, Bytes), WebError> {
    let coding = coding(headers, &ENCODING)?;
    let mut reader = Reader::new(headers, body)?;
    // A frame that claims too much is refused before it is read.
    let (compressed, length) = prefix(reader.fill(&mut reservation, PREFIX).await?)?;
    let mut body = reader.finish(&mut reservation).await?;
    if body.len() - PREFIX != length {
        return Err(WebError::BadRequest(format!(
            "the call has to hold one message: {length} bytes were announced, {} arrived",
            body.len() - PREFIX
        )));
    }
    let message = body.split_off(PREFIX);
    match (compressed, coding) {
        (false, _) => Ok((reservation, message)),
        (true, Coding::Identity) => {
            Err(WebError::BadRequest("the message is compressed, but grpc-encoding is missing".to_owned()))
        }
        (true, coding) => inflated(state, reservation, coding, message).await,
    }
}

/// Whether a message is compressed, and its length in bytes.
fn prefix(read: &[u8]) -> Result<(bool, usize), WebError> {
    let [flag @ (0 | 1), a, b, c, d, ..] = *read else {
        return Err(WebError::BadRequest("the call holds no message".to_owned()));
    };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length > BODY_LIMIT { Err(too_large()) } else { Ok((flag == 1, length)) }
}

/// A message and, in the trailers, the status 0 (OK).
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

/// Adds the header with the supported compressions.
pub(in crate::web) fn with_encodings<B>(mut response: Response<B>) -> Response<B> {
    let name = HeaderName::from_static("grpc-accept-encoding");
    response.headers_mut().insert(name, HeaderValue::from_static("identity,gzip,deflate,zstd"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_length_is_accepted_up_to_limit() {
        assert!(matches!(prefix(&[0, 0, 0, 1, 2, 9]), Ok((false, 258))));
        assert!(matches!(prefix(&[1, 0, 0, 0, 0]), Ok((true, 0))));
        assert!(matches!(prefix(&[0, 255, 255, 255, 255]), Err(WebError::TooLarge { .. })));
        for wrong in [&[][..], &[0, 0, 0, 0], &[2, 0, 0, 0, 0], &[0x80, 0, 0, 0, 0]] {
            assert!(matches!(prefix(wrong), Err(WebError::BadRequest(_))), "{wrong:?}");
        }
    }
}
