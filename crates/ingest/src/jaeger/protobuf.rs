//! Reads `jaeger.api_v2.PostSpansRequest`, which Jaeger's clients send over gRPC. The parent is always a
//! reference, and a span can have its own process. Unneeded fields are skipped in place.

use std::sync::Arc;

use super::{JaegerSpan, Reference, Relation, event, resource};
use crate::tagged::Latest;
use crate::wire::{Allowance, Fields, Value, WireError, trace_id};
use crate::{ATTRIBUTES_READ, Decoded, EVENTS_READ, IngestError, Limits};
use pacegate_engine::model::ids::SpanId;
use pacegate_engine::model::span::{AttributeValue, Attributes, Resource, Scope, SpanEvent};

const FORMAT: &str = "a Jaeger PostSpansRequest";

/// Reads a request of Jaeger's `CollectorService.PostSpans`.
///
/// # Errors
/// [`IngestError`] when the bytes are not such a message or exceed a limit. A span with an unusable
/// id or without a start is rejected alone.
pub(crate) fn decode_protobuf(body: &[u8], limits: Limits) -> Result<Decoded, IngestError> {
    let malformed = |e: WireError| e.into_ingest_error(FORMAT, limits);
    // Counted first: an empty span takes two bytes on the wire and hundreds in memory.
    if count_spans(body).map_err(malformed)? > limits.spans {
        return Err(IngestError::TooManySpans { limit: limits.spans });
    }
    let mut decoded = Decoded::default();
    let mut left = Allowance(limits.values);
    let mut fields = Fields::new(body);
    while let Some((number, value)) = fields.next().map_err(malformed)? {
        if let (1, Some(batch)) = (number, value.bytes()) {
            read_batch(batch, &mut decoded, &mut left).map_err(malformed)?;
        }
    }
    Ok(decoded)
}

fn count_spans(body: &[u8]) -> Result<usize, WireError> {
    let mut count = 0;
    let mut request = Fields::new(body);
    while let Some((number, value)) = request.next()? {
        let (1, Some(batch)) = (number, value.bytes()) else { continue };
        let mut fields = Fields::new(batch);
        while let Some((number, value)) = fields.next()? {
            count += usize::from(number == 1 && value.bytes().is_some());
        }
    }
    Ok(count)
}

/// Reads a batch. The process follows the spans on the wire, so it is read first.
fn read_batch(batch: &[u8], decoded: &mut Decoded, left: &mut Allowance) -> Result<(), WireError> {
    left.spend()?;
    let mut processes = Latest::default();
    let mut fields = Fields::new(batch);
    while let Some((number, value)) = fields.next()? {
        if let (2, Some(process)) = (number, value.bytes()) {
            processes.share(read_process(process, left)?);
        }
    }
    let of_batch: Arc<Resource> = processes.latest();
    let mut scopes = Latest::<Scope>::default();
    let mut fields = Fields::new(batch);
    while let Some((number, value)) = fields.next()? {
        let (1, Some(span)) = (number, value.bytes()) else { continue };
        match read_span(span, &of_batch, &mut processes, left)? {
            Ok(span) => decoded.spans.push(span.into_span(&mut scopes)),
            Err(reason) => decoded.rejected.add(|| reason),
        }
    }
    Ok(())
}

fn read_process(message: &[u8], left: &mut Allowance) -> Result<Resource, WireError> {
    left.spend()?;
    let (mut service_name, mut tags) = ("", Attributes::default());
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => service_name = value.text()?.unwrap_or_default(),
            2 => read_tag(value, &mut tags, left)?,
            _ => {}
        }
    }
    Ok(resource(service_name, tags))
}

fn read_span(
    message: &[u8],
    of_batch: &Arc<Resource>,
    processes: &mut Latest<Resource>,
    left: &mut Allowance,
) -> Result<Result<JaegerSpan, String>, WireError> {
    let (mut trace, mut own_id, mut name) = (&[][..], &[][..], "");
    let (mut start_ns, mut duration_ns, mut process) = (None, 0, None);
    let (mut references, mut tags, mut events) = (Vec::new(), Attributes::default(), Vec::new());
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => trace = bytes,
            (2, Value::Bytes(bytes)) => own_id = bytes,
            (3, value) => name = value.text()?.unwrap_or_default(),
            (4, Value::Bytes(message)) if references.len() < EVENTS_READ => {
                references.extend(read_reference(message, left)?);
            }
            (6, Value::Bytes(message)) => start_ns = Some(read_time(message)?),
            (7, Value::Bytes(message)) => duration_ns = read_time(message)?,
            (8, value) => read_tag(value, &mut tags, left)?,
            (9, Value::Bytes(message)) if events.len() < EVENTS_READ => {
                events.extend(read_log(message, left)?);
            }
            (10, Value::Bytes(message)) => process = Some(message),
            _ => {}
        }
    }
    let ids = trace_id(trace).and_then(|trace| Ok((trace, SpanId::from_bytes(own_id)?)));
    let (trace_id, span_id) = match ids {
        Ok(ids) => ids,
        Err(error) => return Ok(Err(error.to_string())),
    };
    // A start of 1970 would stretch the whole trace.
    let Some(start_ns) = start_ns else { return Ok(Err("a span has no start time".to_owned())) };
    let resource = match process {
        Some(message) => processes.share(read_process(message, left)?),
        None => of_batch.clone(),
    };
    let name = name.to_owned();
    let parent_span_id = None;
    Ok(Ok(JaegerSpan {
        trace_id,
        span_id,
        parent_span_id,
        name,
        references,
        start_ns,
        duration_ns,
        tags,
        events,
        resource,
    }))
}

