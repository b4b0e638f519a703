//! Reads `ExportTraceServiceRequest` from OTLP JSON. Ids are hexadecimal in upper or lower case,
//! unknown fields are skipped, and `null` means absent. The content is counted before it is kept.

use std::sync::Arc;

use super::json_message::{
    Any, AnyValue, CountRequest, Event, KeyValue, Link, Request, ResourceSpans, ScopeSpans, WireEvent,
    WireKeyValue, WireLink, WireSpan,
};
use super::{nanoseconds, span_kind};
use crate::bounded::{Bounded, Gather, check_values};
use crate::lenient::{Double, Integer};
use crate::{ATTRIBUTES_READ, Decoded, IngestError, Limits, VALUE_DEPTH};
use pacegate_engine::model::ids::{IdError, SpanId, TraceId};
use pacegate_engine::model::span::{
    AttributeValue, Attributes, Dropped, Resource, Scope, Span, SpanEvent, SpanLink, SpanStatus,
};

/// Reads an OTLP request: one JSON document.
///
/// # Errors
/// [`IngestError`] when the text is not such a document or exceeds a limit. A span with an unusable
/// id is rejected alone.
pub fn decode_json(body: &[u8], limits: Limits) -> Result<Decoded, IngestError> {
    let malformed =
        |e: serde_json::Error| IngestError::Malformed { format: "OTLP JSON", reason: e.to_string() };
    // Serde would also accept a list of the fields.
    if body.trim_ascii_start().first().is_some_and(|b| *b != b'{') {
        let reason = "an object with `resourceSpans` is expected at line 1".to_owned();
        return Err(IngestError::Malformed { format: "OTLP JSON", reason });
    }
    check_values(body, limits)?;
    let count: CountRequest = serde_json::from_slice(body).map_err(malformed)?;
    count.resource_spans.0.check(limits)?;
    let request: Request = serde_json::from_slice(body).map_err(malformed)?;
    Ok(request.resource_spans.0.0)
}

/// The spans of a request so far.
#[derive(Default)]
pub(super) struct OfRequest(Decoded);

/// The spans of a resource so far. They get the resource when the whole message was read.
#[derive(Default)]
pub(super) struct OfResource(Decoded);

/// The spans of a scope so far. They get the scope when the whole message was read.
#[derive(Default)]
pub(super) struct OfScope {
    decoded: Decoded,
    /// Placeholders until resource and scope are known.
    unknown: (Arc<Resource>, Arc<Scope>),
}

fn append(to: &mut Decoded, more: Decoded) {
    to.spans.extend(more.spans);
    to.rejected.add_many(more.rejected.count, || more.rejected.first_reason.unwrap_or_default());
}

impl Gather<ResourceSpans> for OfRequest {
    fn take(&mut self, resource_spans: ResourceSpans) {
        let wire = resource_spans.resource.unwrap_or_default();
        let resource = Arc::new(Resource {
            attributes: attributes(wire.attributes),
            dropped_attributes: saturated(wire.dropped_attributes_count),
        });
        let first = self.0.spans.len();
        append(&mut self.0, resource_spans.scope_spans.0.0);
        for span in &mut self.0.spans[first..] {
            span.resource = resource.clone();
        }
    }
}

impl Gather<ScopeSpans> for OfResource {
    fn take(&mut self, scope_spans: ScopeSpans) {
        let scope = scope_spans.scope.unwrap_or_default();
        let (name, version) = (scope.name.unwrap_or_default(), scope.version.unwrap_or_default());
        let scope = Arc::new(Scope { name, version });
        let first = self.0.spans.len();
        append(&mut self.0, scope_spans.spans.0.decoded);
        for span in &mut self.0.spans[first..] {
            span.scope = scope.clone();
        }
    }
}

impl Gather<WireSpan> for OfScope {
    fn take(&mut self, span: WireSpan) {
        match read_span(span, &self.unknown.0, &self.unknown.1) {
            Ok(span) => self.decoded.spans.push(span),
            Err(error) => self.decoded.rejected.add(|| error.to_string()),
        }
    }
}

fn saturated(count: Integer) -> u32 {
    u32::try_from(count.0.max(0)).unwrap_or(u32::MAX)
}

