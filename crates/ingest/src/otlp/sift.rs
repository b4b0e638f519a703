//! An OTLP protobuf request gone through where it lies. A span that has nothing to hide and
//! nothing to cut, as nearly all have, is kept byte for byte and never taken apart; the others
//! are read, cleaned and written anew. Memory is taken for what has to change alone.

use std::collections::HashMap;
use std::sync::Arc;

use super::protobuf::{self, Origin};
use super::write_protobuf::{resource_bytes, scope_bytes};
use crate::redact::{ATTRIBUTES_KEPT, EVENTS_KEPT, LINKS_KEPT, Redactor, TEXT_KEPT};
use crate::wire::{Allowance, Fields, Value, WireError};
use crate::{Decoded, IngestError, Limits, Rejected};
use pacegate_engine::model::ids::{IdError, SpanId, TraceId};
use pacegate_engine::model::span::{Resource, Scope, Span};

/// A request's spans, cleaned.
#[derive(Debug, Default)]
pub struct ScannedRequest<'a> {
    /// What groups of spans share: a resource and a scope, cleaned.
    pub groups: Vec<Group>,
    /// The spans, in the request's order.
    pub spans: Vec<SiftedSpan<'a>>,
    /// Those of them that were read, cleaned.
    pub read: Vec<Span>,
    /// Those that can't be used.
    pub rejected: Rejected,
}

/// What the spans of one scope of one resource share.
#[derive(Debug)]
pub struct Group {
    /// Resource and scope as values.
    pub origin: Origin,
    /// `Resource` as protobuf.
    pub resource: Arc<[u8]>,
    /// `InstrumentationScope` as protobuf.
    pub scope: Vec<u8>,
    _sent: Option<Origin>,
}

/// A span of a request.
#[derive(Debug)]
pub struct SiftedSpan<'a> {
    /// Its place among [`ScannedRequest::groups`].
    pub group: usize,
    /// Its trace.
    pub trace_id: TraceId,
    /// Whether it has no parent.
    pub is_root: bool,
    /// The span itself.
    pub form: Form<'a>,
}

/// How a span came out.
#[derive(Debug)]
pub enum Form<'a> {
    /// `Span` as protobuf, as it was sent: it says nothing of whose run it is.
    AsSent(&'a [u8]),
    /// Its place among [`ScannedRequest::read`].
    Read(usize),
}

/// Keys that begin so may say whose run it is: such a span is read.
const IDENTIFYING: [&str; 4] = ["vcs.", "github.", "ci.", "git."];
/// A trace state that is longer is looked at more closely.
const PLAIN_TRACE_STATE: usize = 256;

impl ScannedRequest<'_> {
    /// The same of spans that were read already, whatever form they came in.
    #[must_use]
    pub fn of(decoded: Decoded, redactor: &Redactor) -> Self {
        let mut sifted = Self { rejected: decoded.rejected, read: decoded.spans, ..Self::default() };
        let mut groups = Vec::new();
        let mut group_of: HashMap<(*const Resource, *const Scope), usize> = HashMap::new();
        sifted.spans.reserve_exact(sifted.read.len());
        for (at, span) in sifted.read.iter_mut().enumerate() {
            let shared = (Arc::as_ptr(&span.resource), Arc::as_ptr(&span.scope));
            let group = *group_of.entry(shared).or_insert_with(|| {
                let resource = redactor.redacted_resource(&span.resource);
                let scope = redactor.redacted_scope(&span.scope);
                groups.push(Group {
                    resource: resource_bytes(&resource).into(),
                    scope: scope_bytes(&scope),
                    // The originals live as long as the map: an address stands for one of them.
                    _sent: Some(Origin { resource: span.resource.clone(), scope: span.scope.clone() }),
                    origin: Origin { resource: Arc::new(resource), scope: Arc::new(scope) },
                });
                groups.len() - 1
            });
            let origin = &groups[group].origin;
            (span.resource, span.scope) = (origin.resource.clone(), origin.scope.clone());
            redactor.redact_span(span);
            sifted.spans.push(SiftedSpan {
                group,
                trace_id: span.trace_id,
                is_root: span.parent_span_id.is_none(),
                form: Form::Read(at),
            });
        }
        sifted.groups = groups;
        sifted
    }
}

