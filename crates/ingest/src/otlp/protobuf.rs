//! Reads `ExportTraceServiceRequest` from protobuf directly into spans, without an owned message in
//! between. Unneeded fields are skipped in place.

use std::sync::Arc;

use super::{nanoseconds, span_kind};
use crate::wire::{Allowance, Fields, Value, WireError};
use crate::{ATTRIBUTES_READ, Decoded, EVENTS_READ, IngestError, Limits, VALUE_DEPTH};
use pacegate_engine::model::ids::{IdError, SpanId, TraceId};
use pacegate_engine::model::span::{
    AttributeValue, Attributes, Dropped, Resource, Scope, Span, SpanEvent, SpanKind, SpanLink, SpanStatus,
};

/// Reads an OTLP request.
///
/// # Errors
/// [`IngestError`] when the bytes are not such a message or exceed a limit. A span with an unusable
/// id is rejected alone.
pub fn decode_protobuf(body: &[u8], limits: Limits) -> Result<Decoded, IngestError> {
    let malformed = |e: WireError| malformed(e, limits);
    // Counted first: an empty span takes two bytes on the wire and hundreds in memory.
    if count_spans(body).map_err(malformed)? > limits.spans {
        return Err(IngestError::TooManySpans { limit: limits.spans });
    }
    let mut decoded = Decoded::default();
    let mut left = Allowance(limits.values);
    let mut fields = Fields::new(body);
    while let Some((number, value)) = fields.next().map_err(malformed)? {
        if let (1, Some(resource_spans)) = (number, value.bytes()) {
            read_resource_spans(resource_spans, &mut decoded, &mut left).map_err(malformed)?;
        }
    }
    Ok(decoded)
}

pub(super) fn malformed(error: WireError, limits: Limits) -> IngestError {
    error.into_ingest_error("OTLP protobuf", limits)
}

/// The resource and scope of spans.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the fields need no more than their names")]
pub struct Origin {
    pub resource: Arc<Resource>,
    pub scope: Arc<Scope>,
}

pub(super) fn count_spans(body: &[u8]) -> Result<usize, WireError> {
    let mut count = 0;
    let mut request = Fields::new(body);
    while let Some((number, value)) = request.next()? {
        let (1, Some(resource_spans)) = (number, value.bytes()) else { continue };
        let mut fields = Fields::new(resource_spans);
        while let Some((number, value)) = fields.next()? {
            let (2, Some(scope_spans)) = (number, value.bytes()) else { continue };
            let mut fields = Fields::new(scope_spans);
            while let Some((number, value)) = fields.next()? {
                count += usize::from(number == 2 && value.bytes().is_some());
            }
        }
    }
    Ok(count)
}

fn read_resource_spans(message: &[u8], decoded: &mut Decoded, left: &mut Allowance) -> Result<(), WireError> {
    let resource = read_resource(message, left)?;
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        let (2, Some(scope_spans)) = (number, value.bytes()) else { continue };
        let origin = Origin { resource: resource.clone(), scope: read_scope(scope_spans, left)? };
        let mut fields = Fields::new(scope_spans);
        while let Some((number, value)) = fields.next()? {
            if let (2, Some(span)) = (number, value.bytes()) {
                read_span(span, &origin, decoded, left)?;
            }
        }
    }
    Ok(())
}

/// Reads the resource of a group of spans. On the wire it can follow the spans.
pub(super) fn read_resource(resource_spans: &[u8], left: &mut Allowance) -> Result<Arc<Resource>, WireError> {
    left.spend()?;
    let mut resource = Resource::default();
    let mut fields = Fields::new(resource_spans);
    while let Some((number, value)) = fields.next()? {
        if let (1, Some(message)) = (number, value.bytes()) {
            let mut fields = Fields::new(message);
            while let Some((number, value)) = fields.next()? {
                match (number, value) {
                    (1, value) => read_attribute(value, &mut resource.attributes, VALUE_DEPTH, left)?,
                    (2, Value::Varint(count)) => resource.dropped_attributes = saturated(count),
                    _ => {}
                }
            }
        }
    }
    Ok(Arc::new(resource))
}

