//! Reads Zipkin's formats: v2 as JSON and protobuf, v1 as JSON. Each format has a file. This file
//! converts their spans, with the conventions of OpenTelemetry's exporters: the status is in tags, and
//! an event's attributes are JSON in an annotation's text. Both sides of a shared span are kept;
//! [`pacegate_engine::model::trace`] chooses between them.

mod json_list;
mod protobuf;
mod v1_json;
mod v2_json;

pub(crate) use protobuf::decode_v2_protobuf;
pub(crate) use v1_json::decode_v1_json;
pub(crate) use v2_json::decode_v2_json;

use super::ATTRIBUTES_READ;
use super::bounded::Entries;
use super::lenient::{Scalar, error_tag, status_code_tag};
use super::tagged::{Latest, take_scope, take_trace_state};
use pacegate_engine::model::ids::{SpanId, TraceId};
use pacegate_engine::model::span::{
    AttributeValue, Attributes, Dropped, Resource, Scope, Span, SpanEvent, SpanKind, SpanStatus,
};

/// A span in Zipkin's model: scope, trace state and status are among the tags.
struct ZipkinSpan {
    trace_id: TraceId,
    span_id: SpanId,
    parent_span_id: Option<SpanId>,
    name: String,
    kind: SpanKind,
    start_ns: i64,
    duration_ns: i64,
    tags: Attributes,
    events: Vec<SpanEvent>,
    /// The service name of the span's endpoint; can be empty.
    service: String,
}

/// Neighbouring spans of one service and library share their resource and scope.
#[derive(Default)]
struct Shared {
    services: Latest<Resource>,
    scopes: Latest<Scope>,
}

impl ZipkinSpan {
    fn into_span(mut self, shared: &mut Shared) -> Span {
        let name = (!self.service.is_empty())
            .then(|| ("service.name".to_owned(), AttributeValue::String(self.service)));
        let attributes = Attributes(name.into_iter().collect());
        let scope = take_scope(&mut self.tags, &mut shared.scopes);
        let trace_state = take_trace_state(&mut self.tags);
        Span {
            trace_id: self.trace_id,
            span_id: self.span_id,
            parent_span_id: self.parent_span_id,
            name: self.name,
            kind: self.kind,
            // Stored times are never before 1970.
            start_ns: self.start_ns.max(0),
            end_ns: self.start_ns.saturating_add(self.duration_ns).max(0),
            status: status(&self.tags),
            attributes: self.tags,
            events: self.events,
            links: vec![],
            dropped: Dropped::default(),
            trace_state,
            scope,
            resource: shared.services.share(Resource { attributes, dropped_attributes: 0 }),
        }
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
/// `"name": {…}` as in OpenTelemetry's specification.
fn event(time_ns: i64, text: String) -> SpanEvent {
    type Event = Entries<Entries<Scalar, ATTRIBUTES_READ>, 1>;
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
    SpanEvent { name, time_ns: time_ns.max(0), attributes, dropped_attributes: 0 }
}
