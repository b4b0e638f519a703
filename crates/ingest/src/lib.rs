//! From bytes on the wire to bounded spans. Nothing here knows who sent them or where they
//! go; every limit is checked before memory is taken.

mod bounded;
pub mod ci_job;
pub mod file;
pub mod history_csv;
pub mod jaeger;
mod lenient;
pub mod otlp;
pub mod redact;
pub mod reports;
pub mod sampling;
pub mod span_batch;
mod tagged;
#[cfg(test)]
mod tests;
mod wire;
pub mod zipkin;

use self::otlp::ScannedRequest;
use self::redact::Redactor;
use pacegate_engine::model::span::Span;

/// A form in which a request carries spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OTLP's `ExportTraceServiceRequest` as protobuf.
    OtlpProtobuf,
    /// The same as OTLP's JSON.
    OtlpJson,
    /// Zipkin v2's list of spans as JSON.
    ZipkinV2Json,
    /// The same as protobuf: `zipkin.proto3.ListOfSpans`.
    ZipkinV2Protobuf,
    /// Zipkin v1's list of spans as JSON.
    ZipkinV1Json,
    /// The body of Jaeger's `POST /api/traces`: a bare `Batch` in thrift's binary protocol.
    JaegerThriftBatch,
    /// One datagram of Jaeger's agent: `emitBatch` in thrift's compact protocol.
    JaegerUdpCompact,
    /// The same in thrift's binary protocol.
    JaegerUdpBinary,
    /// The message of Jaeger's gRPC call: `jaeger.api_v2.PostSpansRequest`.
    JaegerProtobuf,
}

impl Format {
    /// Reads a whole request.
    ///
    /// # Errors
    /// [`IngestError`] when it is not of this form or holds too much; spans that can't be used
    /// are rejected by themselves.
    pub fn decode(self, body: &[u8], limits: Limits) -> Result<Decoded, IngestError> {
        match self {
            Self::OtlpProtobuf => otlp::decode_protobuf(body, limits),
            Self::OtlpJson => otlp::decode_json(body, limits),
            Self::ZipkinV2Json => zipkin::decode_v2_json(body, limits),
            Self::ZipkinV2Protobuf => zipkin::decode_v2_protobuf(body, limits),
            Self::ZipkinV1Json => zipkin::decode_v1_json(body, limits),
            Self::JaegerThriftBatch => jaeger::decode_batch(body, limits),
            Self::JaegerUdpCompact => jaeger::decode_compact_message(body, limits),
            Self::JaegerUdpBinary => jaeger::decode_binary_message(body, limits),
            Self::JaegerProtobuf => jaeger::decode_protobuf(body, limits),
        }
    }
}

impl Format {
    /// Goes through a whole request and cleans it, without taking apart what can stay as it is.
    ///
    /// # Errors
    /// As [`Format::decode`].
    pub fn sift<'a>(
        self,
        body: &'a [u8],
        limits: Limits,
        redactor: &Redactor,
    ) -> Result<ScannedRequest<'a>, IngestError> {
        match self {
            Self::OtlpProtobuf => otlp::sift(body, limits, redactor),
            other => Ok(ScannedRequest::of(other.decode(body, limits)?, redactor)),
        }
    }
}

/// Why a request was refused as a whole. The text goes back to the sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// Not what it says it is.
    #[error("the body is not {format}: {reason}")]
    Malformed {
        /// "OTLP protobuf", "OTLP JSON".
        format: &'static str,
        /// What is wrong and where.
        reason: String,
    },
    /// More spans than one request may hold.
    #[error("the request holds more than {limit} spans; send smaller batches")]
    TooManySpans {
        /// The limit.
        limit: usize,
    },
    /// More attributes, events and values than one request may hold.
    #[error("the request holds more than {limit} attributes, events and values; send smaller batches")]
    TooManyValues {
        /// The limit.
        limit: usize,
    },
}

/// Bounds on one request, next to the bound on its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Spans in one request.
    pub spans: usize,
    /// Attributes, events, links and nested values in one request: an empty one takes two
    /// bytes on the wire and a hundred in memory.
    pub values: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { spans: 50_000, values: 1_000_000 }
    }
}

/// Attributes read of one span, event, link or resource; further ones are passed over. Far
/// above what is kept (`redact`), so that the important ones can be chosen.
pub(crate) const ATTRIBUTES_READ: usize = 256;
/// Events or links read of one span.
pub(crate) const EVENTS_READ: usize = 256;
/// Values nested deeper are dropped.
pub(crate) const VALUE_DEPTH: usize = 8;

/// What a request held.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decoded {
    /// Spans that can be used.
    pub spans: Vec<Span>,
    /// Those that can't.
    pub rejected: Rejected,
}

/// Spans of a readable request that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rejected {
    /// How many.
    pub count: usize,
    /// What was wrong with the first of them.
    pub first_reason: Option<String>,
}

impl Rejected {
    /// Counts one more.
    pub fn add(&mut self, reason: impl FnOnce() -> String) {
        self.add_many(1, reason);
    }

    /// Counts several with one reason.
    pub fn add_many(&mut self, count: usize, reason: impl FnOnce() -> String) {
        if count > 0 {
            self.count += count;
            self.first_reason.get_or_insert_with(reason);
        }
    }

    /// A sentence for the sender; none when nothing was rejected.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        let reason = self.first_reason.as_deref()?;
        Some(match self.count {
            1 => format!("1 span was rejected: {reason}"),
            n => format!("{n} spans were rejected, the first because {reason}"),
        })
    }
}
