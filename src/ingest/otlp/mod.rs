//! OpenTelemetry's protocol: protobuf and JSON in, JSON out (also the form in which batches
//! and raw traces are kept).

mod json;
mod json_message;
mod protobuf;
mod write;

pub use json::decode_json;
pub use protobuf::decode_protobuf;
pub use write::{encode_json, write_json};

use crate::model::span::SpanKind;

fn span_kind(number: i64) -> SpanKind {
    match number {
        1 => SpanKind::Internal,
        2 => SpanKind::Server,
        3 => SpanKind::Client,
        4 => SpanKind::Producer,
        5 => SpanKind::Consumer,
        _ => SpanKind::Unspecified,
    }
}

/// Unsigned on the wire; what lies beyond the year 2262 is taken as that year.
fn nanoseconds(unsigned: u64) -> i64 {
    i64::try_from(unsigned).unwrap_or(i64::MAX)
}
