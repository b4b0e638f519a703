//! Writes spans as OTLP JSON, the format in which raw traces are stored and returned.

use std::io::Write;

use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};

use super::kind_number;
use super::write_protobuf::grouped;
use pacegate_engine::model::span::{
    AttributeValue, Attributes, Resource, Scope, Span, SpanEvent, SpanLink, SpanStatus,
};

/// Writes spans as one OTLP JSON document. Each resource is written once, even if its spans are
/// mixed with spans of others.
///
/// # Errors
/// Only errors of the writer.
pub fn write_json(spans: &[Span], writer: impl Write) -> Result<(), serde_json::Error> {
    serde_json::to_writer(writer, &Request(&grouped(spans)))
}

/// Encodes spans as one OTLP JSON document in memory.
///
/// # Errors
/// None in practice: writing to memory does not fail, and every value can be written as JSON.
pub fn encode_json(spans: &[Span]) -> Result<Vec<u8>, serde_json::Error> {
    let mut json = Vec::new();
    write_json(spans, &mut json).map(|()| json)
}

/// Declares a wrapper that serializes as a map of the listed fields.
macro_rules! as_map {
    ($(#[$doc:meta])* $name:ident($inner:ty), $value:ident => { $($key:literal: $field:expr),* $(,)? }) => {
        $(#[$doc])*
        struct $name<'a>($inner);

        impl Serialize for $name<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $value = self.0;
                let mut map = serializer.serialize_map(None)?;
                $(map.serialize_entry($key, &$field)?;)*
                map.end()
            }
        }
    };
}

/// Serializes a list element by element, without a copy of it in memory.
struct List<I>(I);

impl<I: Iterator<Item = T> + Clone, T: Serialize> Serialize for List<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for element in self.0.clone() {
            list.serialize_element(&element)?;
        }
        list.end()
    }
}

as_map!(Request(&'a [Vec<Vec<&'a Span>>]), groups => {
    "resourceSpans": List(groups.iter().map(|group| Group(group))),
});

as_map!(Group(&'a [Vec<&'a Span>]), scopes => {
    "resource": WireResource(&scopes[0][0].resource),
    "scopeSpans": List(scopes.iter().map(|spans| ScopeSpans(spans))),
});

as_map!(WireResource(&'a Resource), resource => {
    "attributes": Pairs(&resource.attributes),
    "droppedAttributesCount": resource.dropped_attributes,
});

as_map!(WireScope(&'a Scope), scope => { "name": scope.name, "version": scope.version });

as_map!(ScopeSpans(&'a [&'a Span]), spans => {
    "scope": WireScope(&spans[0].scope),
    "spans": List(spans.iter().map(|span| WireSpan(span))),
});

as_map!(WireSpan(&'a Span), span => {
    "traceId": span.trace_id,
    "spanId": span.span_id,
    "traceState": span.trace_state,
    "parentSpanId": span.parent_span_id.map(|id| id.to_string()).unwrap_or_default(),
    "name": span.name,
    "kind": kind_number(span.kind),
    "startTimeUnixNano": span.start_ns.to_string(),
    "endTimeUnixNano": span.end_ns.to_string(),
    "attributes": Pairs(&span.attributes),
    "droppedAttributesCount": span.dropped.attributes,
    "events": List(span.events.iter().map(WireEvent)),
    "droppedEventsCount": span.dropped.events,
    "links": List(span.links.iter().map(WireLink)),
    "droppedLinksCount": span.dropped.links,
    "status": WireStatus(&span.status),
});

as_map!(WireEvent(&'a SpanEvent), event => {
    "timeUnixNano": event.time_ns.to_string(),
    "name": event.name,
    "attributes": Pairs(&event.attributes),
    "droppedAttributesCount": event.dropped_attributes,
});

as_map!(WireLink(&'a SpanLink), link => {
    "traceId": link.trace_id,
    "spanId": link.span_id,
    "attributes": Pairs(&link.attributes),
});

struct WireStatus<'a>(&'a SpanStatus);

impl Serialize for WireStatus<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.0 {
            SpanStatus::Unset => {}
            SpanStatus::Ok => map.serialize_entry("code", &1)?,
            SpanStatus::Error(message) => {
                map.serialize_entry("code", &2)?;
                map.serialize_entry("message", message)?;
            }
        }
        map.end()
    }
}

struct Pairs<'a>(&'a Attributes);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        List(self.0.0.iter().map(Pair)).serialize(serializer)
    }
}

as_map!(Pair(&'a (String, AttributeValue)), pair => { "key": pair.0, "value": Value(&pair.1) });

struct Value<'a>(&'a AttributeValue);

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.0 {
            AttributeValue::String(text) => map.serialize_entry("stringValue", text)?,
            AttributeValue::Bool(value) => map.serialize_entry("boolValue", value)?,
            AttributeValue::Int(value) => map.serialize_entry("intValue", &value.to_string())?,
            AttributeValue::Double(value) if value.is_finite() => {
                map.serialize_entry("doubleValue", value)?;
            }
            AttributeValue::Double(value) => map.serialize_entry("doubleValue", non_finite(*value))?,
            AttributeValue::Bytes(bytes) => {
                use base64::Engine;
                map.serialize_entry("bytesValue", &base64::engine::general_purpose::STANDARD.encode(bytes))?;
            }
            AttributeValue::Array(values) => {
                map.serialize_entry("arrayValue", &Values { values: List(values.iter().map(Value)) })?;
            }
            AttributeValue::Map(attributes) => {
                map.serialize_entry("kvlistValue", &Values { values: Pairs(attributes) })?;
            }
            AttributeValue::Empty => {}
        }
        map.end()
    }
}

/// `ArrayValue` or `KeyValueList`.
#[derive(Serialize)]
struct Values<T> {
    values: T,
}

/// Protobuf's JSON names for numbers that JSON does not have.
fn non_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}
