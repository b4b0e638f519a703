//! Redacts an OTLP protobuf request in place. A span without secrets and within all bounds keeps its
//! bytes and is never decoded; nearly all spans are like this. The others are decoded, redacted and
//! encoded again. Only spans that change take memory.

use std::collections::HashMap;
use std::sync::Arc;

use super::protobuf::{self, Origin};
use super::write_protobuf::{resource_bytes, scope_bytes};
use crate::redact::{ATTRIBUTES_KEPT, EVENTS_KEPT, LINKS_KEPT, Redactor, TEXT_KEPT};
use crate::wire::{Allowance, Fields, Value, WireError};
use crate::{Decoded, IngestError, Limits, Rejected};
use pacegate_engine::model::ids::{IdError, SpanId, TraceId};
use pacegate_engine::model::span::{Resource, Scope, Span};

/// The redacted spans of a request.
#[derive(Debug, Default)]
pub struct ScannedRequest<'a> {
    /// The redacted resource and scope of each group of spans.
    pub groups: Vec<Group>,
    /// All spans, in the request's order.
    pub spans: Vec<ScannedSpan<'a>>,
    /// The spans that were decoded and redacted.
    pub read: Vec<Span>,
    /// Counts the unusable spans.
    pub rejected: Rejected,
}

/// The resource and scope that a group of spans shares.
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
pub struct ScannedSpan<'a> {
    /// Index into [`ScannedRequest::groups`].
    pub group: usize,
    /// The span's trace.
    pub trace_id: TraceId,
    /// `true` if the span has no parent.
    pub is_root: bool,
    /// The span's content.
    pub form: Form<'a>,
}

/// The form of a span after scanning.
#[derive(Debug)]
pub enum Form<'a> {
    /// The unchanged bytes of a protobuf `Span`. It has no attributes that identify a repository or
    /// commit.
    AsSent(&'a [u8]),
    /// Index into [`ScannedRequest::read`].
    Read(usize),
}

/// Keys with these prefixes can identify the repository or commit of a run. Such a span is decoded.
const IDENTIFYING: [&str; 4] = ["vcs.", "github.", "ci.", "git."];
/// A span with a longer trace state is decoded and redacted, bytes.
const PLAIN_TRACE_STATE: usize = 256;

impl ScannedRequest<'_> {
    /// Redacts spans that were decoded already, from any format.
    #[must_use]
    pub(crate) fn of(decoded: Decoded, redactor: &Redactor) -> Self {
        let mut scanned = Self { rejected: decoded.rejected, read: decoded.spans, ..Self::default() };
        let mut groups = Vec::new();
        let mut group_of: HashMap<(*const Resource, *const Scope), usize> = HashMap::new();
        scanned.spans.reserve_exact(scanned.read.len());
        for (at, span) in scanned.read.iter_mut().enumerate() {
            let shared = (Arc::as_ptr(&span.resource), Arc::as_ptr(&span.scope));
            let group = *group_of.entry(shared).or_insert_with(|| {
                let resource = redactor.redacted_resource(&span.resource);
                let scope = Redactor::redacted_scope(&span.scope);
                groups.push(Group {
                    resource: resource_bytes(&resource).into(),
                    scope: scope_bytes(&scope),
                    // `group_of` has the addresses of the originals: they have to outlive it.
                    _sent: Some(Origin { resource: span.resource.clone(), scope: span.scope.clone() }),
                    origin: Origin { resource: Arc::new(resource), scope: Arc::new(scope) },
                });
                groups.len() - 1
            });
            let origin = &groups[group].origin;
            (span.resource, span.scope) = (origin.resource.clone(), origin.scope.clone());
            redactor.redact_span(span);
            scanned.spans.push(ScannedSpan {
                group,
                trace_id: span.trace_id,
                is_root: span.parent_span_id.is_none(),
                form: Form::Read(at),
            });
        }
        scanned.groups = groups;
        scanned
    }
}

/// Scans and redacts a request.
///
/// # Errors
/// The same as [`super::decode_protobuf`], for the same requests.
pub(crate) fn scan<'a>(
    body: &'a [u8],
    limits: Limits,
    redactor: &Redactor,
) -> Result<ScannedRequest<'a>, IngestError> {
    let malformed = |e: WireError| protobuf::malformed(e, limits);
    if protobuf::count_spans(body).map_err(malformed)? > limits.spans {
        return Err(IngestError::TooManySpans { limit: limits.spans });
    }
    let mut scanned = ScannedRequest::default();
    let mut scanner = Scanner { redactor, left: Allowance(limits.values) };
    let mut fields = Fields::new(body);
    while let Some((number, value)) = fields.next().map_err(malformed)? {
        if let (1, Some(resource_spans)) = (number, value.bytes()) {
            scanner.resource_spans(resource_spans, &mut scanned).map_err(malformed)?;
        }
    }
    Ok(scanned)
}

struct Scanner<'r> {
    redactor: &'r Redactor,
    left: Allowance,
}

