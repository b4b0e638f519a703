//! The answers of OTLP over HTTP and gRPC, as protobuf and JSON. Reads nothing.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Outcome;

/// OTLP's answer over HTTP: empty, or a partial success. A partial success without rejected spans
/// is a warning.
pub(super) fn answer(outcome: Outcome, json: bool) -> Response {
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
    let body = protobuf_answer(outcome);
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/x-protobuf")], body).into_response()
}

/// `ExportTraceServiceResponse`.
pub(super) fn protobuf_answer(outcome: Outcome) -> Vec<u8> {
    let mut body = Vec::new();
    if let Some(message) = outcome.message {
        let mut partial_success = vec![0x08];
        varint(outcome.rejected, &mut partial_success);
        partial_success.extend(protobuf_text_field(2, &message));
        body.push(0x0a);
        varint(partial_success.len(), &mut body);
        body.extend(partial_success);
    }
    body
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
pub(in crate::web) fn protobuf_text_field(number: u8, text: &str) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    varint(text.len(), &mut field);
    field.extend(text.as_bytes());
    field
}