fn read_span(span: WireSpan, resource: &Arc<Resource>, scope: &Arc<Scope>) -> Result<Span, IdError> {
    let status = span.status.unwrap_or_default();
    Ok(Span {
        trace_id: span.trace_id.unwrap_or_default().parse::<TraceId>()?,
        span_id: span.span_id.unwrap_or_default().parse::<SpanId>()?,
        parent_span_id: span.parent_span_id.filter(|id| !id.is_empty()).map(|id| id.parse()).transpose()?,
        name: span.name.unwrap_or_default(),
        kind: span_kind(span.kind.0),
        start_ns: nanoseconds(span.start_time_unix_nano.0.cast_unsigned()),
        end_ns: nanoseconds(span.end_time_unix_nano.0.cast_unsigned()),
        status: match status.code.0 {
            1 => SpanStatus::Ok,
            2 => SpanStatus::Error(status.message.unwrap_or_default()),
            _ => SpanStatus::Unset,
        },
        attributes: attributes(span.attributes),
        events: span.events.kept.into_iter().map(|Event(event)| event).collect(),
        links: span.links.kept.into_iter().filter_map(|Link(link)| link).collect(),
        dropped: Dropped {
            attributes: saturated(span.dropped_attributes_count),
            events: saturated(span.dropped_events_count),
            links: saturated(span.dropped_links_count),
        },
        trace_state: span.trace_state.unwrap_or_default(),
        scope: scope.clone(),
        resource: resource.clone(),
    })
}

impl From<WireEvent> for Event {
    fn from(event: WireEvent) -> Self {
        Self(SpanEvent {
            name: event.name.unwrap_or_default(),
            time_ns: nanoseconds(event.time_unix_nano.0.cast_unsigned()),
            attributes: attributes(event.attributes),
            dropped_attributes: saturated(event.dropped_attributes_count),
        })
    }
}

impl From<WireLink> for Link {
    fn from(link: WireLink) -> Self {
        let id = |id: Option<String>| id?.parse().ok();
        let span_id = link.span_id.and_then(|id| id.parse().ok());
        Self(id(link.trace_id).zip(span_id).map(|(trace_id, span_id)| SpanLink {
            trace_id,
            span_id,
            attributes: attributes(link.attributes),
        }))
    }
}

impl From<WireKeyValue> for KeyValue {
    fn from(pair: WireKeyValue) -> Self {
        Self((pair.key.unwrap_or_default(), pair.value.map_or(AttributeValue::Empty, |Any(value)| value)))
    }
}

impl From<AnyValue> for Any {
    fn from(any: AnyValue) -> Self {
        Self(value(any))
    }
}

/// Values nested too deeply become empty.
fn attributes(list: Bounded<KeyValue, ATTRIBUTES_READ>) -> Attributes {
    let mut attributes = pairs(list);
    attributes.0.iter_mut().for_each(|(_, value)| prune(value, VALUE_DEPTH));
    attributes
}

fn pairs(list: Bounded<KeyValue, ATTRIBUTES_READ>) -> Attributes {
    Attributes(list.kept.into_iter().map(|KeyValue(pair)| pair).collect())
}

fn prune(value: &mut AttributeValue, depth: usize) {
    match value {
        _ if depth == 0 => *value = AttributeValue::Empty,
        AttributeValue::Array(values) => values.iter_mut().for_each(|value| prune(value, depth - 1)),
        AttributeValue::Map(map) => map.0.iter_mut().for_each(|(_, value)| prune(value, depth - 1)),
        _ => {}
    }
}

