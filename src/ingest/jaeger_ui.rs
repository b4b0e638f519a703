//! What Jaeger's UI and query API export: traces whose spans name their process. The type of
//! a tag is trusted before the shape of its value; one reference becomes the parent, the
//! others links.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use serde::Deserialize;

use super::bounded::{Bounded, Sum, Tally, check_values, list};
use super::tolerant::{Micros, Scalar, error_tag, span_id, status_code_tag, trace_id};
use super::{ATTRIBUTES_READ, Decoded, EVENTS_READ, IngestError, Limits};
use crate::model::ids::{IdError, SpanId, TraceId};
use crate::model::span::{
    AttributeValue, Attributes, Dropped, Resource, Span, SpanEvent, SpanKind, SpanLink, SpanStatus,
};

const FORMAT: &str = "Jaeger UI JSON";

#[derive(Deserialize)]
struct CountSpan {}

impl From<CountSpan> for Tally {
    fn from(_: CountSpan) -> Self {
        // Tags, logs, references and processes are objects: counted by their braces.
        Self { spans: 1, values: 0 }
    }
}

#[derive(Deserialize)]
struct CountTrace {
    #[serde(default)]
    spans: Sum<CountSpan>,
}

impl From<CountTrace> for Tally {
    fn from(trace: CountTrace) -> Self {
        trace.spans.0
    }
}

#[derive(Deserialize)]
struct CountDocument {
    #[serde(default)]
    data: Sum<CountTrace>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default, deserialize_with = "list")]
    data: Vec<WireTrace>,
}

