//! Reads Jaeger's thrift: a bare `Batch` over HTTP, and the agent's `emitBatch` in one datagram, in
//! the compact or binary protocol. The `thrift` crate parses it, limited to the size of the request.
//! So a claimed length or count cannot take more memory than the body justifies.

use std::sync::Arc;

use thrift::TConfiguration;
use thrift::protocol::{
    TBinaryInputProtocol, TCompactInputProtocol, TFieldIdentifier, TInputProtocol, TMessageType, TType,
};

use super::thrift_span::{attributes, read_span};
use super::{JaegerSpan, resource};
use crate::tagged::Latest;
use crate::{Decoded, IngestError, Limits};
use pacegate_engine::model::span::{Attributes, Resource, Scope};

/// Deepest nesting of structures. Jaeger's own structures are five deep.
const DEPTH: usize = 32;
/// Smallest span with ids and a start, bytes. It bounds the memory reserved for claimed spans.
const SPAN_BYTES: usize = 7;

/// Reads the body of a request to `/api/traces`: one `Batch` in the binary protocol.
///
/// # Errors
/// [`IngestError`] when the bytes are not such a batch or exceed a limit. A span with an unusable id
/// or without a start is rejected alone.
pub(crate) fn decode_batch(body: &[u8], limits: Limits) -> Result<Decoded, IngestError> {
    let mut reader = Reader::new(body, limits, "a Jaeger thrift batch");
    let mut protocol = TBinaryInputProtocol::with_config(body, false, configuration(body));
    let result = reader.batch(&mut protocol);
    reader.finish(result)
}

/// Reads one datagram of the agent's compact port: a message `emitBatch`.
///
/// # Errors
/// The same as [`decode_batch`], and for any other message.
pub(crate) fn decode_compact_message(body: &[u8], limits: Limits) -> Result<Decoded, IngestError> {
    let mut reader = Reader::new(body, limits, "a Jaeger message in thrift's compact protocol");
    let mut protocol = TCompactInputProtocol::with_config(body, configuration(body));
    let result = reader.message(&mut protocol);
    reader.finish(result)
}

/// Reads one datagram of the agent's binary port: a message `emitBatch`.
///
/// # Errors
/// The same as [`decode_batch`], and for any other message.
pub(crate) fn decode_binary_message(body: &[u8], limits: Limits) -> Result<Decoded, IngestError> {
    let mut reader = Reader::new(body, limits, "a Jaeger message in thrift's binary protocol");
    let mut protocol = TBinaryInputProtocol::with_config(body, false, configuration(body));
    let result = reader.message(&mut protocol);
    reader.finish(result)
}

/// No text, list or map can be longer than the body.
fn configuration(body: &[u8]) -> TConfiguration {
    let bytes = Some(body.len().max(1));
    TConfiguration::builder()
        .max_frame_size(bytes)
        .max_message_size(bytes)
        .max_container_size(bytes)
        .max_string_size(bytes)
        .max_recursion_depth(Some(DEPTH))
        .build()
        .unwrap_or_default()
}

/// Why reading ended early.
pub(super) enum Stop {
    /// The bytes are not valid thrift.
    Thrift(thrift::Error),
    /// Valid thrift, but not the expected message.
    Message(String),
    Spans,
    Values,
}

impl From<thrift::Error> for Stop {
    fn from(error: thrift::Error) -> Self {
        Self::Thrift(error)
    }
}

pub(super) struct Reader {
    decoded: Decoded,
    limits: Limits,
    /// How many more tags, logs and references are allowed.
    values_left: usize,
    bytes: usize,
    format: &'static str,
    scopes: Latest<Scope>,
}

/// Reads the fields of a structure. `read` returns `false` for a field that it did not read.
pub(super) fn each_field<P: TInputProtocol>(
    protocol: &mut P,
    mut read: impl FnMut(&mut P, i16, TType) -> Result<bool, Stop>,
) -> Result<(), Stop> {
    protocol.read_struct_begin()?;
    loop {
        let TFieldIdentifier { field_type, id, .. } = protocol.read_field_begin()?;
        if field_type == TType::Stop {
            break;
        }
        if !read(protocol, id.unwrap_or(0), field_type)? {
            protocol.skip(field_type)?;
        }
        protocol.read_field_end()?;
    }
    protocol.read_struct_end()?;
    Ok(())
}

/// The claimed number of structures in a list. A list of other elements is skipped and counts as 0.
pub(super) fn structures<P: TInputProtocol>(protocol: &mut P) -> Result<usize, Stop> {
    let list = protocol.read_list_begin()?;
    let claimed = usize::try_from(list.size).unwrap_or(0);
    if list.element_type == TType::Struct {
        return Ok(claimed);
    }
    for _ in 0..claimed {
        protocol.skip(list.element_type)?;
    }
    Ok(0)
}

