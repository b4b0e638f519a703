//! Writes the spans of one trace as one OTLP message, which the store keeps. The size is known before
//! the message is written.

use std::borrow::Cow;
use std::sync::Arc;

use super::scan::{Form, Group, ScannedSpan};
use super::write_protobuf::span_bytes;
use pacegate_engine::model::span::Span;

/// The spans of one trace in a request.
#[derive(Debug, Default)]
pub struct TraceBatch<'a> {
    parts: Vec<Part<'a>>,
    spans: usize,
}

/// Neighbouring spans of one group.
#[derive(Debug)]
struct Part<'a> {
    group: usize,
    spans: Vec<Cow<'a, [u8]>>,
    /// Size of the spans, with the tag and length of each.
    bytes: usize,
}

impl<'a> TraceBatch<'a> {
    /// Adds a span. `read` is [`super::ScannedRequest::read`].
    pub fn push(&mut self, span: &ScannedSpan<'a>, read: &[Span]) {
        let bytes = match span.form {
            Form::AsSent(bytes) => Cow::Borrowed(bytes),
            Form::Read(at) => Cow::Owned(span_bytes(&read[at])),
        };
        self.spans += 1;
        if self.parts.last().is_none_or(|part| part.group != span.group) {
            self.parts.push(Part { group: span.group, spans: Vec::new(), bytes: 0 });
        }
        if let Some(part) = self.parts.last_mut() {
            part.bytes += field_size(bytes.len());
            part.spans.push(bytes);
        }
    }

    /// The number of spans.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans
    }

    /// `true` if it has no spans.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans == 0
    }

    /// The number of bytes that [`TraceBatch::write`] writes.
    #[must_use]
    pub fn size(&self, groups: &[Group]) -> usize {
        self.by_resource(groups).map(|parts| field_size(resource_spans_size(parts, groups))).sum()
    }

    /// Neighbouring parts with the same resource, which is written once for them.
    fn by_resource<'p>(&'p self, groups: &'p [Group]) -> impl Iterator<Item = &'p [Part<'a>]> {
        self.parts
            .chunk_by(|one, next| Arc::ptr_eq(&groups[one.group].resource, &groups[next.group].resource))
    }

    /// Writes an `ExportTraceServiceRequest`. `groups` is [`super::ScannedRequest::groups`].
    #[must_use]
    pub fn write(&self, groups: &[Group]) -> Vec<u8> {
        let mut message = Vec::with_capacity(self.size(groups));
        for parts in self.by_resource(groups) {
            head(1, resource_spans_size(parts, groups), &mut message);
            field(1, &groups[parts[0].group].resource, &mut message);
            for part in parts {
                let group = &groups[part.group];
                head(2, part.size(group), &mut message);
                field(1, &group.scope, &mut message);
                for span in &part.spans {
                    field(2, span, &mut message);
                }
            }
        }
        message
    }
}

impl Part<'_> {
    /// Size of its `ScopeSpans`, without tag and length.
    fn size(&self, group: &Group) -> usize {
        field_size(group.scope.len()) + self.bytes
    }
}

/// Size of the `ResourceSpans` of parts with the same resource, without tag and length.
fn resource_spans_size(parts: &[Part<'_>], groups: &[Group]) -> usize {
    let resource = parts.first().map_or(0, |part| field_size(groups[part.group].resource.len()));
    resource + parts.iter().map(|part| field_size(part.size(&groups[part.group]))).sum::<usize>()
}

/// Size of a length-delimited field whose number is below 16, with tag and length.
fn field_size(length: usize) -> usize {
    let bits = usize::BITS - (length | 1).leading_zeros();
    1 + bits.div_ceil(7) as usize + length
}

fn head(number: u8, mut length: usize, into: &mut Vec<u8>) {
    into.push(number << 3 | 2);
    while length > 0x7f {
        into.push(length.to_le_bytes()[0] | 0x80);
        length >>= 7;
    }
    into.push(length.to_le_bytes()[0]);
}

fn field(number: u8, bytes: &[u8], into: &mut Vec<u8>) {
    head(number, bytes.len(), into);
    into.extend_from_slice(bytes);
}
