//! Tests of the tree that unordered spans become: order, cycles, depth, roots, repeated spans, links
//! between traces and clocks that differ.

use std::sync::Arc;

use super::*;
use crate::model::ids::SpanId;
use crate::model::linked_traces::principal;
use crate::model::span::{AttributeValue, Attributes, Dropped, Resource, SpanKind, SpanLink, SpanStatus};

/// A span of trace 1 with the given number as its id and in its name.
pub(crate) fn span(id: u16, parent: Option<u16>, start_ns: i64, end_ns: i64) -> Span {
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
fn parents_precede_children_in_any_arrival_order() {
    let trace = Trace::build(vec![span(3, Some(2), 2, 3), span(2, Some(1), 1, 4), span(1, None, 0, 5)]);
    let trace = trace.expect("has spans");
    let names: Vec<String> = outline(&trace).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["span-1", "span-2", "span-3"]);
    assert_eq!(*trace.repairs(), Repairs::default());
}

#[test]
fn cycle_is_cut_at_earliest_span() {
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
fn lone_cycle_has_a_root() {
    let trace = Trace::build(vec![span(1, Some(2), 0, 1), span(2, Some(1), 1, 2)]).expect("has spans");
    assert_eq!(trace.span(trace.root()).name, "span-1");
}

#[test]
fn deep_chain_is_flattened_at_the_limit() {
    let spans = (1..=10_000).map(|i| span(i, (i > 1).then(|| i - 1), i64::from(i), 20_000)).collect();
    let trace = Trace::build(spans).expect("has spans");
    assert_eq!(trace.repairs().too_deep, 10_000 - MAX_DEPTH - 1);
    let depth = |mut n: Node| std::iter::from_fn(|| trace.parent(n).inspect(|p| n = *p)).count();
    assert_eq!(trace.nodes().map(depth).max(), Some(MAX_DEPTH));
}

#[test]
fn longest_of_two_roots_is_the_root() {
    let trace = Trace::build(vec![span(1, None, 0, 2), span(2, None, 1, 9), span(3, Some(1), 0, 1)]);
    let trace = trace.expect("has spans");
    assert_eq!(trace.span(trace.root()).name, "span-2");
    assert_eq!(trace.repairs().second_roots, 1);
}

#[test]
fn corrected_spans_are_kept_and_counted() {
    let trace = Trace::build(vec![
        span(1, None, 0, 9),
        span(2, Some(77), 5, 1),
        span(3, Some(1), 5, 6),
        span(3, Some(1), 5, 7),
    ])
    .expect("has spans");
    let counted = Repairs { duplicates: 1, reversed: 1, orphans: 1, ..Repairs::default() };
    assert_eq!(*trace.repairs(), counted);
    assert_eq!(trace.spans()[2].end_ns, 5);
    assert_eq!(trace.repairs().notes().len(), 3);
}

#[test]
fn most_complete_copy_is_kept() {
    let detailed = |mut span: Span| {
        span.attributes.0.push(("stage.name".into(), AttributeValue::String("build".into())));
        span
    };
    let half = |kind: SpanKind, end: i64| Span { kind, ..span(2, Some(1), 3, end) };
    for (why, better, other, counted) in [
        ("the same", span(2, Some(1), 3, 5), span(2, Some(1), 3, 5), 0),
        ("ended", span(2, Some(1), 3, 5), detailed(span(2, Some(1), 3, 3)), 1),
        ("not ended at all", span(2, Some(1), 3, 5), span(2, Some(1), 3, 0), 1),
        ("ended later", span(2, Some(1), 3, 6), span(2, Some(1), 3, 5), 1),
        ("more attributes", detailed(span(2, Some(1), 3, 5)), span(2, Some(1), 3, 5), 1),
        ("the caller's half", half(SpanKind::Client, 6), half(SpanKind::Server, 5), 0),
    ] {
        for copies in [[better.clone(), other.clone()], [other.clone(), better.clone()]] {
            let spans = std::iter::once(span(1, None, 0, 9)).chain(copies).collect();
            let trace = Trace::build(spans).expect("has spans");
            assert_eq!((trace.spans().len(), &trace.spans()[1]), (2, &better), "{why}");
            assert_eq!(trace.repairs().duplicates, counted, "{why}");
        }
    }
}

/// The span, moved to another trace.
fn in_trace(n: u8, mut span: Span) -> Span {
    span.trace_id = TraceId::from_bytes(&[n; 16]).expect("not zero");
    span
}

/// The span with a link to another.
fn linked_with(mut span: Span, other: &Span) -> Span {
    let (trace_id, span_id) = (other.trace_id, other.span_id);
    span.links.push(SpanLink { trace_id, span_id, attributes: Attributes::default() });
    span
}

/// Each span and its parent by name and trace, and whether a link connects them.
fn placement(trace: &Trace) -> Vec<(String, String, bool)> {
    let name = |n: Node| format!("{}@{}", trace.span(n).name, &trace.span(n).trace_id.to_string()[..2]);
    trace.nodes().filter_map(|n| Some((name(n), name(trace.parent(n)?), trace.is_linked(n)))).collect()
}

#[test]
fn linked_trace_is_placed_below_linked_span() {
    let send = span(2, Some(1), 1, 2);
    let own = |root: Span| vec![root, in_trace(2, span(2, Some(1), 4, 5))];
    let by_own_link = own(in_trace(2, linked_with(span(1, None, 3, 90), &send)));
    let by_lost_parent = own(in_trace(2, linked_with(span(1, Some(77), 3, 90), &send)));
    let unlinked = own(in_trace(2, span(1, None, 3, 90)));
    for (why, other, below, sender) in [
        ("its own link", by_own_link, "span-2@01", send.clone()),
        ("a local root", by_lost_parent, "span-2@01", send.clone()),
        ("another's link", unlinked.clone(), "span-2@01", linked_with(send.clone(), &unlinked[0])),
        ("a link to a missing span", unlinked, "span-1@01", send.clone()),
    ] {
        let mut spans = vec![span(1, None, 0, 9), sender];
        spans.extend(other);
        for _ in 0..2 {
            spans.reverse();
            let principal = TraceId::from_bytes(&[1; 16]).expect("an id");
            let trace = Trace::build_linked(spans.clone(), principal).expect("has spans");
            assert_eq!(trace.id(), principal, "{why}");
            let mut placement = placement(&trace);
            placement.sort();
            let expected = [
                ("span-1@02".to_owned(), below.to_owned(), true),
                ("span-2@01".into(), "span-1@01".into(), false),
                ("span-2@02".into(), "span-1@02".into(), false),
            ];
            assert_eq!(placement, expected, "{why}: equal span ids of two traces are two spans");
            assert_eq!(*trace.repairs(), Repairs::default(), "{why}");
        }
    }
}

#[test]
fn circular_links_make_one_tree() {
    let a = span(1, None, 0, 9);
    let b = in_trace(2, span(1, None, 1, 5));
    let c = in_trace(3, span(1, None, 2, 6));
    let spans = vec![linked_with(a.clone(), &c), linked_with(b.clone(), &c), linked_with(c.clone(), &b)];
    let trace = Trace::build_linked(spans, a.trace_id).expect("has spans");
    assert_eq!(trace.spans().len(), 3);
    assert_eq!(trace.id(), a.trace_id);
}

#[test]
fn second_root_is_placed_by_its_link() {
    let send = span(2, Some(1), 1, 2);
    let trace =
        Trace::build(vec![span(1, None, 0, 9), send.clone(), linked_with(span(3, None, 4, 5), &send)])
            .expect("has spans");
    assert_eq!(placement(&trace)[1], ("span-3@01".into(), "span-2@01".into(), true));
    assert_eq!(*trace.repairs(), Repairs::default());
}

#[test]
fn principal_is_started_by_no_other_trace() {
    let a = span(1, None, 50, 90);
    let consumer = Span { kind: SpanKind::Consumer, ..in_trace(2, span(2, Some(1), 60, 70)) };
    for (why, other, expected) in [
        ("its root is linked", vec![in_trace(2, linked_with(span(1, None, 0, 9), &a))], 1),
        ("its consumer is linked", vec![in_trace(2, span(1, None, 0, 9)), linked_with(consumer, &a)], 1),
        ("it is earlier", vec![in_trace(2, span(1, None, 0, 9))], 2),
        ("it is later", vec![in_trace(2, span(1, None, 51, 52))], 1),
        ("it is earlier and names no commit", vec![in_trace(3, span(1, None, 0, 9))], 1),
        (
            "its root is linked and it names no commit",
            vec![in_trace(3, linked_with(span(1, None, 0, 9), &a))],
            1,
        ),
    ] {
        let spans: Vec<Span> = std::iter::once(a.clone()).chain(other).collect();
        let [expected, without_commit] = [expected, 3].map(|n| TraceId::from_bytes(&[n; 16]).expect("an id"));
        assert_eq!(principal(&spans, |span| span.trace_id != without_commit), Some(expected), "{why}");
    }
    let started_by_it =
        vec![linked_with(a.clone(), &in_trace(2, span(1, None, 0, 9))), in_trace(2, span(1, None, 0, 9))];
    assert_eq!(principal(&started_by_it, |span| span.trace_id == a.trace_id), Some(a.trace_id));
    assert_eq!(principal(&[], |_| true), None);
}

/// The span on a machine. Its times are taken as milliseconds.
fn on(machine: &str, mut span: Span) -> Span {
    let name = ("host.name".to_owned(), AttributeValue::String(machine.into()));
    span.resource = Arc::new(Resource { attributes: Attributes(vec![name]), dropped_attributes: 0 });
    span.start_ns *= 1_000_000;
    span.end_ns *= 1_000_000;
    span
}

#[test]
fn impossible_clock_shifts_all_its_spans() {
    let local = |from, to| on("a", span(2, Some(1), from, to));
    let remote = |id, parent, from, to| on("b", span(id, Some(parent), from, to));
    for (why, spans, ahead_ms) in [
        ("it fits", vec![local(100, 200), remote(3, 2, 120, 180)], None),
        ("ahead, beyond the end", vec![local(100, 200), remote(3, 2, 3_110, 3_190)], Some(3_000)),
        ("behind", vec![local(100, 200), remote(3, 2, -2_890, -2_810)], Some(-3_000)),
        ("too long to fit, too early", vec![local(100, 200), remote(3, 2, 50, 900)], Some(-50)),
        ("too long to fit, it goes on", vec![local(100, 200), remote(3, 2, 150, 900)], None),
        (
            "two calls agree",
            vec![local(100, 200), remote(3, 2, 3_110, 3_190), remote(4, 1, 3_000, 3_900)],
            Some(2_995),
        ),
        (
            "two calls contradict",
            vec![local(100, 200), remote(3, 2, 3_110, 3_190), remote(4, 1, 10, 20)],
            None,
        ),
        ("the same machine", vec![local(100, 200), on("a", span(3, Some(2), 3_110, 3_190))], None),
    ] {
        let mut spans = spans;
        spans.insert(0, on("a", span(1, None, 0, 1_000)));
        let lengths = |spans: &[Span]| {
            let mut all: Vec<_> = spans.iter().map(|s| (s.span_id, s.end_ns - s.start_ns)).collect();
            all.sort();
            all
        };
        let before = lengths(&spans);
        let trace = Trace::build(spans).expect("has spans");
        assert_eq!(lengths(trace.spans()), before, "{why}: durations never change");
        let found: Vec<i64> = trace.repairs().shifted.iter().map(|s| s.ahead_ns / 1_000_000).collect();
        assert_eq!(found, ahead_ms.into_iter().collect::<Vec<_>>(), "{why}");
    }
}

#[test]
fn callees_shift_with_their_caller() {
    let trace = Trace::build(vec![
        on("a", span(1, None, 0, 1_000)),
        on("b", span(2, Some(1), 3_100, 4_000)),
        on("c", span(3, Some(2), 3_200, 3_300)),
        on("c", Span { kind: SpanKind::Consumer, ..span(4, Some(1), 9_000, 9_100) }),
    ])
    .expect("has spans");
    let shifted: Vec<_> = trace.repairs().shifted.iter().map(|s| s.producer.as_str()).collect();
    assert_eq!(shifted, ["b", "c"]);
    let notes = trace.repairs().notes();
    let Note::ClockShifted { producer, ahead_ns } = &notes[0] else { panic!("{notes:?}") };
    assert_eq!((producer.as_str(), ahead_ns / 100_000_000), ("b", 30));
}

#[test]
fn two_hundred_thousand_spans_take_linear_time() {
    // Quadratic work on these would be 4 * 10^10 steps, and the test would not end.
    let number = |n: u32| SpanId::from_bytes(&u64::from(n).to_be_bytes()).expect("not zero");
    let target = span(9, None, 0, 1);
    let machines = ["a", "b"].map(|name| linked_with(on(name, span(1, None, 0, 9)), &target));
    let many = |parent: fn(u32) -> u32| -> Vec<Span> {
        (1..=200_000_u32)
            .map(|n| {
                let mut span = machines[usize::from(n % 2 == 0)].clone();
                (span.span_id, span.start_ns) = (number(n), i64::from(n));
                span.parent_span_id = (n > 1).then(|| number(parent(n)));
                in_trace(u8::try_from(n % 50 + 1).expect("small"), span)
            })
            .collect()
    };
    for shape in [many(|_| 1), many(|n| n.max(51) - 50), many(|n| 200_001 - n)] {
        let principal = principal(&shape, |_| true).expect("a trace");
        assert_eq!(Trace::build_linked(shape, principal).expect("has spans").spans().len(), 200_000);
    }
}
