//! Reads and writes OTLP as protobuf and as JSON. Batches that wait for their run are stored as
//! protobuf, raw traces as JSON.

mod batch;
mod json;
mod json_message;
mod protobuf;
mod scan;
mod write;
mod write_protobuf;

pub use batch::TraceBatch;
pub use json::decode_json;
pub use protobuf::{Origin, decode_protobuf};
pub(crate) use scan::scan;
pub use scan::{Form, Group, ScannedRequest, ScannedSpan};
pub use write::{encode_json, write_json};
pub use write_protobuf::encode_protobuf;

use super::{Decoded, IngestError, Limits};
use pacegate_engine::model::span::SpanKind;

/// Reads a request in either encoding. JSON begins with a brace, which is not a valid tag of the
/// protobuf message.
///
/// # Errors
/// The same as [`decode_protobuf`] and [`decode_json`].
pub fn decode(body: &[u8], limits: Limits) -> Result<Decoded, IngestError> {
    if body.starts_with(b"{") { decode_json(body, limits) } else { decode_protobuf(body, limits) }
}

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

fn kind_number(kind: SpanKind) -> u8 {
    match kind {
        SpanKind::Unspecified => 0,
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

/// Times are unsigned on the wire. Times after the year 2262 saturate.
fn nanoseconds(unsigned: u64) -> i64 {
    i64::try_from(unsigned).unwrap_or(i64::MAX)
}
