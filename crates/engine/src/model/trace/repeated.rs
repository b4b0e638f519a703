//! Chooses between copies of a span that was received more than once, independent of their order. Two
//! copies are never merged.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::model::ids::{SpanId, TraceId};
use crate::model::span::{Span, SpanKind};

/// One span of each id, and the number of omitted copies with different content. Equal copies and
/// halves of shared spans are not counted. The order of preference is:
/// 1. A copy that ended, before an unfinished one.
/// 2. The caller's half of a span that Zipkin shares between both ends.
/// 3. The copy that ended last.
/// 4. The copy with more attributes, events and links.
pub(super) fn deduplicate(spans: Vec<Span>) -> (Vec<Span>, usize) {
    let mut place: HashMap<(TraceId, SpanId), usize> = HashMap::with_capacity(spans.len());
    let mut kept: Vec<Span> = Vec::with_capacity(spans.len());
    let mut differing = 0;
    for span in spans {
        match place.entry((span.trace_id, span.span_id)) {
            Entry::Vacant(free) => {
                free.insert(kept.len());
                kept.push(span);
            }
            Entry::Occupied(taken) => {
                let other = &mut kept[*taken.get()];
                differing += usize::from(!is_shared(other, &span) && *other != span);
                if rank(&span) > rank(other) {
                    *other = span;
                }
            }
        }
    }
    (kept, differing)
}

fn is_shared(one: &Span, other: &Span) -> bool {
    matches!(
        (one.kind, other.kind),
        (SpanKind::Client, SpanKind::Server) | (SpanKind::Server, SpanKind::Client)
    )
}

fn rank(span: &Span) -> (bool, bool, i64, usize, i64, &str) {
    let details = span.attributes.0.len() + span.events.len() + span.links.len();
    let is_finished = span.end_ns > span.start_ns;
    (is_finished, span.kind == SpanKind::Client, span.end_ns, details, span.start_ns, &span.name)
}