/// Goes through a request.
///
/// # Errors
/// As [`super::decode_protobuf`]: what is accepted here can be read there.
pub fn sift<'a>(
    body: &'a [u8],
    limits: Limits,
    redactor: &Redactor,
) -> Result<ScannedRequest<'a>, IngestError> {
    let malformed = |e: WireError| protobuf::malformed(e, limits);
    if protobuf::count_spans(body).map_err(malformed)? > limits.spans {
        return Err(IngestError::TooManySpans { limit: limits.spans });
    }
    let mut sifted = ScannedRequest::default();
    let mut sieve = Scanner { redactor, left: Allowance(limits.values) };
    let mut fields = Fields::new(body);
    while let Some((number, value)) = fields.next().map_err(malformed)? {
        if let (1, Some(resource_spans)) = (number, value.bytes()) {
            sieve.resource_spans(resource_spans, &mut sifted).map_err(malformed)?;
        }
    }
    Ok(sifted)
}

struct Scanner<'r> {
    redactor: &'r Redactor,
    left: Allowance,
}

/// What was seen of a span without taking it apart.
#[derive(Default)]
struct Seen<'a> {
    trace_id: &'a [u8],
    span_id: &'a [u8],
    parent_span_id: &'a [u8],
    attributes: usize,
    events: usize,
    links: usize,
    /// Something has to be masked or cut, or is of no form that is known here.
    has_to_change: bool,
    identifies: bool,
}

impl<'a> Seen<'a> {
    /// The last of several counts, but none may stay that nobody looked at.
    fn id(&mut self, bytes: &'a [u8], of: impl Fn(&mut Self) -> &mut &'a [u8]) {
        self.has_to_change |= !of(self).is_empty();
        *of(self) = bytes;
    }
}

