//! A span in OpenTelemetry's data model, decoded from any protocol and bounded in size. Its place in
//! a trace is in `trace`. Its meaning is in `gate/`.

use std::sync::Arc;

use super::ids::{SpanId, TraceId};

/// A value of an attribute. NaN and infinities are valid: they are data, not durations.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeValue {
    String(String),
    Bool(bool),
    Int(i64),
    /// May be NaN or infinite.
    Double(f64),
    Bytes(Vec<u8>),
    Array(Vec<AttributeValue>),
    Map(Attributes),
    /// OpenTelemetry's empty value.
    Empty,
}

impl AttributeValue {
    /// The text of a scalar value. Integers, booleans and doubles are formatted, because producers send
    /// ids as numbers or as text (`cicd.pipeline.run.id` = 7 or "7"). None for other values.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        match self {
            Self::String(text) => Some(text.clone()),
            Self::Bool(value) => Some(value.to_string()),
            Self::Int(value) => Some(value.to_string()),
            Self::Double(value) => Some(value.to_string()),
            Self::Bytes(_) | Self::Array(_) | Self::Map(_) | Self::Empty => None,
        }
    }

    /// The number of values, including nested ones.
    fn values(&self) -> usize {
        match self {
            Self::Array(values) => 1 + values.iter().map(Self::values).sum::<usize>(),
            Self::Map(attributes) => 1 + attributes.values(),
            _ => 1,
        }
    }
}

/// Attributes in the order of arrival. Keys may repeat on the wire. The first one counts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attributes(pub Vec<(String, AttributeValue)>);

impl Attributes {
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&AttributeValue> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// The value of a key as text. None when it is empty.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        self.get(key).and_then(AttributeValue::to_text).filter(|t| !t.is_empty())
    }

    /// The number of values, including nested ones.
    #[must_use]
    pub fn values(&self) -> usize {
        self.0.iter().map(|(_, value)| value.values()).sum()
    }

    /// The text of the first key that has one. `keys` are aliases, the preferred one first.
    #[must_use]
    pub fn first_text(&self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| self.text(key))
    }
}

/// OpenTelemetry's span kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpanKind {
    #[default]
    Unspecified,
    Internal,
    /// The receiving side of a call.
    Server,
    /// The calling side of a call.
    Client,
    /// Sends a message that is handled later.
    Producer,
    /// Handles a message that was sent earlier.
    Consumer,
}

/// OpenTelemetry's span status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SpanStatus {
    /// Counts as success.
    #[default]
    Unset,
    Ok,
    /// The producer's description, which may be empty.
    Error(String),
}

/// An event of a span. Only `exception` is interpreted.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanEvent {
    pub name: String,
    /// Nanoseconds since the Unix epoch.
    pub time_ns: i64,
    pub attributes: Attributes,
    /// Attributes that the producer or this program left out.
    pub dropped_attributes: u32,
}

/// A reference to another span, in this trace or another.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanLink {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub attributes: Attributes,
}

/// The producer of a span: process, service and machine, and here also repository and commit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resource {
    /// `service.name`, `vcs.*`, `os.type`, ...
    pub attributes: Attributes,
    /// Attributes that the producer or this program left out.
    pub dropped_attributes: u32,
}

/// OpenTelemetry's instrumentation scope: the library that made a span.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// Empty when it is not known.
    pub name: String,
    /// Empty when it is not known.
    pub version: String,
}

/// Counts of data that the producer or this program left out of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    pub attributes: u32,
    pub events: u32,
    pub links: u32,
}

/// One unit of work. Times are nanoseconds since the Unix epoch exactly as sent, so that a span may end
/// before it starts. [`super::trace::Trace`] corrects them.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub trace_id: TraceId,
    /// Unique within the trace.
    pub span_id: SpanId,
    /// None for a root.
    pub parent_span_id: Option<SpanId>,
    pub name: String,
    pub kind: SpanKind,
    pub start_ns: i64,
    pub end_ns: i64,
    pub status: SpanStatus,
    pub attributes: Attributes,
    pub events: Vec<SpanEvent>,
    pub links: Vec<SpanLink>,
    pub dropped: Dropped,
    /// W3C `tracestate` as sent. Empty when there was none.
    pub trace_state: String,
    /// Shared between the spans of a batch.
    pub scope: Arc<Scope>,
    /// Shared between the spans of a batch.
    pub resource: Arc<Resource>,
}

impl Span {
    /// An internal root span without attributes, from its ids, its name and its times in
    /// nanoseconds.
    #[must_use]
    pub fn new(trace_id: TraceId, span_id: SpanId, name: String, (start_ns, end_ns): (i64, i64)) -> Self {
        Self {
            trace_id,
            span_id,
            parent_span_id: None,
            name,
            kind: SpanKind::Internal,
            start_ns,
            end_ns,
            status: SpanStatus::Unset,
            attributes: Attributes::default(),
            events: Vec::new(),
            links: Vec::new(),
            dropped: Dropped::default(),
            trace_state: String::new(),
            scope: Arc::default(),
            resource: Arc::default(),
        }
    }

    /// An attribute of the span, else of its resource: producers put `service.name`, `pipeline.name`
    /// and `vcs.*` on either.
    #[must_use]
    pub fn text(&self, keys: &[&str]) -> Option<String> {
        self.attributes.first_text(keys).or_else(|| self.resource.attributes.first_text(keys))
    }

    /// The number of attributes, events, links and nested values, without the resource's.
    #[must_use]
    pub fn values(&self) -> usize {
        let of_events = self.events.iter().map(|event| 1 + event.attributes.values());
        let of_links = self.links.iter().map(|link| 1 + link.attributes.values());
        self.attributes.values() + of_events.chain(of_links).sum::<usize>()
    }

    #[must_use]
    pub fn failed(&self) -> bool {
        matches!(self.status, SpanStatus::Error(_))
    }
}