/// Reads the scope of a group of spans. On the wire it can follow the spans.
pub(super) fn read_scope(scope_spans: &[u8], left: &mut Allowance) -> Result<Arc<Scope>, WireError> {
    left.spend()?;
    let (mut name, mut version) = ("", "");
    let mut fields = Fields::new(scope_spans);
    while let Some((number, value)) = fields.next()? {
        let (1, Some(message)) = (number, value.bytes()) else { continue };
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => name = value.text()?.unwrap_or_default(),
                2 => version = value.text()?.unwrap_or_default(),
                _ => {}
            }
        }
    }
    Ok(Arc::new(Scope { name: name.to_owned(), version: version.to_owned() }))
}

fn saturated(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

pub(super) fn read_span(
    message: &[u8],
    origin: &Origin,
    decoded: &mut Decoded,
    left: &mut Allowance,
) -> Result<(), WireError> {
    let (mut trace_id, mut span_id, mut parent_span_id) = (&[][..], &[][..], &[][..]);
    let (mut name, mut kind, mut start_ns, mut end_ns) = ("", SpanKind::Unspecified, 0, 0);
    let (mut attributes, mut events, mut links) = (Attributes::default(), Vec::new(), Vec::new());
    let (mut status, mut trace_state, mut dropped) = (SpanStatus::Unset, "", Dropped::default());
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => trace_id = bytes,
            (2, Value::Bytes(bytes)) => span_id = bytes,
            (3, value) => trace_state = value.text()?.unwrap_or_default(),
            (4, Value::Bytes(bytes)) => parent_span_id = bytes,
            (5, value) => name = value.text()?.unwrap_or_default(),
            (6, Value::Varint(number)) => kind = span_kind(i64::try_from(number).unwrap_or(0)),
            (7, Value::Fixed64(time)) => start_ns = nanoseconds(time),
            (8, Value::Fixed64(time)) => end_ns = nanoseconds(time),
            (9, value) => read_attribute(value, &mut attributes, VALUE_DEPTH, left)?,
            (10, Value::Varint(count)) => dropped.attributes = saturated(count),
            (11, Value::Bytes(event)) if events.len() < EVENTS_READ => events.push(read_event(event, left)?),
            (12, Value::Varint(count)) => dropped.events = saturated(count),
            (13, Value::Bytes(link)) if links.len() < EVENTS_READ => links.extend(read_link(link, left)?),
            (14, Value::Varint(count)) => dropped.links = saturated(count),
            (15, Value::Bytes(message)) => status = read_status(message)?,
            _ => {}
        }
    }
    let ids = || -> Result<_, IdError> {
        let parent = (!parent_span_id.is_empty()).then(|| SpanId::from_bytes(parent_span_id)).transpose()?;
        Ok((TraceId::from_bytes(trace_id)?, SpanId::from_bytes(span_id)?, parent))
    };
    match ids() {
        Ok((trace_id, span_id, parent_span_id)) => decoded.spans.push(Span {
            trace_id,
            span_id,
            parent_span_id,
            name: name.to_owned(),
            kind,
            start_ns,
            end_ns,
            status,
            attributes,
            events,
            links,
            dropped,
            trace_state: trace_state.to_owned(),
            scope: origin.scope.clone(),
            resource: origin.resource.clone(),
        }),
        Err(error) => decoded.rejected.add(|| error.to_string()),
    }
    Ok(())
}

