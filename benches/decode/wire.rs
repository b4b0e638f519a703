//! Writers of protocols that the crate itself only reads: Zipkin's JSON and protobuf, Jaeger's
//! thrift and protobuf. They support no more than `requests` needs.

use std::time::Duration;

use pacegate_engine::model::span::{AttributeValue, Attributes, Span, SpanEvent};
use serde_json::{Map, Value, json};
use thrift::protocol::{
    TBinaryOutputProtocol, TFieldIdentifier, TListIdentifier, TOutputProtocol, TStructIdentifier, TType,
};

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).expect("not negative")
}

fn microseconds(nanoseconds: i64) -> i64 {
    nanoseconds / 1_000
}

fn text(value: &AttributeValue) -> String {
    value.to_text().expect("a scalar")
}

fn service(span: &Span) -> String {
    span.resource.attributes.text("service.name").expect("a service")
}

/// Zipkin v2 as JSON.
pub(crate) fn zipkin_json(spans: &[Span]) -> Vec<u8> {
    let tags = |attributes: &Attributes| -> Map<String, Value> {
        attributes.0.iter().map(|(key, value)| (key.clone(), text(value).into())).collect()
    };
    let annotation =
        |event: &SpanEvent| json!({ "timestamp": microseconds(event.time_ns), "value": event.name });
    let span = |span: &Span| {
        json!({
            "traceId": span.trace_id.to_string(),
            "id": span.span_id.to_string(),
            "parentId": span.parent_span_id.map(|id| id.to_string()),
            "name": span.name,
            "timestamp": microseconds(span.start_ns),
            "duration": microseconds(span.end_ns - span.start_ns),
            "localEndpoint": { "serviceName": service(span) },
            "annotations": span.events.iter().map(annotation).collect::<Vec<_>>(),
            "tags": tags(&span.attributes),
        })
    };
    serde_json::to_vec(&spans.iter().map(span).collect::<Vec<_>>()).expect("JSON")
}

/// A protobuf message.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    fn number(mut self, field: u64, number: i64) -> Self {
        self.varint(field << 3);
        self.varint(unsigned(number));
        self
    }

    fn fixed(mut self, field: u64, number: i64) -> Self {
        self.varint(field << 3 | 1);
        self.0.extend(number.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(u64::try_from(bytes.len()).expect("64 bits"));
        self.0.extend(bytes);
        self
    }

    fn each<T>(self, field: u64, values: &[T], write: impl Fn(&T) -> Self) -> Self {
        values.iter().fold(self, |message, value| message.bytes(field, &write(value).0))
    }
}

/// `zipkin.proto3.ListOfSpans`.
pub(crate) fn zipkin_protobuf(spans: &[Span]) -> Vec<u8> {
    let tag = |(key, value): &(String, AttributeValue)| {
        Message::default().bytes(1, key.as_bytes()).bytes(2, text(value).as_bytes())
    };
    let annotation = |event: &SpanEvent| {
        Message::default().fixed(1, microseconds(event.time_ns)).bytes(2, event.name.as_bytes())
    };
    let span = |span: &Span| {
        let mut message = Message::default().bytes(1, span.trace_id.as_bytes());
        if let Some(parent) = span.parent_span_id {
            message = message.bytes(2, parent.as_bytes());
        }
        message
            .bytes(3, span.span_id.as_bytes())
            .bytes(5, span.name.as_bytes())
            .fixed(6, microseconds(span.start_ns))
            .number(7, microseconds(span.end_ns - span.start_ns))
            .bytes(8, &Message::default().bytes(1, service(span).as_bytes()).0)
            .each(10, &span.events, annotation)
            .each(11, &span.attributes.0, tag)
    };
    Message::default().each(1, spans, span).0
}