/// Reads a `Timestamp` or `Duration`, both seconds and nanoseconds, as nanoseconds.
fn read_time(message: &[u8]) -> Result<i64, WireError> {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Varint(number)) => seconds = number.cast_signed(),
            (2, Value::Varint(number)) => nanos = number.cast_signed(),
            _ => {}
        }
    }
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// `None` for a reference with an unusable id.
fn read_reference(message: &[u8], left: &mut Allowance) -> Result<Option<Reference>, WireError> {
    left.spend()?;
    let (mut trace, mut span, mut relation) = (&[][..], &[][..], Relation::ChildOf);
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => trace = bytes,
            (2, Value::Bytes(bytes)) => span = bytes,
            (3, Value::Varint(0)) => relation = Relation::ChildOf,
            (3, Value::Varint(1)) => relation = Relation::FollowsFrom,
            (3, Value::Varint(_)) => relation = Relation::Other,
            _ => {}
        }
    }
    Ok(match (trace_id(trace), SpanId::from_bytes(span)) {
        (Ok(trace_id), Ok(span_id)) => Some(Reference { relation, trace_id, span_id }),
        _ => None,
    })
}

/// `None` for an empty log.
fn read_log(message: &[u8], left: &mut Allowance) -> Result<Option<SpanEvent>, WireError> {
    left.spend()?;
    let (mut time_ns, mut tags) = (0, Attributes::default());
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Bytes(message)) => time_ns = read_time(message)?,
            (2, value) => read_tag(value, &mut tags, left)?,
            _ => {}
        }
    }
    Ok((!tags.0.is_empty()).then(|| event(time_ns, tags)))
}

/// Reads a tag. Its declared type decides which value field is used. A tag without a key is skipped:
/// it takes two bytes on the wire.
fn read_tag(value: Value<'_>, into: &mut Attributes, left: &mut Allowance) -> Result<(), WireError> {
    let Some(message) = value.bytes() else { return Ok(()) };
    if into.0.len() >= ATTRIBUTES_READ {
        return Ok(());
    }
    left.spend()?;
    let (mut key, mut v_type, mut text, mut binary) = ("", 0, "", &[][..]);
    let (mut boolean, mut integer, mut double) = (false, 0, 0.0);
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, value) => key = value.text()?.unwrap_or_default(),
            (2, Value::Varint(number)) => v_type = number,
            (3, value) => text = value.text()?.unwrap_or_default(),
            (4, Value::Varint(number)) => boolean = number != 0,
            (5, Value::Varint(number)) => integer = number.cast_signed(),
            (6, Value::Fixed64(bits)) => double = f64::from_bits(bits),
            (7, Value::Bytes(bytes)) => binary = bytes,
            _ => {}
        }
    }
    let value = match v_type {
        0 => AttributeValue::String(text.to_owned()),
        1 => AttributeValue::Bool(boolean),
        2 => AttributeValue::Int(integer),
        3 => AttributeValue::Double(double),
        4 => AttributeValue::Bytes(binary.to_vec()),
        _ => AttributeValue::Empty,
    };
    if !key.is_empty() {
        into.0.push((key.to_owned(), value));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        let low = u8::try_from(content.len() % 128).expect("seven bits") | 0x80;
        let high = u8::try_from(content.len() / 128).expect("a short field");
        [&[number << 3 | 2, low, high][..], content].concat()
    }

    #[test]
    fn reference_is_parent_and_own_process_wins() {
        let reference = |span: u8, relation: u8| {
            bytes(4, &[bytes(1, &[1; 16]), bytes(2, &[span; 8]), vec![3 << 3, relation]].concat())
        };
        let span =
            [bytes(1, &[1; 16]), bytes(2, &[2; 8]), bytes(6, &[8, 1, 16, 5]), bytes(7, &[16, 7])].concat();
        let own = bytes(10, &bytes(1, b"own"));
        let spans = [
            bytes(1, &[span.clone(), reference(3, 1), reference(4, 0)].concat()),
            bytes(1, &[span.clone(), reference(3, 1), own].concat()),
            bytes(1, &span[..19]),
        ];
        let body = bytes(1, &[spans.concat(), bytes(2, &bytes(1, b"of the batch"))].concat());
        let decoded = decode_protobuf(&body, Limits::default()).expect("readable");
        assert_eq!((decoded.spans.len(), decoded.rejected.count), (2, 1));
        for (at, parent, links, service) in [(0, 4, vec![3], "of the batch"), (1, 3, vec![], "own")] {
            let span = &decoded.spans[at];
            assert_eq!(span.parent_span_id.map(|id| id.as_bytes()[0]), Some(parent));
            assert_eq!(span.links.iter().map(|l| l.span_id.as_bytes()[0]).collect::<Vec<_>>(), links);
            assert_eq!(span.text(&["service.name"]).as_deref(), Some(service));
            assert_eq!((span.start_ns, span.end_ns), (1_000_000_005, 1_000_000_012));
        }
        let few = Limits { spans: 2, ..Limits::default() };
        assert_eq!(decode_protobuf(&body, few), Err(IngestError::TooManySpans { limit: 2 }));
        let few = Limits { values: 2, ..Limits::default() };
        assert_eq!(decode_protobuf(&body, few), Err(IngestError::TooManyValues { limit: 2 }));
        assert!(decode_protobuf(&body[..body.len() - 1], Limits::default()).is_err());
    }
}
