//! Encodes a run in the protocols that need only a few lines of code.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::{Map, Value, json};

use crate::pipeline::Run;

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Key and text of each attribute below `attributes`.
fn attributes(of: &Value) -> Vec<(String, String)> {
    let list = of["attributes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let pair = |each: &Value| (text(each, "key").to_owned(), text(&each["value"], "stringValue").to_owned());
    list.iter().map(pair).collect()
}

/// `ExportTraceServiceRequest` as protobuf.
pub(super) fn otlp(run: &Run) -> Vec<u8> {
    let key_values = |of: &Value| -> Vec<KeyValue> {
        let value = |text| Some(AnyValue { value: Some(Any::StringValue(text)) });
        attributes(of)
            .into_iter()
            .map(|(key, text)| KeyValue { key, value: value(text), ..KeyValue::default() })
            .collect()
    };
    let id = |span: &Value, key: &str| hex::decode(text(span, key)).expect("hexadecimal digits");
    let time = |span: &Value, key: &str| text(span, key).parse::<u64>().expect("nanoseconds");
    let all = run.spans();
    let spans = all.iter().map(|span| Span {
        trace_id: id(span, "traceId"),
        span_id: id(span, "spanId"),
        parent_span_id: id(span, "parentSpanId"),
        name: text(span, "name").to_owned(),
        kind: 1,
        start_time_unix_nano: time(span, "startTimeUnixNano"),
        end_time_unix_nano: time(span, "endTimeUnixNano"),
        attributes: key_values(span),
        ..Span::default()
    });
    let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() }];
    let attributes = key_values(&run.group(&[])["resource"]);
    let resource = Some(Resource { attributes, ..Resource::default() });
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// Zipkin's list of spans, version 2. Zipkin has no resource, so each span has all attributes.
pub(super) fn zipkin_v2(run: &Run) -> Value {
    let resource = attributes(&run.group(&[])["resource"]);
    let spans = run.spans().into_iter().map(|span| {
        let microseconds = |key: &str| text(&span, key).parse::<i64>().expect("nanoseconds") / 1000;
        let (start, end) = (microseconds("startTimeUnixNano"), microseconds("endTimeUnixNano"));
        let tags: Map<String, Value> = resource
            .iter()
            .cloned()
            .chain(attributes(&span))
            .map(|(key, value)| (key, Value::from(value)))
            .collect();
        let mut zipkin = json!({
            "traceId": span["traceId"], "id": span["spanId"], "name": span["name"],
            "timestamp": start, "duration": end - start,
            "localEndpoint": { "serviceName": "engine" }, "tags": tags,
        });
        if !text(&span, "parentSpanId").is_empty() {
            zipkin["parentId"] = span["parentSpanId"].clone();
        }
        zipkin
    });
    spans.collect()
}
