//! Splits the spans of a file into runs: by trace, and a trace with several roots by root. A live
//! trace is not split: it is one run (`trace`).

use std::collections::HashMap;

use super::ids::{SpanId, TraceId};
use super::span::Span;

/// Returns one group for each root span, in order of start. A span whose parents lead to no root
/// goes with the trace's first root.
#[must_use]
pub fn split_by_root(spans: Vec<Span>) -> Vec<Vec<Span>> {
    let mut by_trace: Vec<Vec<Span>> = Vec::new();
    let mut place: HashMap<TraceId, usize> = HashMap::new();
    for span in spans {
        let at = *place.entry(span.trace_id).or_insert_with(|| {
            by_trace.push(Vec::new());
            by_trace.len() - 1
        });
        by_trace[at].push(span);
    }
    let mut groups: Vec<Vec<Span>> = by_trace.into_iter().flat_map(split_one_trace).collect();
    groups.sort_by_key(|g| g.iter().map(|s| s.start_ns).min());
    groups
}

fn split_one_trace(spans: Vec<Span>) -> Vec<Vec<Span>> {
    let roots: Vec<SpanId> = spans.iter().filter(|s| s.parent_span_id.is_none()).map(|s| s.span_id).collect();
    if roots.len() < 2 {
        return vec![spans];
    }
    let parent: HashMap<SpanId, Option<SpanId>> =
        spans.iter().map(|s| (s.span_id, s.parent_span_id)).collect();
    let mut group: HashMap<SpanId, usize> = roots.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    for span in &spans {
        let mut walked = Vec::new();
        let mut at = span.span_id;
        let found = loop {
            if let Some(g) = group.get(&at) {
                break *g;
            }
            walked.push(at);
            // A path longer than the trace is a cycle. The first root takes spans without a root.
            match parent.get(&at).copied().flatten() {
                Some(p) if parent.contains_key(&p) && walked.len() <= spans.len() => at = p,
                _ => break 0,
            }
        };
        for id in walked {
            group.insert(id, found);
        }
    }
    let mut groups: Vec<Vec<Span>> = vec![Vec::new(); roots.len()];
    for span in spans {
        let g = group.get(&span.span_id).copied().unwrap_or(0);
        groups[g].push(span);
    }
    groups.retain(|g| !g.is_empty());
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::trace::tests::span;

    #[test]
    fn spans_are_split_at_each_root() {
        let groups = split_by_root(vec![
            span(1, None, 5, 6),
            span(2, None, 0, 9),
            span(3, Some(1), 5, 6),
            span(4, Some(9), 1, 2),
        ]);
        let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, 3], "by start; the orphan goes with the first root");
    }
}
