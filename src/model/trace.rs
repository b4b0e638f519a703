//! A trace that has been put right: a forest without cycles, missing parents or reversed
//! times. What had to be changed is counted, so that it can be said.

use std::collections::HashMap;

use super::ids::{SpanId, TraceId};
use super::span::Span;

/// Spans below this depth are hung on their ancestor at it.
pub const MAX_DEPTH: usize = 64;

/// What was put right while building a [`Trace`]. All counts are of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repairs {
    /// Sent more than once: the first is kept.
    pub duplicates: usize,
    /// Ended before they began: taken as of zero length.
    pub reversed: usize,
    /// Named a parent that is not there: hung on the root.
    pub orphans: usize,
    /// Were their own ancestor: the cycle was cut at the earliest of them.
    pub cycles: usize,
    /// Were deeper than [`MAX_DEPTH`].
    pub too_deep: usize,
    /// Had no parent although another span is the root: hung on that one.
    pub second_roots: usize,
}

impl Repairs {
    /// One sentence for each kind of repair that was made.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let spans = |n: usize| if n == 1 { "1 span".to_owned() } else { format!("{n} spans") };
        [
            (self.duplicates, "sent more than once: the first copy was kept"),
            (self.reversed, "ended before beginning: taken as of zero length"),
            (self.orphans, "named a parent that never came: placed under the root"),
            (self.cycles, "formed a circle of parents: the circle was cut"),
            (self.too_deep, "nested deeper than 64 levels: placed at that depth"),
            (self.second_roots, "had no parent beside the root: placed under the root"),
        ]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{} {what}", spans(n)))
        .collect()
    }
}

/// A span's place in its [`Trace`]: an index that is valid for that trace alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node(u32);

impl Node {
    /// Its position among [`Trace::nodes`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One tree of spans with one root. Every span but the root has a parent that comes before
/// it; depth is at most [`MAX_DEPTH`]; no span ends before it starts; span ids are unique.
#[derive(Debug, Clone)]
pub struct Trace {
    spans: Vec<Span>,
    parents: Vec<Option<Node>>,
    children: Vec<Vec<Node>>,
    repairs: Repairs,
}

impl Trace {
    /// Makes one tree of the spans of one trace. The root is the span without a parent; of
    /// several, the longest, then the earliest. When every span names a parent, it is the
    /// earliest one whose parent is missing: the local root of a remote trace.
    ///
    /// Returns `None` for no spans. Work and memory are linear (times a logarithm) in the
    /// number of spans, and nothing recurses, whatever the parents say.
    #[must_use]
    pub fn build(spans: Vec<Span>) -> Option<Self> {
        let mut repairs = Repairs::default();
        let mut spans = deduplicate(spans, &mut repairs);
        for span in &mut spans {
            if span.end_ns < span.start_ns {
                span.end_ns = span.start_ns;
                repairs.reversed += 1;
            }
        }
        // Siblings in time order, whatever order the batches came in.
        spans.sort_by(|a, b| (a.start_ns, b.end_ns, a.span_id).cmp(&(b.start_ns, a.end_ns, b.span_id)));
        let index: HashMap<SpanId, usize> = spans.iter().enumerate().map(|(i, s)| (s.span_id, i)).collect();
        let mut parent: Vec<Option<usize>> = spans
            .iter()
            .enumerate()
            .map(|(i, s)| s.parent_span_id.and_then(|p| index.get(&p).copied()).filter(|p| *p != i))
            .collect();
        cut_cycles(&mut parent, &mut repairs);
        let root = choose_root(&spans, &parent)?;
        for i in (0..spans.len()).filter(|i| *i != root) {
            if parent[i].is_none() {
                parent[i] = Some(root);
                match spans[i].parent_span_id {
                    None => repairs.second_roots += 1,
                    Some(p) if !index.contains_key(&p) => repairs.orphans += 1,
                    Some(_) => {} // counted when its cycle was cut
                }
            }
        }
        Some(Self::lay_out(spans, &parent, root, repairs))
    }