/// Reads text and replaces invalid UTF-8, because Go sends any bytes.
pub(super) fn text<P: TInputProtocol>(protocol: &mut P) -> Result<String, Stop> {
    let bytes = protocol.read_bytes()?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

impl Reader {
    fn new(body: &[u8], limits: Limits, format: &'static str) -> Self {
        let decoded = Decoded::default();
        Self {
            decoded,
            limits,
            values_left: limits.values,
            bytes: body.len(),
            format,
            scopes: Latest::default(),
        }
    }

    fn finish(self, result: Result<(), Stop>) -> Result<Decoded, IngestError> {
        let malformed = |reason| IngestError::Malformed { format: self.format, reason };
        match result {
            Ok(()) => Ok(self.decoded),
            Err(Stop::Spans) => Err(IngestError::TooManySpans { limit: self.limits.spans }),
            Err(Stop::Values) => Err(IngestError::TooManyValues { limit: self.limits.values }),
            Err(Stop::Message(reason)) => Err(malformed(reason)),
            Err(Stop::Thrift(thrift::Error::Transport(_))) => {
                Err(malformed("it ends in the middle of a structure".to_owned()))
            }
            Err(Stop::Thrift(error)) => Err(malformed(error.to_string())),
        }
    }

    /// Counts one value against the limit.
    pub(super) fn spend(&mut self) -> Result<(), Stop> {
        self.values_left = self.values_left.checked_sub(1).ok_or(Stop::Values)?;
        Ok(())
    }

    /// Reads one message. The rest of the datagram is padding and ignored.
    fn message<P: TInputProtocol>(&mut self, protocol: &mut P) -> Result<(), Stop> {
        let message = protocol.read_message_begin()?;
        if !matches!(message.message_type, TMessageType::OneWay | TMessageType::Call) {
            return Err(Stop::Message("it is an answer, not a call".to_owned()));
        }
        match message.name.as_str() {
            "emitBatch" => {}
            "emitZipkinBatch" => {
                return Err(Stop::Message(
                    "it carries Zipkin's old thrift spans (emitZipkinBatch); send Jaeger's emitBatch, or \
                     Zipkin's JSON over HTTP"
                        .to_owned(),
                ));
            }
            other => {
                let name: String = other.chars().take(60).collect();
                return Err(Stop::Message(format!("it calls {name:?}; emitBatch is expected")));
            }
        }
        let mut found = false;
        let mut batch_of = |protocol: &mut P, id, kind| {
            let is_batch = id == 1 && kind == TType::Struct;
            if is_batch {
                found = true;
                self.batch(protocol)?;
            }
            Ok(is_batch)
        };
        each_field(protocol, &mut batch_of)?;
        if found { Ok(()) } else { Err(Stop::Message("its call has no batch".to_owned())) }
    }

    /// Reads `Batch { 1: process, 2: spans }`. The process can follow the spans.
    fn batch<P: TInputProtocol>(&mut self, protocol: &mut P) -> Result<(), Stop> {
        let mut process: Option<Arc<Resource>> = None;
        let unknown: Arc<Resource> = Arc::default();
        let first = self.decoded.spans.len();
        let mut has_field = false;
        each_field(protocol, |protocol, id, kind| {
            has_field = true;
            match (id, kind) {
                (1, TType::Struct) => process = Some(Arc::new(self.process(protocol)?)),
                (2, TType::List) => self.spans(protocol, process.as_ref().unwrap_or(&unknown))?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if !has_field {
            return Err(Stop::Message("it is empty: a batch has a process and spans".to_owned()));
        }
        if let Some(process) = process {
            for span in &mut self.decoded.spans[first..] {
                span.resource = process.clone();
            }
        }
        Ok(())
    }

    /// Reads `Process { 1: serviceName, 2: tags }`.
    fn process<P: TInputProtocol>(&mut self, protocol: &mut P) -> Result<Resource, Stop> {
        let (mut service_name, mut tags) = (String::new(), Attributes::default());
        each_field(protocol, |protocol, id, kind| {
            match (id, kind) {
                (1, TType::String) => service_name = text(protocol)?,
                (2, TType::List) => tags = attributes(self, protocol)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(resource(&service_name, tags))
    }

    fn spans<P: TInputProtocol>(&mut self, protocol: &mut P, process: &Arc<Resource>) -> Result<(), Stop> {
        let claimed = structures(protocol)?;
        if claimed + self.decoded.spans.len() + self.decoded.rejected.count > self.limits.spans {
            return Err(Stop::Spans);
        }
        // The claimed number may be far larger than the body allows.
        self.decoded.spans.reserve_exact(claimed.min(self.bytes / SPAN_BYTES));
        for _ in 0..claimed {
            match read_span(self, protocol, process)? {
                Ok(span) => self.keep(span),
                Err(reason) => self.decoded.rejected.add(|| reason),
            }
        }
        Ok(())
    }

    fn keep(&mut self, span: JaegerSpan) {
        self.decoded.spans.push(span.into_span(&mut self.scopes));
    }
}

#[cfg(test)]
mod tests;
