//! Reads `zipkin.proto3.ListOfSpans`, Zipkin v2 as protobuf. Unneeded fields are skipped in place.

use super::{Shared, ZipkinSpan, event};
use crate::wire::{Allowance, Fields, Value, WireError, trace_id};
use crate::{ATTRIBUTES_READ, Decoded, EVENTS_READ, IngestError, Limits};
use pacegate_engine::model::ids::{IdError, SpanId};
use pacegate_engine::model::span::{AttributeValue, Attributes, SpanEvent, SpanKind};

/// Reads a list of Zipkin v2 spans. Tags become attributes; the service name of the local endpoint
/// becomes the resource's `service.name`.
///
/// # Errors
/// [`IngestError`] when the bytes are not such a message or exceed a limit. A span with an unusable
/// id or without a timestamp is rejected alone.
pub(crate) fn decode_v2_protobuf(body: &[u8], limits: Limits) -> Result<Decoded, IngestError> {
    let malformed = |e: WireError| e.into_ingest_error("Zipkin v2 protobuf", limits);
    // Counted first: an empty span takes two bytes on the wire and hundreds in memory.
    if count_spans(body).map_err(malformed)? > limits.spans {
        return Err(IngestError::TooManySpans { limit: limits.spans });
    }
    let mut decoded = Decoded::default();
    let mut shared = Shared::default();
    let mut left = Allowance(limits.values);
    let mut fields = Fields::new(body);
    while let Some((number, value)) = fields.next().map_err(malformed)? {
        let (1, Some(span)) = (number, value.bytes()) else { continue };
        match read_span(span, &mut left).map_err(malformed)? {
            Ok(span) => decoded.spans.push(span.into_span(&mut shared)),
            Err(reason) => decoded.rejected.add(|| reason),
        }
    }
    Ok(decoded)
}

fn count_spans(body: &[u8]) -> Result<usize, WireError> {
    let mut count = 0;
    let mut fields = Fields::new(body);
    while let Some((number, value)) = fields.next()? {
        count += usize::from(number == 1 && value.bytes().is_some());
    }
    Ok(count)
}

fn read_span(message: &[u8], left: &mut Allowance) -> Result<Result<ZipkinSpan, String>, WireError> {
    let (mut trace, mut parent, mut own_id) = (&[][..], &[][..], &[][..]);
    let (mut name, mut kind, mut service) = ("", SpanKind::Unspecified, "");
    let (mut start_us, mut duration_us) = (0, 0);
    let (mut tags, mut events) = (Attributes::default(), Vec::new());
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => trace = bytes,
            (2, Value::Bytes(bytes)) => parent = bytes,
            (3, Value::Bytes(bytes)) => own_id = bytes,
            (4, Value::Varint(number)) => kind = span_kind(number),
            (5, value) => name = value.text()?.unwrap_or_default(),
            (6, Value::Fixed64(time)) => start_us = time,
            (7, Value::Varint(time)) => duration_us = time,
            (8, Value::Bytes(endpoint)) => service = service_name(endpoint)?,
            (10, Value::Bytes(message)) if events.len() < EVENTS_READ => {
                events.extend(read_annotation(message, left)?);
            }
            (11, Value::Bytes(message)) if tags.0.len() < ATTRIBUTES_READ => {
                read_tag(message, &mut tags, left)?;
            }
            _ => {}
        }
    }
    let ids = || -> Result<_, IdError> {
        // Some producers write a parent of zeros when there is no parent.
        let has_parent = parent.iter().any(|b| *b != 0);
        let parent = has_parent.then(|| SpanId::from_bytes(parent)).transpose()?;
        Ok((trace_id(trace)?, SpanId::from_bytes(own_id)?, parent))
    };
    let (trace_id, span_id, parent_span_id) = match ids() {
        Ok(ids) => ids,
        Err(error) => return Ok(Err(error.to_string())),
    };
    // A start of 1970 would stretch the whole trace.
    if start_us == 0 {
        return Ok(Err("a span has no timestamp".to_owned()));
    }
    Ok(Ok(ZipkinSpan {
        trace_id,
        span_id,
        parent_span_id,
        name: name.to_owned(),
        kind,
        start_ns: nanoseconds(start_us),
        duration_ns: nanoseconds(duration_us),
        tags,
        events,
        service: service.to_owned(),
    }))
}