#[derive(Deserialize)]
struct WireTrace {
    #[serde(rename = "traceID")]
    trace_id: Option<String>,
    #[serde(default, deserialize_with = "list")]
    spans: Vec<WireSpan>,
    processes: Option<HashMap<String, Process>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    service_name: Option<String>,
    #[serde(default)]
    tags: Bounded<Tag, ATTRIBUTES_READ>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSpan {
    #[serde(rename = "traceID")]
    trace_id: Option<String>,
    #[serde(rename = "spanID")]
    span_id: Option<String>,
    operation_name: Option<String>,
    #[serde(default)]
    references: Bounded<Reference, EVENTS_READ>,
    start_time: Option<Micros>,
    duration: Option<Micros>,
    #[serde(default)]
    tags: Bounded<Tag, ATTRIBUTES_READ>,
    #[serde(default)]
    logs: Bounded<Log, EVENTS_READ>,
    #[serde(rename = "processID")]
    process_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    ref_type: Option<String>,
    #[serde(rename = "traceID")]
    trace_id: Option<String>,
    #[serde(rename = "spanID")]
    span_id: Option<String>,
}

#[derive(Deserialize)]
struct Log {
    #[serde(default)]
    timestamp: Micros,
    #[serde(default)]
    fields: Bounded<Tag, ATTRIBUTES_READ>,
}

#[derive(Deserialize)]
struct Tag {
    key: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    value: Scalar,
}

/// Reads a document with one or several traces under `data`.
///
/// # Errors
/// [`IngestError`] when the text is not such a document or holds too much. A span with an
/// unusable id or without a start is rejected by itself.
pub fn decode(body: &[u8], limits: Limits) -> Result<Decoded, IngestError> {
    let malformed = |e: serde_json::Error| IngestError::Malformed { format: FORMAT, reason: e.to_string() };
    // The reader of objects would take a list of their fields as well.
    if body.trim_ascii_start().first().is_some_and(|b| *b != b'{') {
        let reason = "an object with `data` is expected at line 1".to_owned();
        return Err(IngestError::Malformed { format: FORMAT, reason });
    }
    check_values(body, limits)?;
    let count: CountDocument = serde_json::from_slice(body).map_err(malformed)?;
    count.data.0.check(limits)?;
    let document: Document = serde_json::from_slice(body).map_err(malformed)?;
    let mut decoded = Decoded::default();
    for trace in document.data {
        let processes = trace.processes.unwrap_or_default();
        let resources =
            processes.into_iter().map(|(id, process)| (id, Arc::new(resource(process)))).collect();
        let trace_id = trace.trace_id.unwrap_or_default();
        for span in trace.spans {
            match read_span(span, &trace_id, &resources) {
                Ok(span) => decoded.spans.push(span),
                Err(reason) => decoded.rejected.add(|| reason),
            }
        }
    }
    Ok(decoded)
}

fn resource(process: Process) -> Resource {
    let mut attributes = attributes(process.tags);
    if let Some(name) = process.service_name.filter(|n| !n.is_empty()) {
        attributes.0.insert(0, ("service.name".to_owned(), AttributeValue::String(name)));
    }
    Resource { attributes, dropped_attributes: 0 }
}

fn read_span(
    span: WireSpan,
    of_trace: &str,
    resources: &HashMap<String, Arc<Resource>>,
) -> Result<Span, String> {
    let unusable = |e: IdError| e.to_string();
    let trace_id = trace_id(span.trace_id.as_deref().unwrap_or(of_trace)).map_err(unusable)?;
    let own_id = span_id(&span.span_id.unwrap_or_default()).map_err(unusable)?;
    // Taken as 1970, it would stretch its whole trace.
    let Some(Micros { ns: start_ns }) = span.start_time else {
        return Err("a span has no start time".to_owned());
    };
    let (parent, links) = parent_and_links(span.references, trace_id);
    let attributes = attributes(span.tags);
    Ok(Span {
        trace_id,
        span_id: own_id,
        parent_span_id: parent,
        name: span.operation_name.unwrap_or_default(),
        kind: kind(attributes.text("span.kind").as_deref()),
        start_ns,
        end_ns: start_ns.saturating_add(span.duration.unwrap_or_default().ns),
        status: status(&attributes),
        attributes,
        events: span.logs.kept.into_iter().map(read_log).collect(),
        links,
        dropped: Dropped::default(),
        trace_state: String::new(),
        scope: Arc::default(),
        resource: span.process_id.and_then(|id| resources.get(&id).cloned()).unwrap_or_default(),
    })
}

/// A reference to an unusable id is passed over: it refers to nothing.
fn parent_and_links(
    references: Bounded<Reference, EVENTS_READ>,
    of: TraceId,
) -> (Option<SpanId>, Vec<SpanLink>) {
    let mut links = Vec::new();
    let mut kinds = Vec::new();
    for reference in references.kept {
        let other_trace = reference.trace_id.map_or(Ok(of), |id| trace_id(&id));
        let other_span = reference.span_id.map(|id| span_id(&id));
        if let (Ok(trace_id), Some(Ok(span_id))) = (other_trace, other_span) {
            links.push(SpanLink { trace_id, span_id, attributes: Attributes::default() });
            kinds.push(reference.ref_type.unwrap_or_default());
        }
    }
    let first = |kind: &str| links.iter().zip(&kinds).position(|(link, k)| link.trace_id == of && k == kind);
    let parent = first("CHILD_OF").or_else(|| first("FOLLOWS_FROM")).map(|at| links.remove(at).span_id);
    (parent, links)
}

fn attributes(tags: Bounded<Tag, ATTRIBUTES_READ>) -> Attributes {
    Attributes(tags.kept.into_iter().map(attribute).collect())
}

fn attribute(tag: Tag) -> (String, AttributeValue) {
    let Scalar(value) = tag.value;
    (tag.key.unwrap_or_default(), typed(tag.kind.as_deref(), value))
}

/// The value as its tag's type has it; as it was written when that can't be.
fn typed(kind: Option<&str>, value: AttributeValue) -> AttributeValue {
    let read = match (kind, &value) {
        (Some("string"), value) => value.to_text().map(AttributeValue::String),
        (Some("bool"), AttributeValue::String(text)) => text.parse().ok().map(AttributeValue::Bool),
        (Some("int64"), AttributeValue::String(text)) => text.parse().ok().map(AttributeValue::Int),
        (Some("float64"), AttributeValue::String(text)) => text.parse().ok().map(AttributeValue::Double),
        #[expect(clippy::cast_precision_loss, reason = "a double is what was sent")]
        (Some("float64"), AttributeValue::Int(number)) => Some(AttributeValue::Double(*number as f64)),
        (Some("binary"), AttributeValue::String(text)) => {
            base64::engine::general_purpose::STANDARD.decode(text).ok().map(AttributeValue::Bytes)
        }
        _ => None,
    };
    read.unwrap_or(value)
}

fn kind(name: Option<&str>) -> SpanKind {
    match name.map(str::to_ascii_lowercase).as_deref() {
        Some("internal") => SpanKind::Internal,
        Some("client") => SpanKind::Client,
        Some("server") => SpanKind::Server,
        Some("producer") => SpanKind::Producer,
        Some("consumer") => SpanKind::Consumer,
        _ => SpanKind::Unspecified,
    }
}

/// `error` first, then a status code in words (Go's old exporter sends the number 1 for a
/// failure, which says nothing here), then HTTP's.
fn status(tags: &Attributes) -> SpanStatus {
    let description = || tags.text("otel.status_description");
    let error = || match error_tag(&tags.text("error")?)? {
        SpanStatus::Error(text) if text.is_empty() => {
            Some(SpanStatus::Error(description().unwrap_or_default()))
        }
        status => Some(status),
    };
    let code = || match tags.get("otel.status_code")? {
        AttributeValue::String(code) => status_code_tag(code, description()),
        _ => None,
    };
    let http = || {
        let code: i64 = tags.text("http.status_code")?.parse().ok()?;
        (code >= 500).then(|| SpanStatus::Error(String::new()))
    };
    error().or_else(code).or_else(http).unwrap_or_default()
}

/// The event's name stands in the field `event` (Go, Node) or `message` (Python).
fn read_log(log: Log) -> SpanEvent {
    let mut attributes = attributes(log.fields);
    let name_at = ["event", "message"]
        .iter()
        .find_map(|key| attributes.0.iter().position(|(k, v)| k == key && v.to_text().is_some()));
    let name = name_at.and_then(|at| attributes.0.remove(at).1.to_text()).unwrap_or_default();
    SpanEvent { name, time_ns: log.timestamp.ns, attributes, dropped_attributes: 0 }
}

#[cfg(test)]
mod tests;
