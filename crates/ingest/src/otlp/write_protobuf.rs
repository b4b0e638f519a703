//! Writes spans as OTLP protobuf, the format in which batches wait for their run and are forwarded.
//! Concatenated messages are one valid message, because the message is a list.

use std::collections::HashMap;
use std::sync::Arc;

use super::kind_number;
use pacegate_engine::model::span::{
    AttributeValue, Attributes, Resource, Scope, Span, SpanEvent, SpanLink, SpanStatus,
};

/// Writes spans as one `ExportTraceServiceRequest`. Each resource and scope is written once, even if
/// its spans are mixed with spans of others.
#[must_use]
pub fn encode_protobuf(spans: &[Span]) -> Vec<u8> {
    let mut message = Message(Vec::with_capacity(spans.len() * 256));
    for scopes in grouped(spans) {
        message.nested(1, |resource_spans| {
            resource_spans.nested(1, |resource| write_resource(&scopes[0][0].resource, resource));
            for spans in &scopes {
                resource_spans.nested(2, |scope_spans| {
                    scope_spans.nested(1, |scope| write_scope(&spans[0].scope, scope));
                    for span in spans {
                        scope_spans.nested(2, |message| write_span(span, message));
                    }
                });
            }
        });
    }
    message.0
}

/// Spans by shared resource, then by shared scope.
pub(super) fn grouped(spans: &[Span]) -> Vec<Vec<Vec<&Span>>> {
    let mut groups: Vec<Vec<Vec<&Span>>> = Vec::new();
    let mut resource_at: HashMap<*const Resource, usize> = HashMap::new();
    let mut scope_at: HashMap<(usize, *const Scope), usize> = HashMap::new();
    let mut last: Option<(*const Resource, *const Scope, usize, usize)> = None;
    for span in spans {
        let (resource, scope) = (Arc::as_ptr(&span.resource), Arc::as_ptr(&span.scope));
        // Neighbours mostly share both.
        let (at, within) = match last {
            Some((r, s, at, within)) if r == resource && s == scope => (at, within),
            _ => {
                let at = *resource_at.entry(resource).or_insert_with(|| {
                    groups.push(Vec::new());
                    groups.len() - 1
                });
                let within = *scope_at.entry((at, scope)).or_insert_with(|| {
                    groups[at].push(Vec::new());
                    groups[at].len() - 1
                });
                last = Some((resource, scope, at, within));
                (at, within)
            }
        };
        groups[at][within].push(span);
    }
    groups
}

/// A message under construction. Empty and zero fields are left out, as in protobuf.
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    fn tag(&mut self, field: u32, wire_type: u64) {
        self.number(u64::from(field) << 3 | wire_type);
    }

    fn varint(&mut self, field: u32, number: u64) {
        if number != 0 {
            self.tag(field, 0);
            self.number(number);
        }
    }

    fn fixed64(&mut self, field: u32, bits: u64) {
        self.tag(field, 1);
        self.0.extend(bits.to_le_bytes());
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.tag(field, 2);
        self.number(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn text(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            self.bytes(field, text.as_bytes());
        }
    }

    /// Writes a message into a field. Its length comes first but is known last. Two bytes are
    /// reserved, which is right for most spans; otherwise the content is moved.
    fn nested(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.tag(field, 2);
        let at = self.0.len();
        self.0.extend([0, 0]);
        write(self);
        let mut length = Message(Vec::with_capacity(10));
        length.number((self.0.len() - at - 2) as u64);
        self.0.splice(at..at + 2, length.0);
    }
}

/// `Resource` as protobuf.
pub(super) fn resource_bytes(resource: &Resource) -> Vec<u8> {
    let mut message = Message(Vec::new());
    write_resource(resource, &mut message);
    message.0
}

/// `InstrumentationScope` as protobuf.
pub(super) fn scope_bytes(scope: &Scope) -> Vec<u8> {
    let mut message = Message(Vec::new());
    write_scope(scope, &mut message);
    message.0
}

/// `Span` as protobuf.
pub(super) fn span_bytes(span: &Span) -> Vec<u8> {
    let mut message = Message(Vec::new());
    write_span(span, &mut message);
    message.0
}

fn write_resource(resource: &Resource, message: &mut Message) {
    write_attributes(1, &resource.attributes, message);
    message.varint(2, resource.dropped_attributes.into());
}

fn write_scope(scope: &Scope, message: &mut Message) {
    message.text(1, &scope.name);
    message.text(2, &scope.version);
}

fn write_span(span: &Span, message: &mut Message) {
    message.bytes(1, span.trace_id.as_bytes());
    message.bytes(2, span.span_id.as_bytes());
    message.text(3, &span.trace_state);
    if let Some(parent) = span.parent_span_id {
        message.bytes(4, parent.as_bytes());
    }
    message.text(5, &span.name);
    message.varint(6, kind_number(span.kind).into());
    message.fixed64(7, span.start_ns.cast_unsigned());
    message.fixed64(8, span.end_ns.cast_unsigned());
    write_attributes(9, &span.attributes, message);
    message.varint(10, span.dropped.attributes.into());
    for event in &span.events {
        message.nested(11, |message| write_event(event, message));
    }
    message.varint(12, span.dropped.events.into());
    for link in &span.links {
        message.nested(13, |message| write_link(link, message));
    }
    message.varint(14, span.dropped.links.into());
    match &span.status {
        SpanStatus::Unset => {}
        SpanStatus::Ok => message.nested(15, |status| status.varint(3, 1)),
        SpanStatus::Error(description) => message.nested(15, |status| {
            status.text(2, description);
            status.varint(3, 2);
        }),
    }
}

