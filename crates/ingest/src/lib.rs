//! Reads spans from requests and files, removes secrets and bounds sizes. Nothing here knows the
//! sender or the destination. Every limit is checked before memory is allocated.

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
mod zipkin;

use self::otlp::ScannedRequest;
use self::redact::Redactor;
use pacegate_engine::model::span::Span;

/// The format of a request with spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `ExportTraceServiceRequest` as protobuf.
    OtlpProtobuf,
    /// `ExportTraceServiceRequest` as OTLP JSON.
    OtlpJson,
    /// A list of Zipkin v2 spans as JSON.
    ZipkinV2Json,
    /// `zipkin.proto3.ListOfSpans`.
    ZipkinV2Protobuf,
    /// A list of Zipkin v1 spans as JSON.
    ZipkinV1Json,
    /// The body of Jaeger's `POST /api/traces`: a bare `Batch` in thrift's binary protocol.
    JaegerThriftBatch,
    /// One datagram to Jaeger's agent: `emitBatch` in thrift's compact protocol.
    JaegerUdpCompact,
    /// One datagram to Jaeger's agent: `emitBatch` in thrift's binary protocol.
    JaegerUdpBinary,
    /// The message of Jaeger's gRPC call: `jaeger.api_v2.PostSpansRequest`.
    JaegerProtobuf,
}

impl Format {
    /// Reads a whole request. Unusable spans are rejected one by one.
    ///
    /// # Errors
    /// [`IngestError`] when the body is not of this format or exceeds a limit.
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

    /// Redacts a whole request. OTLP protobuf spans that need no change are not decoded.
    ///
    /// # Errors
    /// The same as [`Format::decode`].
    pub fn scan<'a>(
        self,
        body: &'a [u8],
        limits: Limits,
        redactor: &Redactor,
    ) -> Result<ScannedRequest<'a>, IngestError> {
        match self {
            Self::OtlpProtobuf => otlp::scan(body, limits, redactor),
            other => Ok(ScannedRequest::of(other.decode(body, limits)?, redactor)),
        }
    }
}

/// Why a whole request was refused. The text is sent back to the sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the error texts document the variants")]
pub enum IngestError {
    /// `format` is a display name such as "OTLP protobuf".
    #[error("the body is not {format}: {reason}")]
    Malformed { format: &'static str, reason: String },
    #[error("the request holds more than {limit} spans; send smaller batches")]
    TooManySpans { limit: usize },
    #[error("the request holds more than {limit} attributes, events and values; send smaller batches")]
    TooManyValues { limit: usize },
}

/// Bounds on the content of one request. The size in bytes is bounded elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Spans in one request.
    pub spans: usize,
    /// Attributes, events, links and nested values in one request. An empty one takes two bytes
    /// on the wire and a hundred in memory.
    pub values: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { spans: 50_000, values: 1_000_000 }
    }
}

/// Attributes read of one span, event, link or resource; the rest is skipped. `redact` keeps far
/// fewer and chooses the important ones.
pub(crate) const ATTRIBUTES_READ: usize = 256;
/// Events or links read of one span.
pub(crate) const EVENTS_READ: usize = 256;
/// Values nested deeper are dropped.
pub(crate) const VALUE_DEPTH: usize = 8;

/// The content of a request.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs, reason = "the fields need no more than their names")]
pub struct Decoded {
    pub spans: Vec<Span>,
    pub rejected: Rejected,
}

/// Counts the unusable spans of a readable request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the fields need no more than their names")]
pub struct Rejected {
    pub count: usize,
    pub first_reason: Option<String>,
}

impl Rejected {
    /// Counts one span. The reason is kept only for the first rejected span.
    pub fn add(&mut self, reason: impl FnOnce() -> String) {
        self.add_many(1, reason);
    }

    /// Counts several spans with one reason.
    pub fn add_many(&mut self, count: usize, reason: impl FnOnce() -> String) {
        if count > 0 {
            self.count += count;
            self.first_reason.get_or_insert_with(reason);
        }
    }

    /// A sentence for the sender, or `None` when nothing was rejected.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        let reason = self.first_reason.as_deref()?;
        Some(match self.count {
            1 => format!("1 span was rejected: {reason}"),
            n => format!("{n} spans were rejected, the first because {reason}"),
        })
    }
}
