//! Reads the thrift structures of spans, tags, logs and references, with the field numbers of Jaeger's
//! IDL. A tag's declared type decides which of its value fields is used.

use std::sync::Arc;

use thrift::protocol::{TInputProtocol, TType};

use super::thrift::{Reader, Stop, each_field, structures, text};
use super::{JaegerSpan, Reference, Relation, event, nanoseconds};
use crate::{ATTRIBUTES_READ, EVENTS_READ};
use pacegate_engine::model::ids::{SpanId, TraceId};
use pacegate_engine::model::span::{AttributeValue, Attributes, Resource, SpanEvent};

/// Reads one span, or the reason why it is unusable.
pub(super) fn read_span<P: TInputProtocol>(
    reader: &mut Reader,
    protocol: &mut P,
    resource: &Arc<Resource>,
) -> Result<Result<JaegerSpan, String>, Stop> {
    let (mut trace_low, mut trace_high, mut own_id, mut parent_id) = (0, 0, 0, 0);
    let (mut name, mut start, mut duration) = (String::new(), None, 0);
    let (mut references, mut tags, mut events) = (Vec::new(), Attributes::default(), Vec::new());
    each_field(protocol, |protocol, id, kind| {
        match (id, kind) {
            (1, TType::I64) => trace_low = protocol.read_i64()?,
            (2, TType::I64) => trace_high = protocol.read_i64()?,
            (3, TType::I64) => own_id = protocol.read_i64()?,
            (4, TType::I64) => parent_id = protocol.read_i64()?,
            (5, TType::String) => name = text(protocol)?,
            (6, TType::List) => references = read_references(reader, protocol)?,
            (8, TType::I64) => start = Some(protocol.read_i64()?),
            (9, TType::I64) => duration = protocol.read_i64()?,
            (10, TType::List) => tags = attributes(reader, protocol)?,
            (11, TType::List) => events = read_logs(reader, protocol)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let ids = trace_id(trace_high, trace_low).and_then(|trace| Ok((trace, span_id(own_id)?)));
    let (trace_id, span_id_) = match ids {
        Ok(ids) => ids,
        Err(error) => return Ok(Err(error.to_string())),
    };
    // A start of 1970 would stretch the whole trace.
    let Some(start) = start else { return Ok(Err("a span has no start time".to_owned())) };
    Ok(Ok(JaegerSpan {
        trace_id,
        span_id: span_id_,
        // In thrift, zero means that there is no parent.
        parent_span_id: span_id(parent_id).ok(),
        name,
        references,
        start_ns: nanoseconds(start),
        duration_ns: nanoseconds(duration),
        tags,
        events,
        resource: resource.clone(),
    }))
}

fn trace_id(high: i64, low: i64) -> Result<TraceId, pacegate_engine::model::ids::IdError> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&high.to_be_bytes());
    bytes[8..].copy_from_slice(&low.to_be_bytes());
    TraceId::from_bytes(&bytes)
}

fn span_id(id: i64) -> Result<SpanId, pacegate_engine::model::ids::IdError> {
    SpanId::from_bytes(&id.to_be_bytes())
}

/// Reads references. A reference with an unusable id is skipped.
fn read_references<P: TInputProtocol>(reader: &mut Reader, protocol: &mut P) -> Result<Vec<Reference>, Stop> {
    let mut references = Vec::new();
    for _ in 0..structures(protocol)? {
        reader.spend()?;
        let (mut relation, mut low, mut high, mut of_span) = (Relation::Other, 0, 0, 0);
        each_field(protocol, |protocol, id, kind| {
            match (id, kind) {
                (1, TType::I32) => {
                    relation = match protocol.read_i32()? {
                        0 => Relation::ChildOf,
                        1 => Relation::FollowsFrom,
                        _ => Relation::Other,
                    }
                }
                (2, TType::I64) => low = protocol.read_i64()?,
                (3, TType::I64) => high = protocol.read_i64()?,
                (4, TType::I64) => of_span = protocol.read_i64()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if let (Ok(trace_id), Ok(span_id), true) =
            (trace_id(high, low), span_id(of_span), references.len() < EVENTS_READ)
        {
            references.push(Reference { relation, trace_id, span_id });
        }
    }
    Ok(references)
}

/// Reads logs. An empty log is skipped: it takes one byte on the wire.
fn read_logs<P: TInputProtocol>(reader: &mut Reader, protocol: &mut P) -> Result<Vec<SpanEvent>, Stop> {
    let mut events = Vec::new();
    for _ in 0..structures(protocol)? {
        reader.spend()?;
        let (mut time_ns, mut fields) = (0, Attributes::default());
        each_field(protocol, |protocol, id, kind| {
            match (id, kind) {
                (1, TType::I64) => time_ns = nanoseconds(protocol.read_i64()?),
                (2, TType::List) => fields = attributes(reader, protocol)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if events.len() < EVENTS_READ && !fields.0.is_empty() {
            events.push(event(time_ns, fields));
        }
    }
    Ok(events)
}

/// Reads tags. A tag without a key is skipped: it takes one byte on the wire.
pub(super) fn attributes<P: TInputProtocol>(
    reader: &mut Reader,
    protocol: &mut P,
) -> Result<Attributes, Stop> {
    let mut attributes = Attributes::default();
    for _ in 0..structures(protocol)? {
        reader.spend()?;
        let (key, value) = read_tag(protocol)?;
        if !key.is_empty() && attributes.0.len() < ATTRIBUTES_READ {
            attributes.0.push((key, value));
        }
    }
    Ok(attributes)
}

fn read_tag<P: TInputProtocol>(protocol: &mut P) -> Result<(String, AttributeValue), Stop> {
    let (mut key, mut v_type) = (String::new(), None);
    // The field of the declared type is used, else the last field.
    let (mut values, mut last): ([Option<AttributeValue>; 5], usize) = Default::default();
    each_field(protocol, |protocol, id, kind| {
        let (at, value) = match (id, kind) {
            (1, TType::String) => {
                key = text(protocol)?;
                return Ok(true);
            }
            (2, TType::I32) => {
                v_type = usize::try_from(protocol.read_i32()?).ok();
                return Ok(true);
            }
            (3, TType::String) => (0, AttributeValue::String(text(protocol)?)),
            (4, TType::Double) => (1, AttributeValue::Double(protocol.read_double()?)),
            (5, TType::Bool) => (2, AttributeValue::Bool(protocol.read_bool()?)),
            (6, TType::I64) => (3, AttributeValue::Int(protocol.read_i64()?)),
            (7, TType::String) => (4, AttributeValue::Bytes(protocol.read_bytes()?)),
            _ => return Ok(false),
        };
        (values[at], last) = (Some(value), at);
        Ok(true)
    })?;
    let typed = v_type.and_then(|at| values.get_mut(at)?.take());
    let value = match (typed, v_type) {
        (Some(value), _) => value,
        // Some writers leave out an empty text.
        (None, Some(0)) if values.iter().all(Option::is_none) => AttributeValue::String(String::new()),
        (None, _) => values[last].take().unwrap_or(AttributeValue::Empty),
    };
    Ok((key, value))
}