fn write_event(event: &SpanEvent, message: &mut Message) {
    message.fixed64(1, event.time_ns.cast_unsigned());
    message.text(2, &event.name);
    write_attributes(3, &event.attributes, message);
    message.varint(4, event.dropped_attributes.into());
}

fn write_link(link: &SpanLink, message: &mut Message) {
    message.bytes(1, link.trace_id.as_bytes());
    message.bytes(2, link.span_id.as_bytes());
    write_attributes(4, &link.attributes, message);
}

fn write_attributes(field: u32, attributes: &Attributes, message: &mut Message) {
    for (key, value) in &attributes.0 {
        message.nested(field, |pair| {
            pair.text(1, key);
            pair.nested(2, |any| write_value(value, any));
        });
    }
}

fn write_value(value: &AttributeValue, message: &mut Message) {
    // Zero and empty are values here: an absent field would be another value.
    match value {
        AttributeValue::String(text) => message.bytes(1, text.as_bytes()),
        AttributeValue::Bool(truth) => {
            message.tag(2, 0);
            message.number(u64::from(*truth));
        }
        AttributeValue::Int(number) => {
            message.tag(3, 0);
            message.number(number.cast_unsigned());
        }
        AttributeValue::Double(number) => message.fixed64(4, number.to_bits()),
        AttributeValue::Array(values) => message.nested(5, |list| {
            for value in values {
                list.nested(1, |any| write_value(value, any));
            }
        }),
        AttributeValue::Map(attributes) => {
            message.nested(6, |list| write_attributes(1, attributes, list));
        }
        AttributeValue::Bytes(bytes) => message.bytes(7, bytes),
        AttributeValue::Empty => {}
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message as _;

    use super::*;
    use crate::Limits;
    use crate::otlp::{decode, decode_json};

    const REQUEST: &str = r#"{"resourceSpans":[
        {"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"engine"}}],"droppedAttributesCount":9},
         "scopeSpans":[{"scope":{"name":"tracer","version":"2"},"spans":[
            {"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","parentSpanId":"eee19b7ec3c1b173",
             "traceState":"a=b","name":"build","kind":5,"startTimeUnixNano":"1","endTimeUnixNano":"1544712661000000000",
             "status":{"code":2,"message":"bad"},"droppedAttributesCount":300,"droppedEventsCount":4,"droppedLinksCount":5,
             "attributes":[{"key":"empty text","value":{"stringValue":""}},{"key":"false","value":{"boolValue":false}},
                {"key":"zero","value":{"intValue":"0"}},{"key":"less","value":{"intValue":"-7"}},
                {"key":"inf","value":{"doubleValue":"-Infinity"}},{"key":"bytes","value":{"bytesValue":"AQI="}},
                {"key":"list","value":{"arrayValue":{"values":[{"stringValue":"x"},{}]}}},
                {"key":"map","value":{"kvlistValue":{"values":[{"key":"y","value":{"intValue":"1"}}]}}}],
             "events":[{"name":"exception","timeUnixNano":"3","droppedAttributesCount":6,
                "attributes":[{"key":"k","value":{"boolValue":true}}]}],
             "links":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174",
                "attributes":[{"key":"k","value":{"intValue":"1"}}]}]}]},
            {"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"0000000000000001","status":{"code":1}}]}]},
        {"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"0000000000000002"}]}]}]}"#;

    fn spans() -> Vec<Span> {
        let mut spans = decode_json(REQUEST.as_bytes(), Limits::default()).expect("readable").spans;
        // Its length takes more than two bytes.
        spans[0].name = "long ".repeat(5_000);
        spans
    }

    #[test]
    fn written_protobuf_reads_back_the_same() {
        let spans = spans();
        let written = encode_protobuf(&spans);
        assert_eq!(decode(&written, Limits::default()).expect("readable").spans, spans);
        assert_eq!(decode(&encode_protobuf(&[]), Limits::default()).expect("readable").spans, []);
    }

    #[test]
    fn another_implementation_reads_and_writes_the_same() {
        let written = encode_protobuf(&spans());
        let message = ExportTraceServiceRequest::decode(written.as_slice()).expect("protobuf");
        assert_eq!(message.resource_spans.len(), 2);
        assert_eq!(message.resource_spans[0].scope_spans.len(), 2);
        let again = decode(&message.encode_to_vec(), Limits::default()).expect("readable").spans;
        assert_eq!(again, spans());
    }

    #[test]
    fn concatenated_messages_are_one_message() {
        let spans = spans();
        let both = [encode_protobuf(&spans[..1]), encode_protobuf(&spans[1..])].concat();
        assert_eq!(decode(&both, Limits::default()).expect("readable").spans, spans);
    }
}
