//! Traces that links connect into one pipeline run: the other traces that a trace names, and which of
//! several is the run's own. The caller that collects the traces decides which form one run.

use std::collections::{BTreeMap, BTreeSet};

use super::ids::TraceId;
use super::span::{Span, SpanKind};

/// Most other traces that are taken from one trace's links. Further ones are ignored.
pub const MAX_LINKED: usize = 50;

/// The other traces that the spans' links name, at most [`MAX_LINKED`].
#[must_use]
pub fn linked(spans: &[Span]) -> Vec<TraceId> {
    let mut found = BTreeSet::new();
    for span in spans {
        for link in span.links.iter().filter(|link| link.trace_id != span.trace_id) {
            found.insert(link.trace_id);
            if found.len() == MAX_LINKED {
                return found.into_iter().collect();
            }
        }
    }
    found.into_iter().collect()
}

/// The trace, of several, whose root is the pipeline's root. None without spans.
/// The order of preference is:
/// 1. A trace that names its commit: `names_commit` is true for one of its spans.
/// 2. A trace whose root has no link to another of them. Such a link names the work that started it.
/// 3. A trace without a consumer that has such a link.
/// 4. The earliest trace.
#[must_use]
pub fn principal(spans: &[Span], names_commit: impl Fn(&Span) -> bool) -> Option<TraceId> {
    let mut traces: BTreeMap<TraceId, (bool, bool, bool, i64)> =
        spans.iter().map(|span| (span.trace_id, (true, false, false, i64::MAX))).collect();
    let known: BTreeSet<TraceId> = traces.keys().copied().collect();
    for span in spans {
        let is_linked =
            span.links.iter().any(|link| link.trace_id != span.trace_id && known.contains(&link.trace_id));
        let Some(trace) = traces.get_mut(&span.trace_id) else { continue };
        trace.0 = trace.0 && !names_commit(span);
        trace.1 |= is_linked && span.parent_span_id.is_none();
        trace.2 |= is_linked && matches!(span.kind, SpanKind::Consumer | SpanKind::Server);
        trace.3 = trace.3.min(span.start_ns);
    }
    traces.into_iter().min_by_key(|(id, rank)| (*rank, *id)).map(|(id, _)| id)
}

/// `with` and the traces that links connect with it, directly or through others. Links count in both
/// directions. Linear.
#[must_use]
pub fn connected(with: TraceId, links: &[(TraceId, TraceId)]) -> BTreeSet<TraceId> {
    let mut neighbours: BTreeMap<TraceId, Vec<TraceId>> = BTreeMap::new();
    for (one, other) in links {
        neighbours.entry(*one).or_default().push(*other);
        neighbours.entry(*other).or_default().push(*one);
    }
    let mut found = BTreeSet::from([with]);
    let mut open = vec![with];
    while let Some(trace) = open.pop() {
        for other in neighbours.get(&trace).into_iter().flatten() {
            if found.insert(*other) {
                open.push(*other);
            }
        }
    }
    found
}
