//! A trace that has been put right: a tree without cycles, missing parents, reversed times or
//! clocks that contradict each other. What had to be changed is counted, so that it can be said.

mod clock_skew;
mod parents;
mod repeated;

use std::collections::VecDeque;

use self::parents::Parents;
use super::ids::TraceId;
use super::note::{Note, Repair};
use super::span::Span;

pub use self::clock_skew::ClockShift;

/// Spans below this depth are hung on their ancestor at it.
pub const MAX_DEPTH: usize = 64;

/// What was put right while building a [`Trace`]. All counts are of spans.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repairs {
    /// Sent more than once with another content: the most complete copy is kept.
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
    /// Came from machines whose clocks can't be right: shifted.
    pub shifted: Vec<ClockShift>,
}

/// Smaller differences are put right without a note: the clocks of well-kept machines have them.
const NOTED_SHIFT_NS: u64 = 100_000_000;
/// This many of them get a note each.
const NOTED_SHIFTS: usize = 5;

impl Repairs {
    /// One note for each kind of repair that was made.
    #[must_use]
    pub fn notes(&self) -> Vec<Note> {
        let counted = [
            (self.duplicates, Repair::Duplicate),
            (self.reversed, Repair::Reversed),
            (self.orphans, Repair::Orphan),
            (self.cycles, Repair::Cycle),
            (self.too_deep, Repair::TooDeep),
            (self.second_roots, Repair::SecondRoot),
        ];
        let counted = counted
            .into_iter()
            .filter(|(spans, _)| *spans > 0)
            .map(|(spans, repair)| Note::Repaired { repair, spans });
        counted.chain(self.shift_notes()).collect()
    }

    fn shift_notes(&self) -> impl Iterator<Item = Note> {
        let noted = self.shifted.iter().filter(|shift| shift.ahead_ns.unsigned_abs() >= NOTED_SHIFT_NS);
        let producers = noted.clone().count().saturating_sub(NOTED_SHIFTS);
        let more = (producers > 0).then_some(Note::MoreClocksShifted { producers });
        noted
            .take(NOTED_SHIFTS)
            .map(|shift| Note::ClockShifted { producer: shift.producer.clone(), ahead_ns: shift.ahead_ns })
            .chain(more)
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
/// it; depth is at most [`MAX_DEPTH`]; no span ends before it starts. Span ids are unique within
/// each trace: linked traces of one pipeline run are one tree.
#[derive(Debug, Clone)]
pub struct Trace {
    spans: Vec<Span>,
    parents: Vec<Option<Node>>,
    children: Vec<Vec<Node>>,
    by_link: Vec<bool>,
    repairs: Repairs,
}

impl Trace {
    /// Makes one tree of the spans of one trace. The root is the span without a parent; of
    /// several, the longest, then the earliest, and the others hang below what they are linked
    /// with, else below the root. When every span names a parent, it is the earliest one whose
    /// parent is missing: the local root of a remote trace.
    ///
    /// Returns `None` for no spans. Work and memory are linear (times a logarithm) in the
    /// number of spans, and nothing recurses, whatever the parents say. The same spans make the
    /// same tree in whatever order they come.
    #[must_use]
    pub fn build(spans: Vec<Span>) -> Option<Self> {
        Self::assemble(spans, None)
    }

    /// Makes one tree of several traces that are linked: the principal's, with the roots of the
    /// others below the spans that links connect them with ([`Trace::is_linked`]).
    #[must_use]
    pub fn build_linked(spans: Vec<Span>, principal: TraceId) -> Option<Self> {
        Self::assemble(spans, Some(principal))
    }

    fn assemble(spans: Vec<Span>, principal: Option<TraceId>) -> Option<Self> {
        let (mut spans, duplicates) = repeated::deduplicate(spans);
        let mut repairs = Repairs { duplicates, ..Repairs::default() };
        for span in &mut spans {
            if span.end_ns < span.start_ns {
                span.end_ns = span.start_ns;
                repairs.reversed += 1;
            }
        }
        // Siblings in time order, whatever order the batches came in.
        spans.sort_by(|a, b| {
            (a.start_ns, b.end_ns, a.span_id, a.trace_id).cmp(&(b.start_ns, a.end_ns, b.span_id, b.trace_id))
        });
        let parents = Parents::find(&spans, principal, &mut repairs)?;
        let order = breadth_first(&parents.of, parents.root);
        repairs.shifted = clock_skew::correct(&mut spans, &parents.of, &order);
        Some(Self::lay_out(spans, &parents, repairs))
    }

    /// The same spans with some of them hung below others, which must not stand below them.
    #[must_use]
    pub fn moved(self, moves: &[(Node, Node)]) -> Self {
        let mut of: Vec<Option<usize>> = self.parents.iter().map(|p| p.map(Node::index)).collect();
        for (node, below) in moves {
            of[node.index()] = Some(below.index());
        }
        Self::lay_out(self.spans, &Parents { root: 0, of, by_link: self.by_link }, self.repairs)
    }

    /// Orders spans so that parents come first and bounds the depth.
    fn lay_out(spans: Vec<Span>, parents: &Parents, mut repairs: Repairs) -> Self {
        let order = breadth_first(&parents.of, parents.root);
        let mut depth = vec![0_usize; spans.len()];
        let mut place: Vec<Option<usize>> = vec![None; spans.len()];
        for &i in &order {
            let Some(above) = parents.of[i] else { continue };
            if depth[above] + 1 > MAX_DEPTH {
                repairs.too_deep += 1;
                (depth[i], place[i]) = (depth[above], place[above]);
            } else {
                (depth[i], place[i]) = (depth[above] + 1, Some(above));
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
            by_link: Vec::with_capacity(order.len()),
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
            trace.by_link.push(parents.by_link[old]);
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

    /// Whether a span hangs where a link says: it follows from what holds it, which does not
    /// wait for it.
    #[must_use]
    pub fn is_linked(&self, node: Node) -> bool {
        self.by_link[node.index()]
    }

    /// The id of the root's trace.
    #[must_use]
    pub fn id(&self) -> TraceId {
        self.spans[0].trace_id
    }

    /// What had to be put right.
    #[must_use]
    pub fn repairs(&self) -> &Repairs {
        &self.repairs
    }
}

/// The indices of a tree, level by level.
fn breadth_first(parent: &[Option<usize>], root: usize) -> Vec<usize> {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); parent.len()];
    for (i, p) in parent.iter().enumerate() {
        if let Some(p) = p {
            children[*p].push(i);
        }
    }
    let mut order = Vec::with_capacity(parent.len());
    let mut queue = VecDeque::from([root]);
    while let Some(i) = queue.pop_front() {
        order.push(i);
        queue.extend(&children[i]);
    }
    order
}

#[cfg(test)]
pub(super) mod tests;