/// Findings about a span that is not decoded.
#[derive(Default)]
struct Inspection<'a> {
    trace_id: &'a [u8],
    span_id: &'a [u8],
    parent_span_id: &'a [u8],
    attributes: usize,
    events: usize,
    links: usize,
    /// A part has to be masked or cut, or is unknown here.
    has_to_change: bool,
    /// An attribute can identify the repository or commit.
    identifies: bool,
}

impl<'a> Inspection<'a> {
    /// The last id of several is used. The earlier ones were not checked, so the span has to change.
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
        // Resources and scopes are few: they are always decoded, redacted and encoded again.
        let resource = self.redactor.redacted_resource(&*protobuf::read_resource(message, &mut self.left)?);
        let resource_bytes: Arc<[u8]> = resource_bytes(&resource).into();
        let resource = Arc::new(resource);
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next()? {
            let (2, Some(scope_spans)) = (number, value.bytes()) else { continue };
            let scope = Redactor::redacted_scope(&*protobuf::read_scope(scope_spans, &mut self.left)?);
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
        let seen = self.inspect(message)?;
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
            into.spans.push(ScannedSpan { group, trace_id, is_root, form: Form::AsSent(message) });
            return Ok(());
        }
        // Decoding counts the same values again.
        self.left.0 = before;
        let mut read = Decoded::default();
        protobuf::read_span(message, &into.groups[group].origin, &mut read, &mut self.left)?;
        if let Some(mut span) = read.spans.pop() {
            self.redactor.redact_span(&mut span);
            into.spans.push(ScannedSpan { group, trace_id, is_root, form: Form::Read(into.read.len()) });
            into.read.push(span);
        }
        Ok(())
    }

    fn inspect<'a>(&mut self, message: &'a [u8]) -> Result<Inspection<'a>, WireError> {
        let mut seen = Inspection::default();
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, Value::Bytes(bytes)) => seen.id(bytes, |seen| &mut seen.trace_id),
                (2, Value::Bytes(bytes)) => seen.id(bytes, |seen| &mut seen.span_id),
                (3, Value::Bytes(_)) => {
                    let text = value.text()?.unwrap_or_default();
                    seen.has_to_change |= !Redactor::leaves_text(text, PLAIN_TRACE_STATE);
                }
                (4, Value::Bytes(bytes)) => seen.id(bytes, |seen| &mut seen.parent_span_id),
                (5, Value::Bytes(_)) => Self::text(value, &mut seen)?,
                (6 | 10 | 12 | 14, Value::Varint(_)) | (7 | 8, Value::Fixed64(_)) | (16, Value::Fixed32) => {}
                (9, Value::Bytes(pair)) => {
                    seen.attributes += 1;
                    self.attribute(pair, &mut seen)?;
                }
                (11, Value::Bytes(event)) => {
                    seen.events += 1;
                    self.event_or_link(event, 3, Some(2), &mut seen)?;
                }
                (13, Value::Bytes(link)) => {
                    seen.links += 1;
                    self.event_or_link(link, 4, None, &mut seen)?;
                }
                (15, Value::Bytes(status)) => {
                    let mut fields = Fields::new(status);
                    while let Some((number, value)) = fields.next()? {
                        match (number, value) {
                            (2, Value::Bytes(_)) => Self::text(value, &mut seen)?,
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

    /// Inspects an event or a link. `attributes` and `name` are field numbers; a link has no name.
    fn event_or_link(
        &mut self,
        message: &[u8],
        attributes: u32,
        name: Option<u32>,
        seen: &mut Inspection<'_>,
    ) -> Result<(), WireError> {
        self.left.spend()?;
        let (mut fields, mut count) = (Fields::new(message), 0);
        while let Some((number, value)) = fields.next()? {
            match value {
                Value::Bytes(pair) if number == attributes => {
                    count += 1;
                    self.attribute(pair, seen)?;
                }
                Value::Bytes(_) if Some(number) == name => Self::text(value, seen)?,
                // A link's ids are bytes, and its trace state is never kept.
                Value::Bytes(id) if name.is_none() && number <= 2 => {
                    // Bytes of another length are not an id and may be a secret.
                    seen.has_to_change |= id.len() != if number == 1 { 16 } else { 8 };
                }
                Value::Varint(_) | Value::Fixed64(_) | Value::Fixed32 => {}
                Value::Bytes(_) => seen.has_to_change = true,
            }
        }
        seen.has_to_change |= count > ATTRIBUTES_KEPT;
        Ok(())
    }

    fn text(value: Value<'_>, seen: &mut Inspection<'_>) -> Result<(), WireError> {
        let text = value.text()?.unwrap_or_default();
        seen.has_to_change |= !Redactor::leaves_text(text, TEXT_KEPT);
        Ok(())
    }

    fn attribute(&mut self, pair: &[u8], seen: &mut Inspection<'_>) -> Result<(), WireError> {
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

    fn value(&mut self, any: &[u8], seen: &mut Inspection<'_>, may_be_list: bool) -> Result<(), WireError> {
        let mut fields = Fields::new(any);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, Value::Bytes(_)) => Self::text(value, seen)?,
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
                // Maps, lists in lists, bytes and fields of later versions.
                _ => seen.has_to_change = true,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
