//! A corrected trace: a tree without cycles, missing parents, reversed times or clocks that contradict
//! each other. All corrections are counted and reported.

mod clock_skew;
mod parents;
mod repeated;

use std::collections::VecDeque;

use self::parents::Parents;
use super::ids::TraceId;
use super::note::{Note, Repair};
use super::span::Span;

pub use self::clock_skew::ClockShift;

/// Deeper spans are attached to their ancestor at this depth.
pub const MAX_DEPTH: usize = 64;

/// Corrections while building a [`Trace`], as numbers of spans.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repairs {
    /// Sent more than once with different content. The most complete copy is kept.
    pub duplicates: usize,
    /// Ended before they began. Their length is zero.
    pub reversed: usize,
    /// Named a parent that is missing. They are below the root.
    pub orphans: usize,
    /// Were their own ancestor. The cycle is cut at its earliest span.
    pub cycles: usize,
    /// Were deeper than [`MAX_DEPTH`].
    pub too_deep: usize,
    /// Had no parent although another span is the root. They are below that one.
    pub second_roots: usize,
    /// Came from machines whose clocks can't be right.
    pub shifted: Vec<ClockShift>,
}

/// Smaller shifts are not reported: the clocks of well-kept machines differ by less.
const MIN_REPORTED_SHIFT_NS: u64 = 100_000_000;
/// Further shifts are reported as a number only.
const MAX_REPORTED_SHIFTS: usize = 5;

impl Repairs {
    /// One note for each kind of correction.
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
        let reported =
            self.shifted.iter().filter(|shift| shift.ahead_ns.unsigned_abs() >= MIN_REPORTED_SHIFT_NS);
        let producers = reported.clone().count().saturating_sub(MAX_REPORTED_SHIFTS);
        let more = (producers > 0).then_some(Note::MoreClocksShifted { producers });
        reported
            .take(MAX_REPORTED_SHIFTS)
            .map(|shift| Note::ClockShifted { producer: shift.producer.clone(), ahead_ns: shift.ahead_ns })
            .chain(more)
    }
}

/// A span's index in its [`Trace`]. It is valid for that trace only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node(u32);

impl Node {
    /// The position in [`Trace::nodes`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One tree of spans with one root. Linked traces of one pipeline run are one tree, so that span ids
/// are unique within each trace only. These invariants hold:
/// - Every span but the root has a parent that comes before it.
/// - The depth is at most [`MAX_DEPTH`].
/// - No span ends before it starts.
#[derive(Debug, Clone)]
pub struct Trace {
    spans: Vec<Span>,
    parents: Vec<Option<Node>>,
    children: Vec<Vec<Node>>,
    by_link: Vec<bool>,
    repairs: Repairs,
}

impl Trace {
    /// Makes one tree of the spans of one trace. None without spans.
    ///
    /// The root is the span without a parent: of several, the longest, then the earliest. The others are
    /// placed below the span they are linked with, else below the root. When every span names a
    /// parent, the root is the earliest whose parent is missing: the local root of a remote trace.
    ///
    /// Work and memory are linear (times a logarithm) in the number of spans, and nothing recurses.
    /// The tree does not depend on the order of the spans.
    #[must_use]
    pub fn build(spans: Vec<Span>) -> Option<Self> {
        Self::assemble(spans, None)
    }

    /// Makes one tree of several linked traces. Its root is the principal's. The roots of the others are
    /// below the spans that they are linked with ([`Trace::is_linked`]).
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
        // Siblings in order of time, independent of the order of batches.
        spans.sort_by(|a, b| {
            (a.start_ns, b.end_ns, a.span_id, a.trace_id).cmp(&(b.start_ns, a.end_ns, b.span_id, b.trace_id))
        });
        let parents = Parents::find(&spans, principal, &mut repairs)?;
        let order = breadth_first(&parents.of, parents.root);
        repairs.shifted = clock_skew::correct(&mut spans, &parents.of, &order);
        Some(Self::lay_out(spans, &parents, repairs))
    }

    /// Moves each first node of `moves` below the second, which must not be a descendant of it.
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

    #[must_use]
    pub fn root(&self) -> Node {
        Node(0)
    }

    /// # Panics
    /// Panics when the node belongs to a larger trace.
    #[must_use]
    pub fn span(&self, node: Node) -> &Span {
        &self.spans[node.index()]
    }

    /// None for the root.
    #[must_use]
    pub fn parent(&self, node: Node) -> Option<Node> {
        self.parents[node.index()]
    }

    /// In order of start.
    #[must_use]
    pub fn children(&self, node: Node) -> &[Node] {
        &self.children[node.index()]
    }

    /// All nodes, parents before children.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        (0..u32::try_from(self.spans.len()).unwrap_or(u32::MAX)).map(Node)
    }

    /// All spans, in the order of [`Trace::nodes`].
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Whether a link determined the span's parent, which then does not wait for the span.
    #[must_use]
    pub fn is_linked(&self, node: Node) -> bool {
        self.by_link[node.index()]
    }

    /// The id of the root's trace.
    #[must_use]
    pub fn id(&self) -> TraceId {
        self.spans[0].trace_id
    }

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
