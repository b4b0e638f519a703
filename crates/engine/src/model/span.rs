//! A span as every protocol delivers it: OpenTelemetry's data model, already bounded and
//! decoded. Where it stands in its trace is `trace.rs`; what it means is `gate/`.

use std::sync::Arc;

use super::ids::{SpanId, TraceId};

/// A value of an attribute. NaN and infinities are kept here: they are data, not durations.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeValue {
    /// UTF-8 text.
    String(String),
    /// True or false.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// A double, which may be NaN.
    Double(f64),
    /// Opaque bytes.
    Bytes(Vec<u8>),
    /// A list.
    Array(Vec<AttributeValue>),
    /// A nested list of attributes.
    Map(Attributes),
    /// OpenTelemetry's empty value.
    Empty,
}

impl AttributeValue {
    /// The text of a scalar value: integers, booleans and doubles are written out, because
    /// producers send ids as either (`cicd.pipeline.run.id` = 7 or "7").
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

    /// How many values it is, nested ones counted too.
    fn values(&self) -> usize {
        match self {
            Self::Array(values) => 1 + values.iter().map(Self::values).sum::<usize>(),
            Self::Map(attributes) => 1 + attributes.values(),
            _ => 1,
        }
    }
}

/// Attributes in the order they came. Keys may repeat on the wire; the first one counts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attributes(pub Vec<(String, AttributeValue)>);

impl Attributes {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&AttributeValue> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// The value of a key as text, empty text being the same as no value.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        self.get(key).and_then(AttributeValue::to_text).filter(|t| !t.is_empty())
    }

    /// How many values they hold, nested ones counted too.
    #[must_use]
    pub fn values(&self) -> usize {
        self.0.iter().map(|(_, value)| value.values()).sum()
    }

    /// The first of several keys that has a text: aliases, the preferred one first.
    #[must_use]
    pub fn first_text(&self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| self.text(key))
    }
}

/// OpenTelemetry's span kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpanKind {
    /// Not said.
    #[default]
    Unspecified,
    /// Work inside one process.
    Internal,
    /// The receiving side of a call.
    Server,
    /// The calling side of a call.
    Client,
    /// Sent a message that is handled later.
    Producer,
    /// Handles a message that was sent earlier.
    Consumer,
}

/// OpenTelemetry's span status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SpanStatus {
    /// Not said: counts as fine.
    #[default]
    Unset,
    /// Said to be fine.
    Ok,
    /// Failed, with the producer's description (possibly empty).
    Error(String),
}

/// Something that happened at one moment of a span; `exception` is the one we read.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanEvent {
    /// Name, such as `exception` or `stage-started`.
    pub name: String,
    /// Nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// Details, such as `exception.type`.
    pub attributes: Attributes,
    /// Details that were left out, by the producer or here.
    pub dropped_attributes: u32,
}

/// A reference to another span, of this trace or another.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanLink {
    /// The other span's trace.
    pub trace_id: TraceId,
    /// The other span.
    pub span_id: SpanId,
    /// Details.
    pub attributes: Attributes,
}

/// Who sent a span: the process, service and machine, and for us the repository and commit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resource {
    /// `service.name`, `vcs.*`, `os.type`, ...
    pub attributes: Attributes,
    /// Details that were left out, by the producer or here.
    pub dropped_attributes: u32,
}

/// The library that made a span: OpenTelemetry's instrumentation scope.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// Its name; empty when it is not said.
    pub name: String,
    /// Its version; empty when it is not said.
    pub version: String,
}

/// How much of a span was left out, by the producer or here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Attributes.
    pub attributes: u32,
    /// Events.
    pub events: u32,
    /// Links.
    pub links: u32,
}

/// One unit of work. Times are nanoseconds since the Unix epoch exactly as sent: a span may
/// still end before it starts. [`super::trace::Trace`] is what has been put right.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its own id, unique within the trace.
    pub span_id: SpanId,
    /// The span that caused it; none for a root.
    pub parent_span_id: Option<SpanId>,
    /// What it is called.
    pub name: String,
    /// Its role.
    pub kind: SpanKind,
    /// When it began.
    pub start_ns: i64,
    /// When it ended.
    pub end_ns: i64,
    /// Whether it failed.
    pub status: SpanStatus,
    /// Its details.
    pub attributes: Attributes,
    /// What happened in it.
    pub events: Vec<SpanEvent>,
    /// What else it refers to.
    pub links: Vec<SpanLink>,
    /// How much of it was left out.
    pub dropped: Dropped,
    /// W3C `tracestate` as it was sent; empty when there was none.
    pub trace_state: String,
    /// The library that made it; shared between the spans of a batch.
    pub scope: Arc<Scope>,
    /// Who sent it; shared between the spans of a batch.
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

    /// A detail of the span itself, else of its resource: producers put `service.name`,
    /// `pipeline.name` and `vcs.*` on either.
    #[must_use]
    pub fn text(&self, keys: &[&str]) -> Option<String> {
        self.attributes.first_text(keys).or_else(|| self.resource.attributes.first_text(keys))
    }

    /// How many attributes, events, links and nested values it holds, its resource aside.
    #[must_use]
    pub fn values(&self) -> usize {
        let of_events = self.events.iter().map(|event| 1 + event.attributes.values());
        let of_links = self.links.iter().map(|link| 1 + link.attributes.values());
        self.attributes.values() + of_events.chain(of_links).sum::<usize>()
    }

    /// Whether the producer marked it as failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        matches!(self.status, SpanStatus::Error(_))
    }
}