fn value(any: AnyValue) -> AttributeValue {
    if let Some(text) = any.string_value {
        AttributeValue::String(text)
    } else if let Some(boolean) = any.bool_value {
        AttributeValue::Bool(boolean)
    } else if let Some(Integer(integer)) = any.int_value {
        AttributeValue::Int(integer)
    } else if let Some(Double(double)) = any.double_value {
        AttributeValue::Double(double)
    } else if let Some(list) = any.array_value {
        AttributeValue::Array(list.values.kept.into_iter().map(|Any(value)| value).collect())
    } else if let Some(map) = any.kvlist_value {
        AttributeValue::Map(pairs(map.values))
    } else if let Some(base64) = any.bytes_value {
        use base64::Engine;
        let decoded = base64::engine::general_purpose::STANDARD.decode(base64);
        decoded.map_or(AttributeValue::Empty, AttributeValue::Bytes)
    } else {
        AttributeValue::Empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::encode_json;

    fn body(span: &str) -> String {
        format!(
            r#"{{"resourceSpans":[{{"resource":{{"droppedAttributesCount":1}},"scopeSpans":[
            {{"scope":{{"name":"tracer","version":"2"}},"spans":[{span}]}}]}}]}}"#
        )
    }

    const IDS: &str = r#""traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174""#;

    #[test]
    fn lenient_json_is_accepted() {
        let text = body(&format!(
            r#"{{{IDS},"parentSpanId":null,"kind":"SPAN_KIND_SERVER","unknown":{{"a":[1]}},"events":null,
            "startTimeUnixNano":1544712660000000000,"endTimeUnixNano":"1544712661000000000","status":{{"code":2}},
            "attributes":[{{"key":"a","value":{{"arrayValue":{{}}}}}},{{"key":"b","value":{{"doubleValue":"NaN"}}}},
            {{"key":"c","value":null}},{{"key":"d","value":{{"intValue":"-5"}}}},{{"key":"e","value":{{"bytesValue":"AQI="}}}}]}}"#
        ));
        let decoded = decode_json(text.as_bytes(), Limits::default()).expect("readable");
        let span = &decoded.spans[0];
        assert_eq!(span.trace_id.to_string(), "5b8efff798038103d269b633813fc60c");
        assert_eq!(span.end_ns - span.start_ns, 1_000_000_000);
        assert_eq!(span.kind, pacegate_engine::model::span::SpanKind::Server);
        assert_eq!(span.attributes.get("a"), Some(&AttributeValue::Array(vec![])));
        assert!(matches!(span.attributes.get("b"), Some(AttributeValue::Double(d)) if d.is_nan()));
        assert_eq!(span.attributes.get("d"), Some(&AttributeValue::Int(-5)));
        assert_eq!(span.attributes.get("e"), Some(&AttributeValue::Bytes(vec![1, 2])));
    }

    #[test]
    fn written_json_reads_back_the_same() {
        let text = body(&format!(
            r#"{{{IDS},"name":"n","kind":5,"startTimeUnixNano":"1","endTimeUnixNano":"2","status":{{"code":2,"message":"m"}},
            "traceState":"a=b","droppedAttributesCount":3,"droppedEventsCount":4,"droppedLinksCount":5,
            "events":[{{"name":"exception","timeUnixNano":"1","droppedAttributesCount":6,"attributes":[{{"key":"k","value":{{"boolValue":true}}}}]}}],
            "links":[{{{IDS}}}],"attributes":[{{"key":"inf","value":{{"doubleValue":"-Infinity"}}}},
            {{"key":"last bit","value":{{"doubleValue":3.0000004768372954}}}},
            {{"key":"m","value":{{"kvlistValue":{{"values":[{{"key":"x","value":{{"stringValue":"y"}}}}]}}}}}}]}}"#
        ));
        let first = decode_json(text.as_bytes(), Limits::default()).expect("readable").spans;
        assert_eq!(
            first[0].attributes.get("last bit"),
            Some(&AttributeValue::Double(3.000_000_476_837_295_4))
        );
        let written = encode_json(&first).expect("writable");
        assert_eq!(decode_json(&written, Limits::default()).expect("readable").spans, first);
    }

    #[test]
    fn garbage_is_refused_with_its_position() {
        for (text, part) in
            [("", "EOF"), ("[]", "line 1"), (r#"{"resourceSpans":7}"#, "list"), ("{\"a\":", "EOF")]
        {
            let error = decode_json(text.as_bytes(), Limits::default()).expect_err(text).to_string();
            assert!(
                error.starts_with("the body is not OTLP JSON") && error.contains(part),
                "{text}: {error}"
            );
        }
        let deep = format!(r#"{{"x":{}"#, "[".repeat(100_000));
        assert!(decode_json(deep.as_bytes(), Limits::default()).is_err(), "depth is bounded");
    }

    #[test]
    fn too_many_spans_or_values_are_refused() {
        let text = body(&["{}"; 11].join(","));
        let few = Limits { spans: 10, ..Limits::default() };
        assert_eq!(decode_json(text.as_bytes(), few), Err(IngestError::TooManySpans { limit: 10 }));
        let few = Limits { values: 10, ..Limits::default() };
        assert_eq!(decode_json(text.as_bytes(), few), Err(IngestError::TooManyValues { limit: 10 }));
    }

    #[test]
    fn span_with_wrong_id_is_rejected_alone() {
        let text = body(&format!(r#"{{{IDS}}},{{"traceId":"00","spanId":"x"}}"#));
        let decoded = decode_json(text.as_bytes(), Limits::default()).expect("readable");
        assert_eq!((decoded.spans.len(), decoded.rejected.count), (1, 1));
    }
}
