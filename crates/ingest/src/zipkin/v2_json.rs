//! Reads the spans of Zipkin v2 JSON. `json_list.rs` reads the list around them.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::json_list::read_list;
use super::{ZipkinSpan, attributes, event};
use crate::bounded::{Bounded, Entries, Tally};
use crate::lenient::{Micros, Scalar, span_id, trace_id};
use crate::{ATTRIBUTES_READ, Decoded, EVENTS_READ, IngestError, Limits};
use pacegate_engine::model::span::{SpanEvent, SpanKind};

const FORMAT: &str = "Zipkin v2 JSON";

/// Counts the tags of a span. They are the only values that are not objects, so `check_values` does
/// not see them.
#[derive(Deserialize)]
struct CountSpan {
    #[serde(default)]
    tags: Entries<IgnoredAny, 0>,
}

impl From<CountSpan> for Tally {
    fn from(span: CountSpan) -> Self {
        Self { spans: 1, values: span.tags.total }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSpan {
    trace_id: Option<String>,
    id: Option<String>,
    parent_id: Option<String>,
    name: Option<String>,
    kind: Option<String>,
    timestamp: Option<Micros>,
    duration: Option<Micros>,
    local_endpoint: Option<Endpoint>,
    #[serde(default)]
    tags: Entries<Scalar, ATTRIBUTES_READ>,
    #[serde(default)]
    annotations: Bounded<Annotation, EVENTS_READ>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    service_name: Option<String>,
}

#[derive(Deserialize)]
struct WireAnnotation {
    #[serde(default)]
    timestamp: Micros,
    value: Option<String>,
}

/// Converted to an event as soon as it is read, because its text can contain attributes.
#[derive(Deserialize)]
#[serde(from = "WireAnnotation")]
struct Annotation(SpanEvent);

impl From<WireAnnotation> for Annotation {
    fn from(wire: WireAnnotation) -> Self {
        Self(event(wire.timestamp.ns, wire.value.unwrap_or_default()))
    }
}

/// Reads a list of Zipkin v2 spans. Tags become attributes; the service name of the local endpoint
/// becomes the resource's `service.name`.
///
/// # Errors
/// [`IngestError`] when the text is not such a list or exceeds a limit. A span with an unusable id or
/// without a timestamp is rejected alone.
pub(crate) fn decode_v2_json(body: &[u8], limits: Limits) -> Result<Decoded, IngestError> {
    read_list::<CountSpan, WireSpan>(body, limits, FORMAT)
}

impl super::json_list::WireSpan for WireSpan {
    fn convert(self) -> Result<(ZipkinSpan, Option<ZipkinSpan>), String> {
        read_span(self).map(|span| (span, None))
    }
}

fn read_span(span: WireSpan) -> Result<ZipkinSpan, String> {
    let unusable = |e: pacegate_engine::model::ids::IdError| e.to_string();
    // Some producers write a parent of zeros when there is no parent.
    let parent = span.parent_id.filter(|id| id.bytes().any(|b| b != b'0'));
    let trace_id = trace_id(&span.trace_id.unwrap_or_default()).map_err(unusable)?;
    let own_id = span_id(&span.id.unwrap_or_default()).map_err(unusable)?;
    let parent_span_id = parent.map(|id| span_id(&id)).transpose().map_err(unusable)?;
    // A start of 1970 would stretch the whole trace.
    let Some(Micros { ns: start_ns }) = span.timestamp else {
        return Err("a span has no timestamp".to_owned());
    };
    Ok(ZipkinSpan {
        trace_id,
        span_id: own_id,
        parent_span_id,
        name: span.name.unwrap_or_default(),
        kind: kind(span.kind.as_deref()),
        start_ns,
        duration_ns: span.duration.unwrap_or_default().ns,
        tags: attributes(span.tags),
        events: span.annotations.kept.into_iter().map(|Annotation(event)| event).collect(),
        service: span.local_endpoint.and_then(|e| e.service_name).unwrap_or_default(),
    })
}

fn kind(name: Option<&str>) -> SpanKind {
    match name {
        Some("CLIENT") => SpanKind::Client,
        Some("SERVER") => SpanKind::Server,
        Some("PRODUCER") => SpanKind::Producer,
        Some("CONSUMER") => SpanKind::Consumer,
        _ => SpanKind::Unspecified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacegate_engine::model::span::{Span, SpanStatus};

    const IDS: &str = r#""traceId":"5b8efff798038103","id":"eee19b7ec3c1b174","timestamp":1000"#;

    fn one(fields: &str) -> Span {
        let body = format!("[{{{IDS},{fields}}}]");
        let mut decoded = decode_v2_json(body.as_bytes(), Limits::default()).expect(fields);
        assert_eq!(decoded.rejected.first_reason, None, "{fields}");
        decoded.spans.remove(0)
    }

    #[test]
    fn numbers_texts_and_nulls_are_read() {
        let span = one(
            r#""parentId":null,"kind":null,"name":null,"duration":"2500","localEndpoint":{"serviceName":"engine","port":1},
            "tags":{"a":"b","n":7,"l":[1]},"annotations":null,"shared":true,"debug":false"#,
        );
        assert_eq!(span.trace_id.to_string(), "00000000000000005b8efff798038103");
        assert_eq!((span.parent_span_id, span.kind), (None, SpanKind::Unspecified));
        assert_eq!((span.start_ns, span.end_ns), (1_000_000, 3_500_000));
        assert_eq!(span.text(&["service.name"]).as_deref(), Some("engine"));
        assert_eq!(span.text(&["a"]).as_deref(), Some("b"));
        assert_eq!(span.text(&["n"]).as_deref(), Some("7"));
        assert_eq!(one(r#""parentId":"0000000000000000""#).parent_span_id, None);
        assert_eq!(one(r#""parentId":"1","kind":"SERVER""#).kind, SpanKind::Server);
    }

    #[test]
    fn status_is_read_from_two_tags() {
        for (tags, expected) in [
            (r#""error":"boom""#, SpanStatus::Error("boom".into())),
            (r#""error":"true""#, SpanStatus::Error(String::new())),
            (r#""error":"false""#, SpanStatus::Unset),
            (r#""error":"""#, SpanStatus::Unset),
            (r#""error":"","otel.status_code":"ERROR""#, SpanStatus::Error(String::new())),
            (r#""otel.status_code":"OK""#, SpanStatus::Ok),
            (r#""otel.status_code":"OK","error":"boom""#, SpanStatus::Error("boom".into())),
        ] {
            assert_eq!(one(&format!(r#""tags":{{{tags}}}"#)).status, expected, "{tags}");
        }
    }

    #[test]
    fn annotation_is_a_name_or_json() {
        for (value, name, attribute) in [
            ("stage-started", "stage-started", None),
            (r#"{\"exception\": {\"exception.type\": \"Boom\"}}"#, "exception", Some("Boom")),
            (r#"\"exception\": {\"exception.type\": \"Boom\"}"#, "exception", Some("Boom")),
            (r#"{\"a\": {}, \"b\": {}}"#, r#"{"a": {}, "b": {}}"#, None),
            (r#"{\"a\": 7}"#, r#"{"a": 7}"#, None),
            (r#"{\"cut"#, r#"{"cut"#, None),
        ] {
            let span = one(&format!(r#""annotations":[{{"timestamp":"2","value":"{value}"}}]"#));
            let event = &span.events[0];
            assert_eq!((event.name.as_str(), event.time_ns), (name, 2_000));
            assert_eq!(event.attributes.text("exception.type").as_deref(), attribute, "{value}");
        }
    }

    #[test]
    fn times_beyond_64_bits_saturate() {
        let span = one(r#""duration":9223372036854775807"#);
        assert_eq!(span.end_ns, i64::MAX);
        assert_eq!(one(r#""duration":1e300"#).end_ns, i64::MAX);
        assert_eq!(one(r#""duration":18446744073709551615"#).end_ns, i64::MAX);
        assert_eq!(one(r#""duration":-1e300"#).end_ns, 0, "no time before 1970");
        assert_eq!(one(r#""annotations":[{"timestamp":-1,"value":"a"}]"#).events[0].time_ns, 0);
    }

    #[test]
    fn garbage_is_refused_with_its_position() {
        for (text, part) in [
            ("", "EOF"),
            ("{}", "a list at line 1"),
            ("[7]", "line 1"),
            ("[{\n\"tags\":[]}]", "an object at line 2"),
            (r#"[{"duration":"NaN"}]"#, "an integer is expected at line 1"),
        ] {
            let error = decode_v2_json(text.as_bytes(), Limits::default()).expect_err(text).to_string();
            assert!(error.starts_with("the body is not Zipkin v2 JSON") && error.contains(part), "{error}");
        }
        assert!(decode_v2_json("[".repeat(100_000).as_bytes(), Limits::default()).is_err());
    }

    #[test]
    fn unusable_spans_are_rejected_alone() {
        let body =
            format!(r#"[{{{IDS}}},{{"traceId":"1","id":"2"}},{{"traceId":"0","id":"2"}},{{"id":"x"}}]"#);
        let decoded = decode_v2_json(body.as_bytes(), Limits::default()).expect("readable");
        assert_eq!((decoded.spans.len(), decoded.rejected.count), (1, 3));
        assert_eq!(decoded.rejected.first_reason.as_deref(), Some("a span has no timestamp"));
    }

    #[test]
    fn too_many_spans_or_values_are_refused() {
        let few = Limits { spans: 2, values: 10 };
        let decode = |body: &str| decode_v2_json(body.as_bytes(), few);
        assert_eq!(decode("[{},{},{}]"), Err(IngestError::TooManySpans { limit: 2 }));
        let many: Vec<String> = (0..11).map(|i| format!(r#""{i}":"""#)).collect();
        let tags = format!(r#"[{{"tags":{{{}}}}}]"#, many.join(","));
        assert_eq!(decode(&tags), Err(IngestError::TooManyValues { limit: 10 }));
        assert_eq!(decode(&"[{},".repeat(11)), Err(IngestError::TooManyValues { limit: 10 }));
        let hidden = many.join(",").replace('"', "\\\"");
        let event = format!(r#"[{{{IDS},"annotations":[{{"value":"{{\"e\":{{{hidden}}}}}"}}]}}]"#);
        assert_eq!(decode(&event), Err(IngestError::TooManyValues { limit: 10 }));
    }
}
