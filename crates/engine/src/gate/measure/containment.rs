//! Moves operations below the stage in which they ran. A tracer may have started them beside it, with
//! the pipeline's context in place of the stage's. They are moved only where their times fit exactly
//! one stage.

use super::stage_state::Queues;
use crate::model::note::Note;
use crate::model::span::{Span, SpanKind};
use crate::model::stage::StageKind;
use crate::model::trace::{Node, Trace};

/// Attributes that make a span a stage.
const STAGE_KEYS: [&str; 2] = ["stage.name", "cicd.pipeline.task.name"];

/// The trace with each such operation below its stage, and a note if there were any. An operation is
/// moved if all of these hold:
/// - It lies wholly inside exactly one sibling that is marked as a stage.
/// - It is not marked as a stage itself.
/// - Both have the same service, and the same thread where both name theirs.
/// - It is not a wait for a runner, and no message started it.
///
/// Linear in the spans, times a logarithm.
#[must_use]
pub(crate) fn place_operations(trace: Trace) -> (Trace, Option<Note>) {
    let moves = moves(&trace);
    if moves.is_empty() {
        return (trace, None);
    }
    let note = Note::MovedBelowStage { spans: moves.len() };
    (trace.moved(&moves), Some(note))
}

fn moves(trace: &Trace) -> Vec<(Node, Node)> {
    let is_stage: Vec<bool> =
        trace.spans().iter().map(|span| span.attributes.first_text(&STAGE_KEYS).is_some()).collect();
    if !is_stage.contains(&true) {
        return Vec::new();
    }
    let queues = Queues::of(trace);
    let mut moves = Vec::new();
    for parent in trace.nodes() {
        let (stages, operations): (Vec<Node>, Vec<Node>) =
            trace.children(parent).iter().partition(|node| is_stage[node.index()]);
        if stages.is_empty() || operations.is_empty() {
            continue;
        }
        let stages = Intervals::of(trace, &stages);
        for node in operations {
            let span = trace.span(node);
            let stays = span.kind == SpanKind::Consumer
                || trace.is_linked(node)
                || queues.kind(node) == StageKind::Queue;
            if let Some(stage) = stages.only_one_around(span).filter(|_| !stays)
                && is_same_worker(trace.span(stage), span)
            {
                moves.push((node, stage));
            }
        }
    }
    moves
}

/// The stages of one parent in order of start, each with the two latest ends up to it.
struct Intervals {
    by_start: Vec<(i64, Latest, Option<i64>)>,
}

/// The latest end and its stage.
type Latest = (i64, Node);

impl Intervals {
    fn of(trace: &Trace, stages: &[Node]) -> Self {
        let mut by_start = Vec::with_capacity(stages.len());
        let mut ends: Option<(Latest, Option<i64>)> = None;
        // Children are in order of start.
        for &node in stages {
            let span = trace.span(node);
            let latest = match ends {
                None => ((span.end_ns, node), None),
                Some((first, _)) if span.end_ns > first.0 => ((span.end_ns, node), Some(first.0)),
                Some((first, second)) => (first, second.max(Some(span.end_ns))),
            };
            ends = Some(latest);
            by_start.push((span.start_ns, latest.0, latest.1));
        }
        Self { by_start }
    }

    /// The stage around a span, if there is exactly one.
    fn only_one_around(&self, span: &Span) -> Option<Node> {
        let begun = self.by_start.partition_point(|(start, ..)| *start <= span.start_ns);
        let (_, first, second) = self.by_start.get(begun.checked_sub(1)?)?;
        (first.0 >= span.end_ns && second.is_none_or(|end| end < span.end_ns)).then_some(first.1)
    }
}

fn is_same_worker(stage: &Span, operation: &Span) -> bool {
    let service = |span: &Span| span.resource.attributes.text("service.name");
    let thread = |span: &Span| span.attributes.text("thread.id");
    let threads = thread(stage).zip(thread(operation));
    service(stage) == service(operation) && threads.is_none_or(|(a, b)| a == b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::measure::extract::extract;
    use crate::gate::tests::fixture::{SpanBuilder, trace};

    /// Paths after placing, and whether there is a note.
    fn placed(spans: Vec<SpanBuilder>) -> (Vec<String>, bool) {
        let (trace, note) = place_operations(trace(spans.into_iter().map(SpanBuilder::build).collect()));
        (extract(&trace).stages.iter().map(|s| s.path.join("/")).collect(), note.is_some())
    }

    fn stage(id: u32, name: &str, from: i64, to: i64) -> SpanBuilder {
        let span = SpanBuilder::new(id, &format!("stage-{name}")).parent(1).ms(from, to);
        span.attributes(&[("stage.name", name)])
    }

    fn pipeline() -> SpanBuilder {
        SpanBuilder::new(1, "ci").ms(0, 1_000)
    }

    #[test]
    fn operation_inside_one_stage_is_moved() {
        let (paths, has_note) = placed(vec![
            pipeline(),
            stage(2, "build", 0, 400),
            stage(3, "test", 400, 900),
            SpanBuilder::new(4, "build-compile").parent(1).ms(10, 300),
            SpanBuilder::new(5, "inner").parent(4).ms(20, 30),
            SpanBuilder::new(6, "test-unit").parent(1).ms(400, 900),
        ]);
        let expected = ["ci", "ci/build", "ci/test", "ci/build/build-compile", "ci/test/test-unit"];
        assert_eq!(paths[..5], expected);
        assert_eq!((paths[5].as_str(), has_note), ("ci/build/build-compile/inner", true));
    }

    #[test]
    fn ambiguous_operation_stays() {
        let service = |span: SpanBuilder| span.resource(&[("service.name", "other")]);
        let operation = |from, to| SpanBuilder::new(4, "compile").parent(1).ms(from, to);
        for (why, operation) in [
            ("in two stages", operation(250, 290)),
            ("across a boundary", operation(190, 310)),
            ("after all of them", operation(950, 960)),
            ("on both sides of none", operation(0, 1_000)),
            ("of another service", service(operation(10, 20))),
            ("a consumer", operation(10, 20).kind(SpanKind::Consumer)),
            ("waiting", operation(10, 20).attributes(&[("pacegate.stage.kind", "queue")])),
            ("a stage itself", operation(10, 20).attributes(&[("stage.name", "compile")])),
        ] {
            let (paths, has_note) =
                placed(vec![pipeline(), stage(2, "build", 0, 300), stage(3, "test", 200, 900), operation]);
            assert!(paths.contains(&"ci/compile".to_owned()) && !has_note, "{why}: {paths:?}");
        }
    }

    #[test]
    fn operation_of_another_thread_stays() {
        let on = |span: SpanBuilder, thread: &str| span.attributes(&[("thread.id", thread)]);
        for (thread, path) in [("7", "ci/build/compile"), ("8", "ci/compile")] {
            let operation = on(SpanBuilder::new(4, "compile").parent(1).ms(10, 20), thread);
            let (paths, _) = placed(vec![pipeline(), on(stage(2, "build", 0, 300), "7"), operation]);
            assert_eq!(paths[2], path);
        }
    }
}
