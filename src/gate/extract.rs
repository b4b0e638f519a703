//! A trace as stages and errors: every span is a part of the stage tree under a stable name,
//! repeated siblings are one stage. Says nothing about slow or fast.

use std::collections::{HashMap, HashSet};

use super::identity::{pipeline_name, root_result};
use super::propagation::errors_of;
use super::stage_key::stage_name;
use crate::model::run::RunResult;
use crate::model::span::{Span, SpanKind};
use crate::model::stage::{StageError, StageKey, StageSample};
use crate::model::trace::{Node, Trace};

/// Most stages of one run; the shallowest are kept.
pub const MAX_STAGES: usize = 5_000;
/// Most bytes of all their keys: long names nested deep would repeat themselves in each.
const MAX_KEY_BYTES: usize = 1 << 20;

/// What one run measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Extraction {
    /// At most one sample for each key, parents before children.
    pub stages: Vec<StageSample>,
    /// Each error once, at the deepest stage that had it.
    pub errors: Vec<StageError>,
    /// What was left out, for people.
    pub notes: Vec<String>,
}

/// Where each span of a trace went.
struct Placement {
    samples: Vec<StageSample>,
    /// By place of the span: its stage, or the nearest ancestor's that was kept.
    stage_of: HashMap<Node, usize>,
    left_out: usize,
    key_bytes: usize,
}

impl Placement {
    /// Whether one more stage of this name fits under another.
    fn has_room(&self, above: usize, name: &str) -> bool {
        let key = self.samples[above].key.as_str().len() + name.len();
        self.samples.len() < MAX_STAGES && self.key_bytes + key < MAX_KEY_BYTES
    }
}

/// Reads a trace. Work is linear in its spans (times the bounded depth for errors).
#[must_use]
pub fn extract(trace: &Trace) -> Extraction {
    let placement = place(trace);
    let mut notes = Vec::new();
    if placement.left_out > 0 {
        notes.push(format!(
            "{} spans were too many or too deep: the stages nearest to the root were kept",
            placement.left_out
        ));
    }
    let found = errors_of(trace, |node| {
        let sample = &placement.samples[placement.stage_of[&node]];
        (sample.key.clone(), sample.path.clone())
    });
    notes.extend(found.note);
    Extraction { stages: placement.samples, errors: found.errors, notes }
}

fn place(trace: &Trace) -> Placement {
    let root = trace.root();
    let origin = trace.span(root).start_ns;
    let mut placement =
        Placement { samples: Vec::new(), stage_of: HashMap::new(), left_out: 0, key_bytes: 0 };
    let mut stage_by_name: HashMap<(usize, String), usize> = HashMap::new();
    placement.samples.push(sample(trace.span(root), vec![pipeline_name(trace)], None, origin));
    placement.samples[0].result = root_result(trace.span(root));
    placement.stage_of.insert(root, 0);
    let mut dropped: HashSet<Node> = HashSet::new();
    // Places are in breadth-first order: what is dropped at the limit is the deepest.
    for node in trace.nodes().skip(1) {
        let (Some(parent), span) = (trace.parent(node), trace.span(node)) else { continue };
        let above = placement.stage_of[&parent];
        let name = stage_name(span);
        let parent_dropped = dropped.contains(&parent);
        let known = stage_by_name.get(&(above, name.clone())).copied().filter(|_| !parent_dropped);
        let stage = match known {
            Some(stage) => {
                let other = sample(span, Vec::new(), None, origin);
                let by_message = placement.samples[above].asynchronous || started_by_message(trace, node);
                merge(&mut placement.samples[stage], &other, by_message);
                stage
            }
            None if !parent_dropped && placement.has_room(above, &name) => {
                let holder = &placement.samples[above];
                let mut path = holder.path.clone();
                path.push(name.clone());
                let mut new = sample(span, path, Some(holder.key.clone()), origin);
                new.asynchronous = holder.asynchronous || started_by_message(trace, node);
                placement.key_bytes += new.key.as_str().len();
                placement.samples.push(new);
                stage_by_name.insert((above, name), placement.samples.len() - 1);
                placement.samples.len() - 1
            }
            None => {
                placement.left_out += 1;
                dropped.insert(node);
                above
            }
        };
        placement.stage_of.insert(node, stage);
    }
    placement
}

