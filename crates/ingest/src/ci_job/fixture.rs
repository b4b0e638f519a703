//! Spans for the tests of this folder.

use pacegate_engine::model::ids::{SpanId, TraceId};
use pacegate_engine::model::span::{AttributeValue, Span, SpanKind, SpanStatus};

/// Builds one span of a fixed trace. By default it lasts from 0 s to 1 s.
#[derive(Debug, Clone)]
pub(super) struct SpanBuilder(Span);

pub(super) fn span_id(n: u32) -> SpanId {
    SpanId::from_bytes(&u64::from(n).to_be_bytes()).expect("not zero")
}

impl SpanBuilder {
    pub(super) fn new(id: u32, name: &str) -> Self {
        let trace = TraceId::from_bytes(&[7; 16]).expect("not zero");
        Self(Span::new(trace, span_id(id), name.to_owned(), (0, 1_000_000_000)))
    }

    pub(super) fn parent(mut self, id: u32) -> Self {
        self.0.parent_span_id = Some(span_id(id));
        self
    }

    /// Start and end in milliseconds.
    pub(super) fn ms(mut self, from: i64, to: i64) -> Self {
        (self.0.start_ns, self.0.end_ns) = (from * 1_000_000, to * 1_000_000);
        self
    }

    pub(super) fn kind(mut self, kind: SpanKind) -> Self {
        self.0.kind = kind;
        self
    }

    pub(super) fn status(mut self, status: SpanStatus) -> Self {
        self.0.status = status;
        self
    }

    pub(super) fn attributes(mut self, pairs: &[(&str, &str)]) -> Self {
        let text = |text: &str| AttributeValue::String(text.to_owned());
        self.0.attributes.0.extend(pairs.iter().map(|(key, value)| ((*key).to_owned(), text(value))));
        self
    }

    pub(super) fn int(mut self, key: &str, value: i64) -> Self {
        self.0.attributes.0.push((key.to_owned(), AttributeValue::Int(value)));
        self
    }

    pub(super) fn build(self) -> Span {
        self.0
    }
}
