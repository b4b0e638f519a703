//! Reads the JSON that Jaeger's UI and query API export: traces whose spans refer to a process by its
//! id. The declared type of a tag takes precedence over the JSON type of its value.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use serde::Deserialize;

use super::{JaegerSpan, Reference, Relation, event, resource};
use crate::bounded::{Bounded, Fold, Gather, Sum, Tally, check_values};
use crate::lenient::{Micros, Scalar, span_id, trace_id};
use crate::tagged::Latest;
use crate::{ATTRIBUTES_READ, Decoded, EVENTS_READ, IngestError, Limits, Rejected};
use pacegate_engine::model::ids::{IdError, TraceId};
use pacegate_engine::model::span::{AttributeValue, Attributes, Resource};

const FORMAT: &str = "Jaeger UI JSON";

#[derive(Deserialize)]
struct CountSpan {}

impl From<CountSpan> for Tally {
    fn from(_: CountSpan) -> Self {
        // Tags, logs, references and processes are objects: `check_values` counts their braces.
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
    #[serde(default)]
    data: Fold<WireTrace, Decoded>,
}

#[derive(Deserialize)]
struct WireTrace {
    #[serde(default)]
    spans: Fold<WireSpan, Spans>,
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
    references: Bounded<WireReference, EVENTS_READ>,
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
struct WireReference {
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
/// [`IngestError`] when the text is not such a document or exceeds a limit. A span with an unusable
/// id or without a start is rejected alone.
pub fn decode_ui(body: &[u8], limits: Limits) -> Result<Decoded, IngestError> {
    let malformed = |e: serde_json::Error| IngestError::Malformed { format: FORMAT, reason: e.to_string() };
    // Serde would also accept a list of the fields.
    if body.trim_ascii_start().first().is_some_and(|b| *b != b'{') {
        let reason = "an object with `data` is expected at line 1".to_owned();
        return Err(IngestError::Malformed { format: FORMAT, reason });
    }
    check_values(body, limits)?;
    let count: CountDocument = serde_json::from_slice(body).map_err(malformed)?;
    count.data.0.check(limits)?;
    let document: Document = serde_json::from_slice(body).map_err(malformed)?;
    Ok(document.data.0)
}

/// The spans of a trace so far, each with the id of its process. The processes can follow the spans.
#[derive(Default)]
struct Spans {
    list: Vec<(JaegerSpan, Option<String>)>,
    rejected: Rejected,
    unknown: Arc<Resource>,
}

impl Gather<WireSpan> for Spans {
    fn take(&mut self, span: WireSpan) {
        let process = span.process_id.clone();
        match read_span(span, &self.unknown) {
            Ok(span) => self.list.push((span, process)),
            Err(reason) => self.rejected.add(|| reason),
        }
    }
}

impl Gather<WireTrace> for Decoded {
    fn take(&mut self, trace: WireTrace) {
        let processes = trace.processes.unwrap_or_default();
        let resources: HashMap<String, Arc<Resource>> =
            processes.into_iter().map(|(id, process)| (id, Arc::new(process_resource(process)))).collect();
        let Spans { list, rejected, .. } = trace.spans.0;
        let mut scopes = Latest::default();
        for (mut span, process) in list {
            if let Some(resource) = process.and_then(|id| resources.get(&id)) {
                span.resource = resource.clone();
            }
            self.spans.push(span.into_span(&mut scopes));
        }
        self.rejected.add_many(rejected.count, || rejected.first_reason.unwrap_or_default());
    }
}

fn process_resource(process: Process) -> Resource {
    resource(process.service_name.as_deref().unwrap_or_default(), attributes(process.tags))
}

fn read_span(span: WireSpan, unknown: &Arc<Resource>) -> Result<JaegerSpan, String> {
    let unusable = |e: IdError| e.to_string();
    let trace_id = trace_id(&span.trace_id.unwrap_or_default()).map_err(unusable)?;
    let own_id = span_id(&span.span_id.unwrap_or_default()).map_err(unusable)?;
    // A start of 1970 would stretch the whole trace.
    let Some(Micros { ns: start_ns }) = span.start_time else {
        return Err("a span has no start time".to_owned());
    };
    let log = |log: Log| event(log.timestamp.ns, attributes(log.fields));
    Ok(JaegerSpan {
        trace_id,
        span_id: own_id,
        parent_span_id: None,
        name: span.operation_name.unwrap_or_default(),
        references: span.references.kept.into_iter().filter_map(|r| reference(r, trace_id)).collect(),
        start_ns,
        duration_ns: span.duration.unwrap_or_default().ns,
        tags: attributes(span.tags),
        events: span.logs.kept.into_iter().map(log).collect(),
        resource: unknown.clone(),
    })
}

/// `None` for a reference with an unusable id.
fn reference(wire: WireReference, of: TraceId) -> Option<Reference> {
    let trace_id = wire.trace_id.map_or(Ok(of), |id| trace_id(&id)).ok()?;
    let span_id = span_id(&wire.span_id?).ok()?;
    let relation = match wire.ref_type.as_deref() {
        Some("CHILD_OF") => Relation::ChildOf,
        Some("FOLLOWS_FROM") => Relation::FollowsFrom,
        _ => Relation::Other,
    };
    Some(Reference { relation, trace_id, span_id })
}

fn attributes(tags: Bounded<Tag, ATTRIBUTES_READ>) -> Attributes {
    Attributes(tags.kept.into_iter().map(attribute).collect())
}

fn attribute(tag: Tag) -> (String, AttributeValue) {
    let Scalar(value) = tag.value;
    (tag.key.unwrap_or_default(), typed(tag.kind.as_deref(), value))
}

/// Converts a value to the declared type of its tag. A value that can't be converted stays.
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

#[cfg(test)]
mod tests;