fn sample(span: &Span, path: Vec<String>, parent: Option<StageKey>, origin: i64) -> StageSample {
    StageSample {
        key: StageKey::from_path(&path),
        parent,
        path,
        duration_ns: span.end_ns.saturating_sub(span.start_ns).max(0),
        count: 1,
        start_offset_ns: span.start_ns.saturating_sub(origin),
        end_offset_ns: span.end_ns.saturating_sub(origin),
        result: span_result(span),
        asynchronous: false,
    }
}

/// One more span of the same stage.
fn merge(sample: &mut StageSample, other: &StageSample, by_message: bool) {
    sample.duration_ns = sample.duration_ns.saturating_add(other.duration_ns);
    sample.count = sample.count.saturating_add(1);
    sample.start_offset_ns = sample.start_offset_ns.min(other.start_offset_ns);
    sample.end_offset_ns = sample.end_offset_ns.max(other.end_offset_ns);
    // A stage that was waited for even once lengthens what holds it.
    sample.asynchronous &= by_message;
    if severity(other.result) > severity(sample.result) {
        sample.result = other.result;
    }
}

/// Work that a message started: a consumer, and whatever a producer's span holds.
fn started_by_message(trace: &Trace, node: Node) -> bool {
    trace.span(node).kind == SpanKind::Consumer
        || trace.parent(node).is_some_and(|parent| trace.span(parent).kind == SpanKind::Producer)
}

/// A span's own result, never its children's. Only its own attributes are asked: those of the
/// resource are the whole run's.
fn span_result(span: &Span) -> RunResult {
    let said = span.attributes.first_text(&["cicd.pipeline.task.run.result", "test.case.result.status"]);
    let by_status = if span.failed() { RunResult::Failure } else { RunResult::Success };
    match said.as_deref() {
        Some("pass") => RunResult::Success,
        Some(word) => RunResult::parse(word).unwrap_or(by_status),
        None => by_status,
    }
}

