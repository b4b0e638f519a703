//! Calculates how long each span waited for runners: the queue time on its critical path. `extract`
//! subtracts it from the durations of stages, because a change of the code can't cause it. The run's
//! wall-clock duration includes it.

use super::stage_state::Queues;
use crate::model::stage::StageKind;
use crate::model::trace::{Node, Trace};

/// A queue may seem to end up to this long after the beginning of the work that waited for it, because
/// GitHub reports whole seconds.
const CLOCK_NS: i64 = 1_000_000_000;

/// Nanoseconds that each span waited, by [`Node`] in the order of [`Trace::nodes`]. A queue itself has 0,
/// and so has work that a message started (`is_asynchronous`), for which no span waits.
///
/// The critical path is followed backwards from the span's end. It goes to the part that ended last,
/// then from its beginning to the part that ended last before that, and so on. The wait is the time of the queues
/// on the path plus the waits of its other parts. A queue beside longer work is not on the path.
/// Linear in the spans, times a logarithm.
#[must_use]
pub(crate) fn waits(trace: &Trace, queues: &Queues<'_>, is_asynchronous: impl Fn(Node) -> bool) -> Vec<i64> {
    let nodes: Vec<Node> = trace.nodes().collect();
    let kinds: Vec<StageKind> = nodes.iter().map(|node| queues.kind(*node)).collect();
    let mut waited = vec![0_i64; nodes.len()];
    if !kinds.contains(&StageKind::Queue) {
        return waited;
    }
    // Children come after their parents, so backwards the parts are calculated first.
    for node in nodes.iter().rev() {
        if kinds[node.index()] == StageKind::Queue {
            continue;
        }
        let mut parts: Vec<Node> =
            trace.children(*node).iter().copied().filter(|part| !is_asynchronous(*part)).collect();
        parts.sort_by_key(|part| (std::cmp::Reverse(trace.span(*part).end_ns), *part));
        let mut until = i64::MAX;
        let mut total = 0_i64;
        for part in parts {
            let span = trace.span(part);
            let is_queue = kinds[part.index()] == StageKind::Queue;
            let slack = if is_queue && until < i64::MAX { CLOCK_NS } else { 0 };
            if span.end_ns > until.saturating_add(slack) {
                continue;
            }
            let own = span.end_ns.min(until).saturating_sub(span.start_ns).max(0);
            total = total.saturating_add(if is_queue { own } else { waited[part.index()] });
            until = until.min(span.start_ns);
        }
        let span = trace.span(*node);
        waited[node.index()] = total.min(span.end_ns.saturating_sub(span.start_ns)).max(0);
    }
    waited
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::tests::fixture::{SpanBuilder, trace};

    /// Seconds waited, by name, of spans (number, parent, name, from, to) in seconds.
    fn waited(spans: &[(u32, u32, &str, i64, i64)]) -> Vec<(String, i64)> {
        let build = |(id, parent, name, from, to): &(u32, u32, &str, i64, i64)| {
            let span = SpanBuilder::new(*id, name).ms(from * 1_000, to * 1_000);
            if *parent == 0 { span.build() } else { span.parent(*parent).build() }
        };
        let trace = trace(spans.iter().map(build).collect());
        let queues = Queues::of(&trace);
        let waits = waits(&trace, &queues, |_| false);
        let all = trace.nodes().map(|n| (trace.span(n).name.clone(), waits[n.index()] / CLOCK_NS));
        all.filter(|(_, waited)| *waited > 0).collect()
    }

    fn named(pairs: &[(&str, i64)]) -> Vec<(String, i64)> {
        pairs.iter().map(|(name, waited)| ((*name).to_owned(), *waited)).collect()
    }

    #[test]
    fn parents_of_a_queue_waited_for_it() {
        let spans = [
            (1, 0, "ci", 0, 160),
            (2, 1, "test", 0, 160),
            (3, 2, "queue-test", 0, 60),
            (4, 2, "unit", 60, 160),
        ];
        assert_eq!(waited(&spans), named(&[("ci", 60), ("test", 60)]));
        // The receiver's form before 2026: steps inside the queue's span, after its end.
        let inside = [spans[0], spans[1], spans[2], (4, 3, "unit", 60, 160)];
        assert_eq!(waited(&inside), named(&[("ci", 60), ("test", 60)]));
    }

    #[test]
    fn queue_beside_longer_work_is_no_wait() {
        let spans = |lint_ends| {
            [
                (1, 0, "ci", 0, 160),
                (2, 1, "test", 0, 100),
                (3, 2, "queue-test", 0, 60),
                (4, 2, "unit", 60, 100),
                (5, 1, "lint", 0, lint_ends),
            ]
        };
        assert_eq!(waited(&spans(160)), named(&[("test", 60)]), "lint decided the end");
        assert_eq!(waited(&spans(90)), named(&[("ci", 60), ("test", 60)]));
    }

    #[test]
    fn consecutive_queues_add_up() {
        let spans = [
            (1, 0, "ci", 0, 300),
            (2, 1, "build", 0, 110),
            (3, 2, "queue-build", 0, 10),
            (4, 2, "compile", 10, 110),
            (5, 1, "test", 110, 300),
            (6, 5, "queue-test", 110, 150),
            (7, 5, "unit", 150, 300),
        ];
        assert_eq!(waited(&spans), named(&[("ci", 50), ("build", 10), ("test", 40)]));
    }

    #[test]
    fn queue_and_work_may_overlap_one_second() {
        let spans =
            |starts| [(1, 0, "test", 0, 160), (2, 1, "queue-test", 0, 60), (3, 1, "unit", starts, 160)];
        assert_eq!(waited(&spans(59)), named(&[("test", 59)]));
        assert_eq!(waited(&spans(30)), named(&[]), "it did not wait for that queue");
    }

    #[test]
    fn wait_never_exceeds_the_span() {
        let spans = [(1, 0, "test", 100, 110), (2, 1, "queue-test", 0, 900)];
        assert_eq!(waited(&spans), named(&[("test", 10)]));
    }
}
