//! Tests with messages of another protobuf implementation and with invalid ones.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::resource::v1 as resource;
use opentelemetry_proto::tonic::trace::v1 as trace;
use prost::Message;

use super::*;

fn text(key: &str, value: &str) -> common::KeyValue {
    common::KeyValue {
        key: key.into(),
        value: Some(common::AnyValue { value: Some(common::any_value::Value::StringValue(value.into())) }),
        ..Default::default()
    }
}

fn request(spans: Vec<trace::Span>) -> Vec<u8> {
    ExportTraceServiceRequest {
        resource_spans: vec![trace::ResourceSpans {
            resource: Some(resource::Resource {
                attributes: vec![text("service.name", "engine")],
                ..Default::default()
            }),
            scope_spans: vec![trace::ScopeSpans { spans, ..Default::default() }],
            ..Default::default()
        }],
    }
    .encode_to_vec()
}

fn span(span_id: Vec<u8>) -> trace::Span {
    trace::Span { trace_id: vec![1; 16], span_id, name: "build".into(), ..Default::default() }
}

#[test]
fn message_of_another_implementation_is_read() {
    let sent = trace::Span {
        parent_span_id: vec![3; 8],
        kind: 4,
        start_time_unix_nano: 5,
        end_time_unix_nano: u64::MAX,
        attributes: vec![
            text("stage.name", "build"),
            common::KeyValue {
                key: "n".into(),
                value: Some(common::AnyValue { value: Some(common::any_value::Value::IntValue(-7)) }),
                ..Default::default()
            },
            common::KeyValue {
                key: "nan".into(),
                value: Some(common::AnyValue {
                    value: Some(common::any_value::Value::DoubleValue(f64::NAN)),
                }),
                ..Default::default()
            },
        ],
        events: vec![trace::span::Event {
            time_unix_nano: 9,
            name: "exception".into(),
            attributes: vec![text("exception.type", "Boom")],
            dropped_attributes_count: 0,
        }],
        status: Some(trace::Status { message: "bad".into(), code: 2 }),
        ..span(vec![2; 8])
    };
    let decoded = decode_protobuf(&request(vec![sent]), Limits::default()).expect("readable");
    let span = &decoded.spans[0];
    assert_eq!(span.parent_span_id.map(|id| id.to_string()).as_deref(), Some("0303030303030303"));
    assert_eq!((span.kind, span.start_ns, span.end_ns), (SpanKind::Producer, 5, i64::MAX));
    assert_eq!(span.attributes.text("stage.name").as_deref(), Some("build"));
    assert_eq!(span.attributes.get("n"), Some(&AttributeValue::Int(-7)));
    assert!(matches!(span.attributes.get("nan"), Some(AttributeValue::Double(d)) if d.is_nan()));
    assert_eq!(span.events[0].attributes.text("exception.type").as_deref(), Some("Boom"));
    assert_eq!(span.status, SpanStatus::Error("bad".into()));
    assert_eq!(span.resource.attributes.text("service.name").as_deref(), Some("engine"));
}

#[test]
fn span_with_wrong_id_is_rejected_alone() {
    let decoded = decode_protobuf(&request(vec![span(vec![2; 7]), span(vec![2; 8])]), Limits::default());
    let decoded = decoded.expect("readable");
    assert_eq!((decoded.spans.len(), decoded.rejected.count), (1, 1));
    let message = decoded.rejected.message().expect("a reason");
    assert!(message.contains("a span id has 8 bytes"), "{message}");
}

#[test]
fn too_many_spans_are_refused() {
    let body = request((0..=5_u8).map(|i| span(vec![i + 1; 8])).collect());
    let error = decode_protobuf(&body, Limits { spans: 5, ..Limits::default() }).expect_err("six spans");
    assert_eq!(error, IngestError::TooManySpans { limit: 5 });
}

#[test]
fn too_many_empty_attributes_are_refused() {
    let empty = vec![common::KeyValue::default(); 200];
    let spans = (1..=60_u8).map(|i| trace::Span { attributes: empty.clone(), ..span(vec![i; 8]) }).collect();
    let error = decode_protobuf(&request(spans), Limits { values: 10_000, ..Limits::default() });
    assert_eq!(error, Err(IngestError::TooManyValues { limit: 10_000 }));
}

#[test]
fn values_nested_too_deep_are_dropped() {
    let mut value = common::AnyValue { value: Some(common::any_value::Value::IntValue(1)) };
    for _ in 0..60 {
        value = common::AnyValue {
            value: Some(common::any_value::Value::ArrayValue(common::ArrayValue { values: vec![value] })),
        };
    }
    let nested = common::KeyValue { key: "deep".into(), value: Some(value), ..Default::default() };
    let body = request(vec![trace::Span { attributes: vec![nested], ..span(vec![2; 8]) }]);
    let decoded = decode_protobuf(&body, Limits::default()).expect("readable");
    let mut depth = 0;
    let mut value = decoded.spans[0].attributes.get("deep");
    while let Some(AttributeValue::Array(list)) = value {
        depth += 1;
        value = list.first();
    }
    assert_eq!(depth, VALUE_DEPTH);
}

#[test]
fn garbage_is_refused_with_a_reason() {
    let error = decode_protobuf(b"\x0a\xff\xff\xff\xff\x0f", Limits::default()).expect_err("garbage");
    assert_eq!(error.to_string(), "the body is not OTLP protobuf: it ends in the middle of a field");
}
