//! Reads Jaeger's formats: thrift (HTTP and both kinds of datagrams), protobuf (gRPC) and the UI's
//! JSON. Each format has a file. This file converts their spans: one reference becomes the parent,
//! the others become links, a log becomes an event. Jaeger has no status or kind; they are tags.

mod protobuf;
mod thrift;
mod thrift_span;
mod ui;

use std::sync::Arc;

pub(crate) use protobuf::decode_protobuf;
pub(crate) use thrift::{decode_batch, decode_binary_message, decode_compact_message};
pub use ui::decode_ui;

use super::lenient::{error_tag, status_code_tag};
use super::tagged::{Latest, take_scope, take_trace_state};
use pacegate_engine::model::ids::{SpanId, TraceId};
use pacegate_engine::model::span::{
    AttributeValue, Attributes, Dropped, Resource, Scope, Span, SpanEvent, SpanKind, SpanLink, SpanStatus,
};

/// A span in Jaeger's model: scope, trace state, kind and status are among the tags.
struct JaegerSpan {
    trace_id: TraceId,
    span_id: SpanId,
    /// Only thrift has this field. In the other formats, the parent is a reference.
    parent_span_id: Option<SpanId>,
    name: String,
    references: Vec<Reference>,
    start_ns: i64,
    duration_ns: i64,
    tags: Attributes,
    events: Vec<SpanEvent>,
    resource: Arc<Resource>,
}

impl JaegerSpan {
    fn into_span(mut self, scopes: &mut Latest<Scope>) -> Span {
        let (parent_span_id, links) = parent_and_links(self.parent_span_id, self.references, self.trace_id);
        let scope = take_scope(&mut self.tags, scopes);
        let trace_state = take_trace_state(&mut self.tags);
        Span {
            trace_id: self.trace_id,
            span_id: self.span_id,
            parent_span_id,
            name: self.name,
            kind: kind(self.tags.text("span.kind").as_deref()),
            // Stored times are never before 1970.
            start_ns: self.start_ns.max(0),
            end_ns: self.start_ns.saturating_add(self.duration_ns).max(0),
            status: status(&self.tags),
            attributes: self.tags,
            events: self.events,
            links,
            dropped: Dropped::default(),
            trace_state,
            scope,
            resource: self.resource,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    ChildOf,
    FollowsFrom,
    /// An unknown relation: it becomes a link.
    Other,
}

struct Reference {
    relation: Relation,
    trace_id: TraceId,
    span_id: SpanId,
}

/// The parent is the span of the parent field, else of the first `CHILD_OF` reference within the
/// trace, else of the first `FOLLOWS_FROM` within the trace. The other references become links.
fn parent_and_links(
    parent_field: Option<SpanId>,
    mut references: Vec<Reference>,
    of: TraceId,
) -> (Option<SpanId>, Vec<SpanLink>) {
    let first = |kind: Relation, span: Option<SpanId>| {
        references
            .iter()
            .position(|r| r.trace_id == of && r.relation == kind && span.is_none_or(|span| span == r.span_id))
    };
    let child_of = first(Relation::ChildOf, parent_field);
    let follows_from = || first(Relation::FollowsFrom, None);
    let at = if parent_field.is_some() { child_of } else { child_of.or_else(follows_from) };
    let named = at.map(|at| references.remove(at).span_id);
    let link = |r: Reference| SpanLink {
        trace_id: r.trace_id,
        span_id: r.span_id,
        attributes: Attributes::default(),
    };
    (parent_field.or(named), references.into_iter().map(link).collect())
}

/// A Jaeger process as a resource. The service name is the first attribute.
fn resource(service_name: &str, mut tags: Attributes) -> Resource {
    if !service_name.is_empty() {
        let name = AttributeValue::String(service_name.to_owned());
        tags.0.insert(0, ("service.name".to_owned(), name));
    }
    Resource { attributes: tags, dropped_attributes: 0 }
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

/// Reads the tag `error`, then OpenTelemetry's status code, then HTTP's. The last Go exporters for
/// Jaeger send the status code as a number in Go's order: 1 is a failure, unlike in OTLP, where 1
/// is OK. No other exporter sends a number.
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
        AttributeValue::Int(1) => Some(SpanStatus::Error(description().unwrap_or_default())),
        AttributeValue::Int(2) => Some(SpanStatus::Ok),
        _ => None,
    };
    let http = || {
        let code: i64 = tags.text("http.status_code")?.parse().ok()?;
        (code >= 500).then(|| SpanStatus::Error(String::new()))
    };
    error().or_else(code).or_else(http).unwrap_or_default()
}

/// The event's name is the field `event` (Go, Node) or `message` (Python).
fn event(time_ns: i64, mut fields: Attributes) -> SpanEvent {
    let name_at = ["event", "message"]
        .iter()
        .find_map(|key| fields.0.iter().position(|(k, v)| k == key && v.to_text().is_some()));
    let name = name_at.and_then(|at| fields.0.remove(at).1.to_text()).unwrap_or_default();
    SpanEvent { name, time_ns: time_ns.max(0), attributes: fields, dropped_attributes: 0 }
}

/// Converts microseconds to nanoseconds. Values that do not fit saturate.
fn nanoseconds(micros: i64) -> i64 {
    micros.saturating_mul(1_000)
}