    /// Orders spans so that parents come first and bounds the depth.
    fn lay_out(spans: Vec<Span>, parent: &[Option<usize>], root: usize, mut repairs: Repairs) -> Self {
        let mut children_of: Vec<Vec<usize>> = vec![Vec::new(); spans.len()];
        for (i, p) in parent.iter().enumerate() {
            if let Some(p) = p {
                children_of[*p].push(i);
            }
        }
        let mut order: Vec<usize> = Vec::with_capacity(spans.len());
        let mut depth = vec![0_usize; spans.len()];
        let mut place: Vec<Option<usize>> = vec![None; spans.len()];
        let mut queue = std::collections::VecDeque::from([root]);
        while let Some(i) = queue.pop_front() {
            order.push(i);
            for &child in &children_of[i] {
                if depth[i] + 1 > MAX_DEPTH {
                    repairs.too_deep += 1;
                    depth[child] = depth[i];
                    place[child] = place[i];
                } else {
                    depth[child] = depth[i] + 1;
                    place[child] = Some(i);
                }
                queue.push_back(child);
            }
        }
        let mut new_index = vec![0_u32; spans.len()];
        for (new, old) in order.iter().enumerate() {
            new_index[*old] = u32::try_from(new).unwrap_or(u32::MAX);
        }
        let mut slots: Vec<Option<Span>> = spans.into_iter().map(Some).collect();
        let mut trace = Self {
            spans: Vec::with_capacity(order.len()),
            parents: Vec::with_capacity(order.len()),
            children: vec![Vec::new(); order.len()],
            repairs,
        };
        for (new, old) in order.into_iter().enumerate() {
            let Some(span) = slots[old].take() else { continue };
            let parent = place[old].map(|p| Node(new_index[p]));
            if let Some(p) = parent {
                trace.children[p.index()].push(Node(u32::try_from(new).unwrap_or(u32::MAX)));
            }
            trace.spans.push(span);
            trace.parents.push(parent);
        }
        for list in &mut trace.children {
            list.sort_by_key(|n| (trace.spans[n.index()].start_ns, n.0));
        }
        trace
    }

    /// The root's place.
    #[must_use]
    pub fn root(&self) -> Node {
        Node(0)
    }

    /// The span at a place.
    ///
    /// # Panics
    /// When the place belongs to another trace.
    #[must_use]
    pub fn span(&self, node: Node) -> &Span {
        &self.spans[node.index()]
    }

    /// The place of what holds a span; none for the root.
    #[must_use]
    pub fn parent(&self, node: Node) -> Option<Node> {
        self.parents[node.index()]
    }

    /// What a span holds, in order of start.
    #[must_use]
    pub fn children(&self, node: Node) -> &[Node] {
        &self.children[node.index()]
    }

    /// Every place, parents before children.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        (0..u32::try_from(self.spans.len()).unwrap_or(u32::MAX)).map(Node)
    }

    /// Every span, parents before children.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The trace's id.
    #[must_use]
    pub fn id(&self) -> TraceId {
        self.spans[0].trace_id
    }

    /// What had to be put right.
    #[must_use]
    pub fn repairs(&self) -> Repairs {
        self.repairs
    }
}

fn deduplicate(spans: Vec<Span>, repairs: &mut Repairs) -> Vec<Span> {
    let mut seen = std::collections::HashSet::with_capacity(spans.len());
    let before = spans.len();
    let kept: Vec<Span> = spans.into_iter().filter(|s| seen.insert(s.span_id)).collect();
    repairs.duplicates = before - kept.len();
    kept
}

/// Cuts each cycle at its earliest span (the lowest index: spans are in time order).
fn cut_cycles(parent: &mut [Option<usize>], repairs: &mut Repairs) {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnPath,
        Done,
    }
    let mut mark = vec![Mark::New; parent.len()];
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
                repairs.cycles += cycle.len();
            }
        }
        for i in path {
            mark[i] = Mark::Done;
        }
    }
}