fn span_kind(number: u64) -> SpanKind {
    match number {
        1 => SpanKind::Client,
        2 => SpanKind::Server,
        3 => SpanKind::Producer,
        4 => SpanKind::Consumer,
        _ => SpanKind::Unspecified,
    }
}

/// Converts microseconds to nanoseconds. Values that do not fit saturate.
fn nanoseconds(micros: u64) -> i64 {
    i64::try_from(micros.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

fn service_name(endpoint: &[u8]) -> Result<&str, WireError> {
    let mut name = "";
    let mut fields = Fields::new(endpoint);
    while let Some((number, value)) = fields.next()? {
        if number == 1 {
            name = value.text()?.unwrap_or_default();
        }
    }
    Ok(name)
}

/// `None` for an annotation without text, which takes two bytes on the wire.
fn read_annotation(message: &[u8], left: &mut Allowance) -> Result<Option<SpanEvent>, WireError> {
    left.spend()?;
    let (mut time_us, mut text) = (0, "");
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Fixed64(time)) => time_us = time,
            (2, value) => text = value.text()?.unwrap_or_default(),
            _ => {}
        }
    }
    if text.is_empty() {
        return Ok(None);
    }
    let event = event(nanoseconds(time_us), text.to_owned());
    for _ in &event.attributes.0 {
        left.spend()?;
    }
    Ok(Some(event))
}

/// Reads one entry of the map. An entry without a key is skipped.
fn read_tag(message: &[u8], into: &mut Attributes, left: &mut Allowance) -> Result<(), WireError> {
    left.spend()?;
    let (mut key, mut text) = ("", "");
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => key = value.text()?.unwrap_or_default(),
            2 => text = value.text()?.unwrap_or_default(),
            _ => {}
        }
    }
    if !key.is_empty() {
        into.0.push((key.to_owned(), AttributeValue::String(text.to_owned())));
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

    fn time(number: u8, us: u64) -> Vec<u8> {
        [&[number << 3 | 1][..], &us.to_le_bytes()].concat()
    }

    #[test]
    fn needed_fields_are_read() {
        let annotation = [time(1, 3), bytes(2, b"stage-started")].concat();
        let tag = [bytes(1, b"error"), bytes(2, b"boom")].concat();
        let span = [
            bytes(1, &[1; 8]),
            bytes(2, &[0; 8]),
            bytes(3, &[2; 8]),
            vec![4 << 3, 4],
            bytes(5, b"deploy"),
            time(6, 1),
            vec![7 << 3, 5],
            bytes(8, &bytes(1, b"engine")),
            bytes(10, &annotation),
            bytes(10, &[]),
            bytes(11, &tag),
            bytes(11, &[]),
        ]
        .concat();
        let body = [bytes(1, &span), bytes(1, &[]), bytes(1, &span[..22])].concat();
        let decoded = decode_v2_protobuf(&body, Limits::default()).expect("readable");
        assert_eq!((decoded.spans.len(), decoded.rejected.count), (1, 2));
        let span = &decoded.spans[0];
        assert_eq!(span.trace_id.to_string(), format!("{}{}", "0".repeat(16), "01".repeat(8)));
        assert_eq!((span.parent_span_id, span.kind), (None, SpanKind::Consumer));
        assert_eq!((span.start_ns, span.end_ns, span.failed()), (1_000, 6_000, true));
        assert_eq!(span.text(&["service.name"]).as_deref(), Some("engine"));
        assert_eq!((span.events.len(), span.events[0].time_ns), (1, 3_000));
        let few = Limits { spans: 2, ..Limits::default() };
        assert_eq!(decode_v2_protobuf(&body, few), Err(IngestError::TooManySpans { limit: 2 }));
        let few = Limits { values: 2, ..Limits::default() };
        assert_eq!(decode_v2_protobuf(&body, few), Err(IngestError::TooManyValues { limit: 2 }));
        assert!(decode_v2_protobuf(&body[..body.len() - 1], Limits::default()).is_err());
    }
}
