//! Zipkin v2's JSON: a list of spans. Also what OpenTelemetry's exporters put into it: the
//! status as tags, events with their attributes as JSON in an annotation's text. Both sides
//! of a shared span are kept; [`crate::model::trace`] says which one counts.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::bounded::{Bounded, Entries, Sum, Tally, check_values, list};
use super::tolerant::{Micros, Scalar, error_tag, span_id, status_code_tag, trace_id};
use super::{ATTRIBUTES_READ, Decoded, EVENTS_READ, IngestError, Limits};
use crate::model::ids::IdError;
use crate::model::span::{
    AttributeValue, Attributes, Dropped, Resource, Span, SpanEvent, SpanKind, SpanStatus,
};

const FORMAT: &str = "Zipkin v2 JSON";

/// A span of which nothing is kept but the number of its tags: the only values that are not
/// objects, so that braces don't count them.
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
struct WireSpans(#[serde(deserialize_with = "list")] Vec<WireSpan>);

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
struct Annotation {
    #[serde(default)]
    timestamp: Micros,
    value: Option<String>,
}

/// Reads a list of Zipkin v2 spans. Tags are the spans' attributes; the local endpoint's
/// service name is the resource's `service.name`.
///
/// # Errors
/// [`IngestError`] when the text is not such a list or holds too much. A span with an
/// unusable id or without a timestamp is rejected by itself.
pub fn decode_v2_json(body: &[u8], limits: Limits) -> Result<Decoded, IngestError> {
    let malformed = |e: serde_json::Error| IngestError::Malformed { format: FORMAT, reason: e.to_string() };
    check_values(body, limits)?;
    let count = serde_json::from_slice::<Sum<CountSpan>>(body).map_err(malformed)?.0;
    count.check(limits)?;
    let WireSpans(spans) = serde_json::from_slice(body).map_err(malformed)?;
    let mut decoded = Decoded::default();
    let mut resources = Resources::default();
    // Attributes written inside an annotation's text were not counted above.
    let mut values_left = limits.values - count.values;
    for span in spans {
        match read_span(span, &mut resources, &mut values_left) {
            Ok(span) => decoded.spans.push(span),
            Err(Unusable::Span(reason)) => decoded.rejected.add(|| reason),
            Err(Unusable::Request) => return Err(IngestError::TooManyValues { limit: limits.values }),
        }
    }
    Ok(decoded)
}

enum Unusable {
    Span(String),
    Request,
}

/// Neighbouring spans of one service share their resource.
#[derive(Default)]
struct Resources {
    last: Option<(Option<String>, Arc<Resource>)>,
}

impl Resources {
    fn of(&mut self, service: Option<String>) -> Arc<Resource> {
        match &self.last {
            Some((name, resource)) if *name == service => resource.clone(),
            _ => {
                let pair = |name| ("service.name".to_owned(), AttributeValue::String(name));
                let attributes = Attributes(service.clone().map(pair).into_iter().collect());
                let resource = Arc::new(Resource { attributes, dropped_attributes: 0 });
                self.last = Some((service, resource.clone()));
                resource
            }
        }
    }
}

fn read_span(span: WireSpan, resources: &mut Resources, values_left: &mut usize) -> Result<Span, Unusable> {
    let unusable = |e: IdError| Unusable::Span(e.to_string());
    // A parent of zeros alone is how some producers write that there is none.
    let parent = span.parent_id.filter(|id| id.bytes().any(|b| b != b'0'));
    let trace_id = trace_id(&span.trace_id.unwrap_or_default()).map_err(unusable)?;
    let own_id = span_id(&span.id.unwrap_or_default()).map_err(unusable)?;
    let parent_span_id = parent.map(|id| span_id(&id)).transpose().map_err(unusable)?;
    // Taken as 1970, it would stretch its whole trace.
    let Some(Micros { ns: start_ns }) = span.timestamp else {
        return Err(Unusable::Span("a span has no timestamp".to_owned()));
    };
    let mut events = Vec::with_capacity(span.annotations.kept.len());
    for annotation in span.annotations.kept {
        let event = read_annotation(annotation);
        *values_left = values_left.checked_sub(event.attributes.0.len()).ok_or(Unusable::Request)?;
        events.push(event);
    }
    let attributes = attributes(span.tags);
    Ok(Span {
        trace_id,
        span_id: own_id,
        parent_span_id,
        name: span.name.unwrap_or_default(),
        kind: kind(span.kind.as_deref()),
        start_ns,
        end_ns: start_ns.saturating_add(span.duration.unwrap_or_default().ns),
        status: status(&attributes),
        attributes,
        events,
        links: Vec::new(),
        dropped: Dropped::default(),
        trace_state: String::new(),
        scope: Arc::default(),
        resource: resources.of(span.local_endpoint.and_then(|e| e.service_name).filter(|n| !n.is_empty())),
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

fn status(tags: &Attributes) -> SpanStatus {
    let error = || error_tag(&tags.text("error")?);
    let code = || status_code_tag(&tags.text("otel.status_code")?, tags.text("otel.status_description"));
    error().or_else(code).unwrap_or_default()
}

fn attributes(entries: Entries<Scalar, ATTRIBUTES_READ>) -> Attributes {
    Attributes(entries.kept.into_iter().map(|(key, Scalar(value))| (key, value)).collect())
}

/// The text is the event's name, or its name and attributes as JSON: `{"name": {…}}`, or
/// `"name": {…}` as OpenTelemetry's specification has it.
fn read_annotation(annotation: Annotation) -> SpanEvent {
    type Event = Entries<Entries<Scalar, ATTRIBUTES_READ>, 1>;
    let text = annotation.value.unwrap_or_default();
    let event = match text.trim_start().as_bytes().first() {
        Some(b'{') => serde_json::from_str::<Event>(&text).ok(),
        Some(b'"') => serde_json::from_str::<Event>(&format!("{{{text}}}")).ok(),
        _ => None,
    };
    let (name, attributes) = match event {
        Some(Entries { total: 1, mut kept }) if kept.len() == 1 => {
            let (name, entries) = kept.remove(0);
            (name, attributes(entries))
        }
        _ => (text, Attributes::default()),
    };
    SpanEvent { name, time_ns: annotation.timestamp.ns, attributes, dropped_attributes: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: &str = r#""traceId":"5b8efff798038103","id":"eee19b7ec3c1b174","timestamp":1000"#;

    fn one(fields: &str) -> Span {
        let body = format!("[{{{IDS},{fields}}}]");
        let mut decoded = decode_v2_json(body.as_bytes(), Limits::default()).expect(fields);
        assert_eq!(decoded.rejected.first_reason, None, "{fields}");
        decoded.spans.remove(0)
    }

    #[test]
    fn reads_numbers_texts_and_nulls() {
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
    fn the_status_is_in_two_tags() {
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
    fn an_annotation_is_a_name_or_json() {
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
        assert_eq!(one(r#""duration":-1e300"#).end_ns, i64::MIN + 1_000_000);
    }

    #[test]
    fn garbage_is_refused_with_its_place() {
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
    fn spans_that_cannot_be_used_are_rejected_by_themselves() {
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