fn severity(result: RunResult) -> u8 {
    match result {
        RunResult::Success => 0,
        RunResult::Skip => 1,
        RunResult::Cancellation => 2,
        RunResult::Timeout => 3,
        RunResult::Failure => 4,
        RunResult::Error => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::fixture::{SpanBuilder, trace};
    use crate::model::span::SpanStatus;

    fn keys(extraction: &Extraction) -> Vec<String> {
        extraction.stages.iter().map(|s| s.path.join(" / ")).collect()
    }

    #[test]
    fn the_tree_is_named_from_the_pipeline_down() {
        let extraction = extract(&trace(vec![
            SpanBuilder::new(1, "pipeline-execution-9")
                .ms(0, 900)
                .attributes(&[("pipeline.name", "my-app")])
                .build(),
            SpanBuilder::new(2, "checkout-stage")
                .parent(1)
                .ms(10, 300)
                .attributes(&[("stage.name", "checkout")])
                .build(),
            SpanBuilder::new(3, "git-clone").parent(2).ms(10, 200).build(),
        ]));
        assert_eq!(keys(&extraction), ["my-app", "my-app / checkout", "my-app / checkout / git-clone"]);
        let clone = &extraction.stages[2];
        assert_eq!(
            (clone.duration_ns, clone.start_offset_ns, clone.end_offset_ns),
            (190_000_000, 10_000_000, 200_000_000)
        );
        assert_eq!(clone.parent.as_ref(), Some(&extraction.stages[1].key));
    }

    #[test]
    fn repeated_siblings_are_one_stage_with_the_worst_result() {
        let failed = SpanStatus::Error("no".into());
        let extraction = extract(&trace(vec![
            SpanBuilder::new(1, "ci").ms(0, 900).build(),
            SpanBuilder::new(2, "retry-1").parent(1).ms(100, 200).build(),
            SpanBuilder::new(3, "retry-2").parent(1).ms(50, 250).status(failed).build(),
            SpanBuilder::new(4, "step").parent(2).ms(100, 130).build(),
            SpanBuilder::new(5, "step").parent(3).ms(60, 80).build(),
        ]));
        assert_eq!(keys(&extraction), ["ci", "ci / retry-{n}", "ci / retry-{n} / step"]);
        let retry = &extraction.stages[1];
        assert_eq!((retry.count, retry.duration_ns), (2, 300_000_000));
        assert_eq!((retry.start_offset_ns, retry.end_offset_ns), (50_000_000, 250_000_000));
        assert_eq!(retry.result, RunResult::Failure);
        assert_eq!(extraction.stages[0].result, RunResult::Success, "the root's own status counts");
        assert_eq!(extraction.stages[2].count, 2);
    }

    #[test]
    fn what_a_message_starts_is_asynchronous_and_the_sending_is_not() {
        let extraction = extract(&trace(vec![
            SpanBuilder::new(1, "ci").build(),
            SpanBuilder::new(2, "send").parent(1).kind(SpanKind::Producer).build(),
            SpanBuilder::new(3, "process").parent(2).kind(SpanKind::Consumer).build(),
            SpanBuilder::new(4, "inner").parent(3).build(),
            SpanBuilder::new(5, "receive").parent(1).kind(SpanKind::Consumer).build(),
        ]));
        let asynchronous: Vec<&str> = extraction
            .stages
            .iter()
            .filter(|s| s.asynchronous)
            .filter_map(|s| s.path.last())
            .map(String::as_str)
            .collect();
        assert_eq!(asynchronous, ["receive", "process", "inner"]);
    }

    #[test]
    fn results_said_in_words_win_over_the_status() {
        let extraction = extract(&trace(vec![
            SpanBuilder::new(1, "ci").build(),
            SpanBuilder::new(2, "a")
                .parent(1)
                .attributes(&[("cicd.pipeline.task.run.result", "skip")])
                .build(),
            SpanBuilder::new(3, "b").parent(1).attributes(&[("test.case.result.status", "fail")]).build(),
        ]));
        assert_eq!(extraction.stages[1].result, RunResult::Skip);
        assert_eq!(extraction.stages[2].result, RunResult::Failure);
    }

    #[test]
    fn too_many_stages_lose_the_deepest_and_say_so() {
        let letters = |n: u32| -> String {
            (0..4)
                .scan(n, |n, _| {
                    let c = char::from(b'g' + u8::try_from(*n % 20).expect("small"));
                    *n /= 20;
                    Some(c)
                })
                .collect()
        };
        let mut spans = vec![SpanBuilder::new(1, "ci").build()];
        for i in 2..=6_000 {
            spans.push(SpanBuilder::new(i, &letters(i)).parent(if i % 2 == 0 { 1 } else { i - 1 }).build());
        }
        let extraction = extract(&trace(spans));
        assert_eq!(extraction.stages.len(), MAX_STAGES);
        assert!(extraction.notes[0].starts_with("1000 spans"), "{:?}", extraction.notes);
        assert_eq!(
            extraction.stages.iter().filter(|s| s.path.len() == 2).count(),
            3_000,
            "all of the upper level"
        );
    }

    #[test]
    fn long_names_nested_deep_are_bounded_by_what_their_keys_take() {
        let name = |i: u32| {
            format!("{}{}", "n".repeat(100), char::from(b'a' + u8::try_from(i % 26).expect("small")))
        };
        let mut spans = vec![SpanBuilder::new(1, "ci").build()];
        for i in 2..=2_000 {
            // Chains of sixty.
            let parent = if i % 60 == 2 { 1 } else { i - 1 };
            spans.push(SpanBuilder::new(i, &format!("{} {i}", name(i))).parent(parent).build());
        }
        let extraction = extract(&trace(spans));
        let bytes: usize = extraction.stages.iter().map(|s| s.key.as_str().len()).sum();
        assert!(bytes <= MAX_KEY_BYTES + 1_000, "{bytes}");
        assert!(extraction.notes[0].contains("too many or too deep"), "{:?}", extraction.notes);
    }

    #[test]
    fn times_at_the_ends_of_the_clock_are_survived() {
        let mut span = SpanBuilder::new(1, "ci").build();
        (span.start_ns, span.end_ns) = (i64::MIN, i64::MAX);
        let extraction = extract(&trace(vec![span.clone(), {
            let mut s = SpanBuilder::new(2, "x").parent(1).build();
            s.end_ns = i64::MAX;
            s
        }]));
        assert_eq!(extraction.stages[0].duration_ns, i64::MAX);
    }
}