/// `jaeger.api_v2.PostSpansRequest`.
pub(crate) fn jaeger_protobuf(spans: &[Span]) -> Vec<u8> {
    let tag = |(key, value): &(String, AttributeValue)| {
        let message = Message::default().bytes(1, key.as_bytes());
        match value {
            AttributeValue::Int(number) => message.number(2, 2).number(5, *number),
            value => message.bytes(3, text(value).as_bytes()),
        }
    };
    let time = |nanoseconds: i64| {
        let time = Duration::from_nanos(unsigned(nanoseconds));
        let seconds = i64::try_from(time.as_secs()).expect("small");
        Message::default().number(1, seconds).number(2, i64::from(time.subsec_nanos())).0
    };
    let log = |event: &SpanEvent| {
        Message::default().bytes(1, &time(event.time_ns)).each(2, &log_fields(event).0, tag)
    };
    let span = |span: &Span| {
        let trace = span.trace_id.as_bytes();
        let mut message = Message::default()
            .bytes(1, trace)
            .bytes(2, span.span_id.as_bytes())
            .bytes(3, span.name.as_bytes());
        if let Some(parent) = span.parent_span_id {
            message = message.bytes(4, &Message::default().bytes(1, trace).bytes(2, parent.as_bytes()).0);
        }
        message
            .bytes(6, &time(span.start_ns))
            .bytes(7, &time(span.end_ns - span.start_ns))
            .each(8, &span.attributes.0, tag)
            .each(9, &span.events, log)
    };
    let process = |span: &Span| {
        Message::default().bytes(1, service(span).as_bytes()).each(2, &span.resource.attributes.0, tag)
    };
    let batch = Message::default().each(1, spans, span).each(2, &spans[..1], process);
    Message::default().bytes(1, &batch.0).0
}

/// Jaeger's logs have no name, so the name is a field.
fn log_fields(event: &SpanEvent) -> Attributes {
    let mut fields = event.attributes.clone();
    fields.0.push(("event".to_owned(), AttributeValue::String(event.name.clone())));
    fields
}

/// Writes thrift structs into memory, which cannot fail.
struct Thrift<'a>(TBinaryOutputProtocol<&'a mut Vec<u8>>);

impl Thrift<'_> {
    fn structure(&mut self, write: impl FnOnce(&mut Self)) {
        self.0.write_struct_begin(&TStructIdentifier::new("")).expect("memory");
        write(self);
        self.0.write_field_stop().expect("memory");
        self.0.write_struct_end().expect("memory");
    }

    fn field(&mut self, id: i16, kind: TType) {
        self.0.write_field_begin(&TFieldIdentifier::new("", kind, id)).expect("memory");
    }

    fn number(&mut self, id: i16, number: i64) {
        self.field(id, TType::I64);
        self.0.write_i64(number).expect("memory");
    }

    fn text(&mut self, id: i16, text: &str) {
        self.field(id, TType::String);
        self.0.write_string(text).expect("memory");
    }

    fn each<T>(&mut self, id: i16, values: &[T], write: impl Fn(&mut Self, &T)) {
        self.field(id, TType::List);
        let size = i32::try_from(values.len()).expect("small");
        self.0.write_list_begin(&TListIdentifier::new(TType::Struct, size)).expect("memory");
        for value in values {
            self.structure(|to| write(to, value));
        }
    }

    fn tags(&mut self, id: i16, attributes: &Attributes) {
        self.each(id, &attributes.0, |to, (key, value)| {
            to.text(1, key);
            let kind = if matches!(value, AttributeValue::Int(_)) { 3 } else { 0 };
            to.field(2, TType::I32);
            to.0.write_i32(kind).expect("memory");
            match value {
                AttributeValue::Int(number) => to.number(6, *number),
                value => to.text(3, &text(value)),
            }
        });
    }
}

/// Jaeger's `Batch` in thrift's binary protocol.
pub(crate) fn jaeger_thrift(spans: &[Span]) -> Vec<u8> {
    let half = |bytes: &[u8]| i64::from_be_bytes(bytes.try_into().expect("eight bytes"));
    let mut bytes = Vec::new();
    Thrift(TBinaryOutputProtocol::new(&mut bytes, true)).structure(|to| {
        to.field(1, TType::Struct);
        to.structure(|to| {
            to.text(1, &service(&spans[0]));
            to.tags(2, &spans[0].resource.attributes);
        });
        to.each(2, spans, |to, span| {
            let trace = span.trace_id.as_bytes();
            to.number(1, half(&trace[8..]));
            to.number(2, half(&trace[..8]));
            to.number(3, half(span.span_id.as_bytes()));
            to.number(4, span.parent_span_id.map_or(0, |id| half(id.as_bytes())));
            to.text(5, &span.name);
            to.number(8, microseconds(span.start_ns));
            to.number(9, microseconds(span.end_ns - span.start_ns));
            to.tags(10, &span.attributes);
            to.each(11, &span.events, |to, event| {
                to.number(1, microseconds(event.time_ns));
                to.tags(2, &log_fields(event));
            });
        });
    });
    bytes
}
