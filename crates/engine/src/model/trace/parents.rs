//! Finds the place of each span: below its parent, below a span it is linked with, or below the root.
//! Cycles are cut. It works on indices into spans in order of start. All of it is linear.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::Repairs;
use crate::model::ids::{SpanId, TraceId};
use crate::model::span::Span;

/// A forest that became one tree.
pub(super) struct Parents {
    pub(super) root: usize,
    pub(super) of: Vec<Option<usize>>,
    /// Whether a link determined the span's parent.
    pub(super) by_link: Vec<bool>,
}

impl Parents {
    /// The spans are of one trace, or of several that are linked. Then the root is that of `principal`.
    /// None without spans.
    pub(super) fn find(spans: &[Span], principal: Option<TraceId>, repairs: &mut Repairs) -> Option<Self> {
        let index: HashMap<(TraceId, SpanId), usize> =
            spans.iter().enumerate().map(|(i, s)| ((s.trace_id, s.span_id), i)).collect();
        let of = spans.iter().enumerate().map(|(i, s)| {
            s.parent_span_id.and_then(|p| index.get(&(s.trace_id, p)).copied()).filter(|p| *p != i)
        });
        let mut of: Vec<Option<usize>> = of.collect();
        repairs.cycles += cut_cycles(&mut of);
        let roots = local_roots(spans, &of);
        let main = principal.filter(|id| roots.contains_key(id));
        let root = match main {
            Some(principal) => roots[&principal],
            None => *roots.values().max_by_key(|i| rank(spans, **i))?,
        };
        let mut parents = Self { root, of, by_link: vec![false; spans.len()] };
        parents.follow_links(spans, &index, &roots);
        parents.attach_the_rest(spans, &index, &roots, repairs);
        Some(parents)
    }

    /// Attaches spans without a caller to the span that they are linked with: by their own link, else by
    /// a link of a span in another trace.
    fn follow_links(
        &mut self,
        spans: &[Span],
        index: &HashMap<(TraceId, SpanId), usize>,
        roots: &HashMap<TraceId, usize>,
    ) {
        let mut linked_from: HashMap<TraceId, usize> = HashMap::new();
        if roots.len() > 1 {
            for (i, span) in spans.iter().enumerate() {
                for link in span.links.iter().filter(|link| link.trace_id != span.trace_id) {
                    linked_from.entry(link.trace_id).or_insert(i);
                }
            }
        }
        for (i, span) in spans.iter().enumerate() {
            if i == self.root || self.of[i].is_some() {
                continue;
            }
            let is_local_root = roots.get(&span.trace_id) == Some(&i);
            // A span whose parent is missing stays with its trace, unless it is the local root.
            if span.parent_span_id.is_some() && !is_local_root {
                continue;
            }
            let own = span.links.iter().find_map(|link| index.get(&(link.trace_id, link.span_id)).copied());
            let others = || linked_from.get(&span.trace_id).copied().filter(|_| is_local_root);
            if let Some(linked) = own.filter(|linked| *linked != i).or_else(others) {
                (self.of[i], self.by_link[i]) = (Some(linked), true);
            }
        }
        cut_cycles(&mut self.of);
    }

    /// Attaches spans without a parent to their trace's root, and other traces' roots to the root.
    fn attach_the_rest(
        &mut self,
        spans: &[Span],
        index: &HashMap<(TraceId, SpanId), usize>,
        roots: &HashMap<TraceId, usize>,
        repairs: &mut Repairs,
    ) {
        for (i, span) in spans.iter().enumerate() {
            if i == self.root || self.of[i].is_some() {
                continue;
            }
            let local_root = roots.get(&span.trace_id).copied().unwrap_or(self.root);
            if local_root == i {
                // Another trace's root without its linked span. It counts as linked, because the
                // pipeline did not wait for it.
                (self.of[i], self.by_link[i]) = (Some(self.root), span.trace_id != spans[self.root].trace_id);
                continue;
            }
            (self.of[i], self.by_link[i]) = (Some(local_root), false);
            match span.parent_span_id {
                None => repairs.second_roots += 1,
                Some(p) if !index.contains_key(&(span.trace_id, p)) => repairs.orphans += 1,
                Some(_) => {} // Counted when its cycle was cut.
            }
        }
        // A local root may have been linked below a span that is now below it.
        cut_cycles(&mut self.of);
        for i in (0..spans.len()).filter(|i| *i != self.root) {
            self.of[i].get_or_insert(self.root);
        }
    }
}

/// The root of each trace: of several spans without a parent the longest, then the earliest. When every
/// span names a parent, the root is the earliest whose parent is missing.
fn local_roots(spans: &[Span], parent: &[Option<usize>]) -> HashMap<TraceId, usize> {
    let mut roots: HashMap<TraceId, usize> = HashMap::new();
    for (i, span) in spans.iter().enumerate().filter(|(i, _)| parent[*i].is_none()) {
        let best = roots.entry(span.trace_id).or_insert(i);
        if rank(spans, i) > rank(spans, *best) {
            *best = i;
        }
    }
    roots
}

fn rank(spans: &[Span], i: usize) -> (bool, i64, Reverse<usize>) {
    let span = &spans[i];
    let is_root = span.parent_span_id.is_none();
    (is_root, if is_root { span.end_ns.saturating_sub(span.start_ns) } else { 0 }, Reverse(i))
}

/// Cuts each cycle at its earliest span (the lowest index). Returns the number of spans in cycles.
fn cut_cycles(parent: &mut [Option<usize>]) -> usize {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnPath,
        Done,
    }
    let mut mark = vec![Mark::New; parent.len()];
    let mut found = 0;
    for start in 0..parent.len() {
        let mut path = Vec::new();
        let mut at = Some(start);
        while let Some(i) = at.filter(|i| mark[*i] == Mark::New) {
            mark[i] = Mark::OnPath;
            path.push(i);
            at = parent[i];
        }
        if let Some(i) = at.filter(|i| mark[*i] == Mark::OnPath) {
            let cycle = path.iter().position(|p| *p == i).map_or(&path[..0], |from| &path[from..]);
            if let Some(earliest) = cycle.iter().min() {
                parent[*earliest] = None;
                found += cycle.len();
            }
        }
        for i in path {
            mark[i] = Mark::Done;
        }
    }
    found
}