impl Scanner<'_> {
    fn resource_spans<'a>(
        &mut self,
        message: &'a [u8],
        into: &mut ScannedRequest<'a>,
    ) -> Result<(), WireError> {
        // Resources and scopes are few: they are read, cleaned and written anew.
        let resource = self.redactor.redacted_resource(&*protobuf::read_resource(message, &mut self.left)?);
        let resource_bytes: Arc<[u8]> = resource_bytes(&resource).into();
        let resource = Arc::new(resource);
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next()? {
            let (2, Some(scope_spans)) = (number, value.bytes()) else { continue };
            let scope = self.redactor.redacted_scope(&*protobuf::read_scope(scope_spans, &mut self.left)?);
            let group = into.groups.len();
            into.groups.push(Group {
                resource: resource_bytes.clone(),
                scope: scope_bytes(&scope),
                _sent: None,
                origin: Origin { resource: resource.clone(), scope: Arc::new(scope) },
            });
            let mut fields = Fields::new(scope_spans);
            while let Some((number, value)) = fields.next()? {
                if let (2, Some(span)) = (number, value.bytes()) {
                    self.span(span, group, into)?;
                }
            }
        }
        Ok(())
    }

    fn span<'a>(
        &mut self,
        message: &'a [u8],
        group: usize,
        into: &mut ScannedRequest<'a>,
    ) -> Result<(), WireError> {
        let before = self.left.0;
        let seen = self.look_at(message)?;
        let ids = || -> Result<_, IdError> {
            if !seen.parent_span_id.is_empty() {
                SpanId::from_bytes(seen.parent_span_id)?;
            }
            SpanId::from_bytes(seen.span_id)?;
            TraceId::from_bytes(seen.trace_id)
        };
        let trace_id = match ids() {
            Ok(trace_id) => trace_id,
            Err(error) => {
                into.rejected.add(|| error.to_string());
                return Ok(());
            }
        };
        let is_root = seen.parent_span_id.is_empty();
        let too_many =
            seen.attributes > ATTRIBUTES_KEPT || seen.events > EVENTS_KEPT || seen.links > LINKS_KEPT;
        if !(too_many || seen.has_to_change || seen.identifies) {
            into.spans.push(SiftedSpan { group, trace_id, is_root, form: Form::AsSent(message) });
            return Ok(());
        }
        // Counted once: what was looked at is now read.
        self.left.0 = before;
        let mut read = Decoded::default();
        protobuf::read_span(message, &into.groups[group].origin, &mut read, &mut self.left)?;
        if let Some(mut span) = read.spans.pop() {
            self.redactor.redact_span(&mut span);
            into.spans.push(SiftedSpan { group, trace_id, is_root, form: Form::Read(into.read.len()) });
            into.read.push(span);
        }
        Ok(())
    }

    fn look_at<'a>(&mut self, message: &'a [u8]) -> Result<Seen<'a>, WireError> {
        let mut seen = Seen::default();
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, Value::Bytes(bytes)) => seen.id(bytes, |seen| &mut seen.trace_id),
                (2, Value::Bytes(bytes)) => seen.id(bytes, |seen| &mut seen.span_id),
                (3, Value::Bytes(_)) => {
                    let text = value.text()?.unwrap_or_default();
                    seen.has_to_change |= !self.redactor.leaves_text(text, PLAIN_TRACE_STATE);
                }
                (4, Value::Bytes(bytes)) => seen.id(bytes, |seen| &mut seen.parent_span_id),
                (5, Value::Bytes(_)) => self.text(value, &mut seen)?,
                (6 | 10 | 12 | 14, Value::Varint(_)) | (7 | 8, Value::Fixed64(_)) | (16, Value::Fixed32) => {}
                (9, Value::Bytes(pair)) => {
                    seen.attributes += 1;
                    self.attribute(pair, &mut seen)?;
                }
                (11, Value::Bytes(event)) => {
                    seen.events += 1;
                    self.part(event, 3, Some(2), &mut seen)?;
                }
                (13, Value::Bytes(link)) => {
                    seen.links += 1;
                    self.part(link, 4, None, &mut seen)?;
                }
                (15, Value::Bytes(status)) => {
                    let mut fields = Fields::new(status);
                    while let Some((number, value)) = fields.next()? {
                        match (number, value) {
                            (2, Value::Bytes(_)) => self.text(value, &mut seen)?,
                            (3, Value::Varint(_)) => {}
                            _ => seen.has_to_change = true,
                        }
                    }
                }
                _ => seen.has_to_change = true,
            }
        }
        Ok(seen)
    }

    /// An event or a link: attributes, and for an event its name.
    fn part(
        &mut self,
        message: &[u8],
        attributes: u32,
        name: Option<u32>,
        seen: &mut Seen<'_>,
    ) -> Result<(), WireError> {
        self.left.spend()?;
        let (mut fields, mut count) = (Fields::new(message), 0);
        while let Some((number, value)) = fields.next()? {
            match value {
                Value::Bytes(pair) if number == attributes => {
                    count += 1;
                    self.attribute(pair, seen)?;
                }
                Value::Bytes(_) if Some(number) == name => self.text(value, seen)?,
                // A link's ids are bytes and its trace state is not kept; times and counts are numbers.
                Value::Bytes(id) if name.is_none() && number <= 2 => {
                    // What is no id is no part of a link, whatever else it may be.
                    seen.has_to_change |= id.len() != if number == 1 { 16 } else { 8 };
                }
                Value::Varint(_) | Value::Fixed64(_) | Value::Fixed32 => {}
                Value::Bytes(_) => seen.has_to_change = true,
            }
        }
        seen.has_to_change |= count > ATTRIBUTES_KEPT;
        Ok(())
    }

    fn text(&self, value: Value<'_>, seen: &mut Seen<'_>) -> Result<(), WireError> {
        let text = value.text()?.unwrap_or_default();
        seen.has_to_change |= !self.redactor.leaves_text(text, TEXT_KEPT);
        Ok(())
    }

    fn attribute(&mut self, pair: &[u8], seen: &mut Seen<'_>) -> Result<(), WireError> {
        self.left.spend()?;
        let mut fields = Fields::new(pair);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, Value::Bytes(_)) => {
                    let key = value.text()?.unwrap_or_default();
                    seen.has_to_change |= !self.redactor.leaves_key(key);
                    seen.identifies |= IDENTIFYING.iter().any(|prefix| key.starts_with(prefix));
                }
                (2, Value::Bytes(any)) => self.value(any, seen, true)?,
                _ => seen.has_to_change = true,
            }
        }
        Ok(())
    }

    fn value(&mut self, any: &[u8], seen: &mut Seen<'_>, may_be_list: bool) -> Result<(), WireError> {
        let mut fields = Fields::new(any);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, Value::Bytes(_)) => self.text(value, seen)?,
                (2 | 3, Value::Varint(_)) | (4, Value::Fixed64(_)) => {}
                (5, Value::Bytes(list)) if may_be_list => {
                    let (mut elements, mut count) = (Fields::new(list), 0);
                    while let Some((number, value)) = elements.next()? {
                        match (number, value) {
                            (1, Value::Bytes(any)) => {
                                count += 1;
                                self.left.spend()?;
                                self.value(any, seen, false)?;
                            }
                            _ => seen.has_to_change = true,
                        }
                    }
                    seen.has_to_change |= count > ATTRIBUTES_KEPT;
                }
                // Maps, lists in lists, bytes, and what later versions bring.
                _ => seen.has_to_change = true,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