fn choose_root(spans: &[Span], parent: &[Option<usize>]) -> Option<usize> {
    let without_parent = || (0..spans.len()).filter(|i| parent[*i].is_none());
    without_parent()
        .filter(|i| spans[*i].parent_span_id.is_none())
        .max_by_key(|i| {
            let span = &spans[*i];
            (span.end_ns.saturating_sub(span.start_ns), std::cmp::Reverse(*i))
        })
        .or_else(|| without_parent().next())
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::span::{Attributes, Dropped, SpanKind, SpanStatus};

    /// A span of one trace with a number for its id; the name follows from it.
    pub fn span(id: u16, parent: Option<u16>, start_ns: i64, end_ns: i64) -> Span {
        let span_id = |n: u16| SpanId::from_bytes(&u64::from(n).to_be_bytes()).expect("not zero");
        Span {
            trace_id: TraceId::from_bytes(&[1; 16]).expect("not zero"),
            span_id: span_id(id),
            parent_span_id: parent.map(span_id),
            name: format!("span-{id}"),
            kind: SpanKind::Internal,
            start_ns,
            end_ns,
            status: SpanStatus::Unset,
            attributes: Attributes::default(),
            events: vec![],
            links: vec![],
            dropped: Dropped::default(),
            trace_state: String::new(),
            scope: Arc::default(),
            resource: Arc::default(),
        }
    }

    fn outline(trace: &Trace) -> Vec<(String, Option<String>)> {
        trace
            .nodes()
            .map(|n| (trace.span(n).name.clone(), trace.parent(n).map(|p| trace.span(p).name.clone())))
            .collect()
    }

    #[test]
    fn parents_come_before_children_whatever_the_order_of_arrival() {
        let trace = Trace::build(vec![span(3, Some(2), 2, 3), span(2, Some(1), 1, 4), span(1, None, 0, 5)]);
        let trace = trace.expect("has spans");
        let names: Vec<String> = outline(&trace).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["span-1", "span-2", "span-3"]);
        assert_eq!(trace.repairs(), Repairs::default());
    }

    #[test]
    fn a_cycle_is_cut_at_its_earliest_span_and_counted() {
        let trace = Trace::build(vec![
            span(1, None, 0, 9),
            span(2, Some(4), 1, 2),
            span(3, Some(2), 2, 3),
            span(4, Some(3), 3, 4),
            span(5, Some(5), 3, 4),
        ])
        .expect("has spans");
        assert_eq!(trace.repairs().cycles, 3, "a span that is its own parent is an orphan of the root");
        assert_eq!(trace.spans().len(), 5);
        assert_eq!(outline(&trace)[1], ("span-2".into(), Some("span-1".into())));
    }

    #[test]
    fn only_a_cycle_still_has_a_root() {
        let trace = Trace::build(vec![span(1, Some(2), 0, 1), span(2, Some(1), 1, 2)]).expect("has spans");
        assert_eq!(trace.span(trace.root()).name, "span-1");
    }

    #[test]
    fn ten_thousand_deep_is_flattened_at_the_limit() {
        let spans = (1..=10_000).map(|i| span(i, (i > 1).then(|| i - 1), i64::from(i), 20_000)).collect();
        let trace = Trace::build(spans).expect("has spans");
        assert_eq!(trace.repairs().too_deep, 10_000 - MAX_DEPTH - 1);
        let depth = |mut n: Node| std::iter::from_fn(|| trace.parent(n).inspect(|p| n = *p)).count();
        assert_eq!(trace.nodes().map(depth).max(), Some(MAX_DEPTH));
    }

    #[test]
    fn the_longest_of_two_roots_holds_the_other() {
        let trace = Trace::build(vec![span(1, None, 0, 2), span(2, None, 1, 9), span(3, Some(1), 0, 1)]);
        let trace = trace.expect("has spans");
        assert_eq!(trace.span(trace.root()).name, "span-2");
        assert_eq!(trace.repairs().second_roots, 1);
    }

    #[test]
    fn reversed_orphaned_and_repeated_spans_are_kept_and_counted() {
        let trace = Trace::build(vec![span(1, None, 0, 9), span(2, Some(77), 5, 1), span(2, Some(1), 5, 6)])
            .expect("has spans");
        assert_eq!(trace.repairs(), Repairs { duplicates: 1, reversed: 1, orphans: 1, ..Repairs::default() });
        assert_eq!(trace.spans()[1].end_ns, 5);
        assert_eq!(trace.repairs().notes().len(), 3);
    }
}