fn read_event(message: &[u8], left: &mut Allowance) -> Result<SpanEvent, WireError> {
    left.spend()?;
    let (name, attributes) = (String::new(), Attributes::default());
    let mut event = SpanEvent { name, time_ns: 0, attributes, dropped_attributes: 0 };
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Fixed64(time)) => event.time_ns = nanoseconds(time),
            (2, value) => value.text()?.unwrap_or_default().clone_into(&mut event.name),
            (3, value) => read_attribute(value, &mut event.attributes, VALUE_DEPTH, left)?,
            (4, Value::Varint(count)) => event.dropped_attributes = saturated(count),
            _ => {}
        }
    }
    Ok(event)
}

/// `None` for a link with an unusable id.
fn read_link(message: &[u8], left: &mut Allowance) -> Result<Option<SpanLink>, WireError> {
    left.spend()?;
    let (mut trace_id, mut span_id, mut attributes) = (&[][..], &[][..], Attributes::default());
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => trace_id = bytes,
            (2, Value::Bytes(bytes)) => span_id = bytes,
            (4, value) => read_attribute(value, &mut attributes, VALUE_DEPTH, left)?,
            _ => {}
        }
    }
    Ok(match (TraceId::from_bytes(trace_id), SpanId::from_bytes(span_id)) {
        (Ok(trace_id), Ok(span_id)) => Some(SpanLink { trace_id, span_id, attributes }),
        _ => None,
    })
}

fn read_status(message: &[u8]) -> Result<SpanStatus, WireError> {
    let (mut description, mut code) = ("", 0);
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (2, value) => description = value.text()?.unwrap_or_default(),
            (3, Value::Varint(number)) => code = number,
            _ => {}
        }
    }
    Ok(match code {
        1 => SpanStatus::Ok,
        2 => SpanStatus::Error(description.to_owned()),
        _ => SpanStatus::Unset,
    })
}

fn read_attribute(
    value: Value<'_>,
    into: &mut Attributes,
    depth: usize,
    left: &mut Allowance,
) -> Result<(), WireError> {
    let Some(message) = value.bytes() else { return Ok(()) };
    if into.0.len() >= ATTRIBUTES_READ {
        return Ok(());
    }
    left.spend()?;
    let (mut key, mut any) = ("", AttributeValue::Empty);
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, value) => key = value.text()?.unwrap_or_default(),
            (2, Value::Bytes(message)) => any = read_value(message, depth, left)?,
            _ => {}
        }
    }
    // An attribute without a key is useless and takes only two bytes on the wire.
    if !key.is_empty() {
        into.0.push((key.to_owned(), any));
    }
    Ok(())
}

fn read_value(message: &[u8], depth: usize, left: &mut Allowance) -> Result<AttributeValue, WireError> {
    if depth == 0 {
        return Ok(AttributeValue::Empty);
    }
    let mut any = AttributeValue::Empty;
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        any = match (number, value) {
            (1, value) => AttributeValue::String(value.text()?.unwrap_or_default().to_owned()),
            (2, Value::Varint(number)) => AttributeValue::Bool(number != 0),
            (3, Value::Varint(number)) => AttributeValue::Int(number.cast_signed()),
            (4, Value::Fixed64(bits)) => AttributeValue::Double(f64::from_bits(bits)),
            (5, Value::Bytes(list)) => {
                let mut values = Vec::new();
                let mut fields = Fields::new(list);
                while let Some((number, value)) = fields.next()? {
                    if let (1, Some(message), true) = (number, value.bytes(), values.len() < ATTRIBUTES_READ)
                    {
                        left.spend()?;
                        values.push(read_value(message, depth - 1, left)?);
                    }
                }
                AttributeValue::Array(values)
            }
            (6, Value::Bytes(list)) => {
                let mut map = Attributes::default();
                let mut fields = Fields::new(list);
                while let Some((number, value)) = fields.next()? {
                    if number == 1 {
                        read_attribute(value, &mut map, depth - 1, left)?;
                    }
                }
                AttributeValue::Map(map)
            }
            (7, Value::Bytes(bytes)) => AttributeValue::Bytes(bytes.to_vec()),
            _ => continue,
        };
    }
    Ok(any)
}

#[cfg(test)]
mod tests;
