//! Reads Zipkin v1 JSON: a list of spans whose kind is in core annotations (`cs`, `cr`, `sr`, `ss`,
//! `ms`, `mr`) and whose tags are binary annotations. A span with both sides of a call becomes two
//! spans with one id; the client side comes first.

use serde::Deserialize;

use super::json_list::read_list;
use super::{ZipkinSpan, event};
use crate::bounded::{Bounded, Tally};
use crate::lenient::{Micros, Scalar, span_id, trace_id};
use crate::{ATTRIBUTES_READ, Decoded, EVENTS_READ, IngestError, Limits};
use pacegate_engine::model::span::{AttributeValue, Attributes, SpanEvent, SpanKind};

const FORMAT: &str = "Zipkin v1 JSON";

#[derive(Deserialize)]
struct CountSpan {}

impl From<CountSpan> for Tally {
    fn from(_: CountSpan) -> Self {
        // Both kinds of annotations are objects: `check_values` counts their braces.
        Self { spans: 1, values: 0 }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSpan {
    trace_id: Option<String>,
    id: Option<String>,
    parent_id: Option<String>,
    name: Option<String>,
    timestamp: Option<Micros>,
    duration: Option<Micros>,
    #[serde(default)]
    annotations: Bounded<Annotation, EVENTS_READ>,
    #[serde(default)]
    binary_annotations: Bounded<BinaryAnnotation, ATTRIBUTES_READ>,
}

#[derive(Deserialize)]
struct Annotation {
    #[serde(default)]
    timestamp: Micros,
    value: Option<String>,
    endpoint: Option<Endpoint>,
}

#[derive(Deserialize)]
struct BinaryAnnotation {
    key: Option<String>,
    #[serde(default)]
    value: Scalar,
    endpoint: Option<Endpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    service_name: Option<String>,
}

fn service(endpoint: Option<Endpoint>) -> String {
    endpoint.and_then(|e| e.service_name).unwrap_or_default()
}

/// Reads a list of Zipkin v1 spans. Binary annotations become attributes; the service name of a span's
/// endpoint becomes the resource's `service.name`.
///
/// # Errors
/// [`IngestError`] when the text is not such a list or exceeds a limit. A span with an unusable id or
/// without a time is rejected alone.
pub(crate) fn decode_v1_json(body: &[u8], limits: Limits) -> Result<Decoded, IngestError> {
    read_list::<CountSpan, WireSpan>(body, limits, FORMAT)
}

impl super::json_list::WireSpan for WireSpan {
    fn convert(self) -> Result<(ZipkinSpan, Option<ZipkinSpan>), String> {
        read_span(self)
    }
}

/// One side of a call. Times are nanoseconds.
#[derive(Default)]
struct Side {
    begin: Option<i64>,
    end: Option<i64>,
    service: String,
}

impl Side {
    fn is_present(&self) -> bool {
        self.begin.is_some() || self.end.is_some()
    }

    fn start(&self) -> Option<i64> {
        self.begin.or(self.end)
    }

    fn duration(&self) -> Option<i64> {
        Some(self.end?.saturating_sub(self.begin?))
    }
}

/// The content of a span's annotations.
#[derive(Default)]
struct Annotations {
    client: Side,
    server: Side,
    producer: Side,
    consumer: Side,
    events: Vec<SpanEvent>,
    /// The first service name in an annotation that is not a core annotation.
    service: String,
}

fn read_annotations(list: Vec<Annotation>) -> Annotations {
    let mut read = Annotations::default();
    for annotation in list {
        let time = annotation.timestamp.ns;
        let text = annotation.value.unwrap_or_default();
        let of_service = service(annotation.endpoint);
        let (side, begins) = match text.as_str() {
            "cs" => (&mut read.client, true),
            "cr" => (&mut read.client, false),
            "sr" => (&mut read.server, true),
            "ss" => (&mut read.server, false),
            "ms" => (&mut read.producer, true),
            "mr" => (&mut read.consumer, true),
            _ => {
                read.events.push(event(time, text));
                if read.service.is_empty() {
                    read.service = of_service;
                }
                continue;
            }
        };
        *(if begins { &mut side.begin } else { &mut side.end }) = Some(time);
        if side.service.is_empty() {
            side.service = of_service;
        }
    }
    read
}

/// Converts binary annotations to tags. An address annotation (`sa`, `ca` or `ma` with the value
/// `true`) describes the other side of the call and is skipped.
fn read_tags(list: Vec<BinaryAnnotation>, any_service: &mut String) -> Attributes {
    let mut tags = Attributes::default();
    for annotation in list {
        let Some(key) = annotation.key.filter(|k| !k.is_empty()) else { continue };
        let of_service = service(annotation.endpoint);
        let address = matches!(annotation.value.0, AttributeValue::Bool(true));
        if address && matches!(key.as_str(), "sa" | "ca" | "ma") {
            continue;
        }
        if any_service.is_empty() {
            *any_service = of_service;
        }
        tags.0.push((key, annotation.value.0));
    }
    tags
}

/// Converts a span. The second span is the server side, if the span has both sides of a call.
fn read_span(span: WireSpan) -> Result<(ZipkinSpan, Option<ZipkinSpan>), String> {
    let unusable = |e: pacegate_engine::model::ids::IdError| e.to_string();
    // Some producers write a parent of zeros when there is no parent.
    let parent = span.parent_id.filter(|id| id.bytes().any(|b| b != b'0'));
    let trace_id = trace_id(&span.trace_id.unwrap_or_default()).map_err(unusable)?;
    let own_id = span_id(&span.id.unwrap_or_default()).map_err(unusable)?;
    let parent_span_id = parent.map(|id| span_id(&id)).transpose().map_err(unusable)?;
    let mut read = read_annotations(span.annotations.kept);
    let tags = read_tags(span.binary_annotations.kept, &mut read.service);
    let Annotations { client, server, producer, consumer, events, service } = read;
    let mut sides = vec![
        (client, SpanKind::Client),
        (server, SpanKind::Server),
        (producer, SpanKind::Producer),
        (consumer, SpanKind::Consumer),
    ];
    sides.retain(|(side, _)| side.is_present());
    let mut sides = sides.into_iter();
    let (side, kind) = sides.next().unwrap_or_default();
    let server_side = sides.next().filter(|(_, kind)| *kind == SpanKind::Server).map(|(side, _)| side);
    let whole_duration = span.duration.map(|d| d.ns);
    // A start of 1970 would stretch the whole trace.
    let Some(start_ns) = span.timestamp.map(|t| t.ns).or(side.start()) else {
        return Err("a span has no timestamp".to_owned());
    };
    let server = server_side.and_then(|side| {
        Some(ZipkinSpan {
            trace_id,
            span_id: own_id,
            parent_span_id,
            name: span.name.clone().unwrap_or_default(),
            kind: SpanKind::Server,
            start_ns: side.start()?,
            duration_ns: side.duration().unwrap_or_default(),
            tags: Attributes::default(),
            events: vec![],
            service: side.service,
        })
    });
    let first = ZipkinSpan {
        trace_id,
        span_id: own_id,
        parent_span_id,
        name: span.name.unwrap_or_default(),
        kind,
        start_ns,
        duration_ns: whole_duration.or(side.duration()).unwrap_or_default(),
        tags,
        events,
        service: if side.service.is_empty() { service } else { side.service },
    };
    Ok((first, server))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(fields: &str) -> Decoded {
        let body = format!(r#"[{{"traceId":"5b8efff798038103","id":"eee19b7ec3c1b174",{fields}}}]"#);
        decode_v1_json(body.as_bytes(), Limits::default()).expect(fields)
    }

    #[test]
    fn core_annotations_give_kind_and_times() {
        for (core, kind, duration_us) in [
            (r#"{"timestamp":2,"value":"cs"},{"timestamp":9,"value":"cr"}"#, SpanKind::Client, 7),
            (r#"{"timestamp":2,"value":"sr"},{"timestamp":5,"value":"ss"}"#, SpanKind::Server, 3),
            (r#"{"timestamp":2,"value":"ms"}"#, SpanKind::Producer, 0),
            (r#"{"timestamp":2,"value":"mr"}"#, SpanKind::Consumer, 0),
        ] {
            let decoded = decode(&format!(r#""annotations":[{core}]"#));
            let span = &decoded.spans[0];
            assert_eq!((decoded.spans.len(), span.kind), (1, kind));
            assert_eq!((span.start_ns, span.end_ns - span.start_ns), (2_000, duration_us * 1_000));
        }
    }

    #[test]
    fn both_sides_become_spans_with_one_id() {
        let decoded = decode(
            r#""name":"get","timestamp":1,"duration":20,"annotations":[
            {"timestamp":1,"value":"cs","endpoint":{"serviceName":"web"}},
            {"timestamp":5,"value":"sr","endpoint":{"serviceName":"store"}},
            {"timestamp":7,"value":"cached"},
            {"timestamp":9,"value":"ss"},{"timestamp":21,"value":"cr"}],
            "binaryAnnotations":[{"key":"sa","value":true,"endpoint":{"serviceName":"store"}},
            {"key":"error","value":"boom"},{"value":"no key"}]"#,
        );
        let summary = |span: &pacegate_engine::model::span::Span| {
            (span.kind, span.start_ns, span.end_ns, span.text(&["service.name"]).unwrap_or_default())
        };
        let spans = &decoded.spans;
        assert_eq!(spans[0].span_id, spans[1].span_id);
        assert_eq!(summary(&spans[0]), (SpanKind::Client, 1_000, 21_000, "web".to_owned()));
        assert_eq!(summary(&spans[1]), (SpanKind::Server, 5_000, 9_000, "store".to_owned()));
        assert!(spans[0].failed() && spans[0].attributes.0.len() == 1 && spans[0].events.len() == 1);
    }

    #[test]
    fn garbage_and_too_many_spans_are_refused() {
        for text in ["", "{}", "[7]", r#"[{"annotations":7}]"#] {
            let error = decode_v1_json(text.as_bytes(), Limits::default()).expect_err(text).to_string();
            assert!(error.starts_with("the body is not Zipkin v1 JSON"), "{error}");
        }
        assert_eq!(decode(r#""name":"x""#).rejected.count, 1);
        let few = Limits { spans: 2, values: 10 };
        let error = decode_v1_json(b"[{},{},{}]", few);
        assert_eq!(error, Err(IngestError::TooManySpans { limit: 2 }));
    }
}
