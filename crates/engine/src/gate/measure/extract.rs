//! Extracts stages and errors from a trace. Every span belongs to a stage with a stable name, and
//! repeated siblings are one stage. It does not judge durations.

use std::collections::{HashMap, HashSet};

use super::identity::{pipeline_name, root_result};
use super::propagation::errors_of;
use super::stage_key::stage_name;
use super::stage_state::{CacheReport, Queues};
use super::waiting::waits;
use crate::model::note::Note;
use crate::model::run::RunResult;
use crate::model::span::{Span, SpanKind};
use crate::model::stage::{StageError, StageKey, StageKind, StageSample};
use crate::model::trace::{Node, Trace};

/// Most stages of one run. The shallowest are kept.
pub const MAX_STAGES: usize = 5_000;
/// Most bytes of all keys together: each key repeats the names of its ancestors.
const MAX_KEY_BYTES: usize = 1 << 20;

/// The measurements of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Extraction {
    /// At most one sample for each key, parents before children.
    pub stages: Vec<StageSample>,
    /// Each error once, at the deepest stage that had it.
    pub errors: Vec<StageError>,
    /// Facts about omitted data.
    pub notes: Vec<Note>,
}

/// The stages of a trace, and the stage of each span.
struct Placement {
    samples: Vec<StageSample>,
    /// The span's stage, or that of its nearest ancestor with a stage.
    stage_of: HashMap<Node, usize>,
    left_out: usize,
    key_bytes: usize,
    /// For each stage, the cache reports of its own spans, and of the spans directly below them.
    caches: Vec<(CacheReport, CacheReport)>,
}

impl Placement {
    /// Whether one more stage of this name fits under another.
    fn fits(&self, above: usize, name: &str) -> bool {
        let key = self.samples[above].key.as_str().len() + name.len();
        self.samples.len() < MAX_STAGES && self.key_bytes + key < MAX_KEY_BYTES
    }

    fn add(&mut self, sample: StageSample) -> usize {
        self.samples.push(sample);
        self.caches.push((CacheReport::Missing, CacheReport::Missing));
        self.samples.len() - 1
    }

    /// Records a span's cache report for its own stage, if it has one, and for its parent's stage.
    fn record_cache(&mut self, span: &Span, own: Option<usize>, parent: Option<usize>) {
        let report = CacheReport::of(span);
        if let Some(own) = own {
            self.caches[own].0 = self.caches[own].0.combine(report);
        }
        if let Some(parent) = parent {
            self.caches[parent].1 = self.caches[parent].1.combine(report);
        }
    }
}

/// Work is linear in the spans (times the bounded depth for errors).
#[must_use]
pub fn extract(trace: &Trace) -> Extraction {
    let placement = place(trace);
    let mut notes = Vec::new();
    if placement.left_out > 0 {
        notes.push(Note::StagesLeftOut { spans: placement.left_out });
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
    let mut placement = Placement {
        samples: Vec::new(),
        stage_of: HashMap::new(),
        left_out: 0,
        key_bytes: 0,
        caches: Vec::new(),
    };
    let queues = Queues::of(trace);
    let waited = waits(trace, &queues, |node| started_by_message(trace, node));
    let measured = |node: Node, path: Vec<String>, parent: Option<StageKey>| {
        let mut sample = sample(trace.span(node), path, parent, origin);
        sample.kind = queues.kind(node);
        sample.duration_ns = (sample.duration_ns - waited[node.index()]).max(0);
        sample
    };
    let mut stage_by_name: HashMap<(usize, String), usize> = HashMap::new();
    placement.add(measured(root, vec![pipeline_name(trace)], None));
    placement.samples[0].result = root_result(trace.span(root));
    placement.stage_of.insert(root, 0);
    placement.record_cache(trace.span(root), Some(0), None);
    let mut dropped: HashSet<Node> = HashSet::new();
    // Nodes are in breadth-first order, so that the limit drops the deepest.
    for node in trace.nodes().skip(1) {
        let (Some(parent), span) = (trace.parent(node), trace.span(node)) else { continue };
        let above = placement.stage_of[&parent];
        let name = stage_name(span);
        let parent_dropped = dropped.contains(&parent);
        let known = stage_by_name.get(&(above, name.clone())).copied().filter(|_| !parent_dropped);
        let stage = match known {
            Some(stage) => {
                let other = measured(node, Vec::new(), None);
                let by_message = placement.samples[above].asynchronous || started_by_message(trace, node);
                merge(&mut placement.samples[stage], &other, by_message);
                stage
            }
            None if !parent_dropped && placement.fits(above, &name) => {
                let above_stage = &placement.samples[above];
                let mut path = above_stage.path.clone();
                path.push(name.clone());
                let mut new = measured(node, path, Some(above_stage.key.clone()));
                new.asynchronous = above_stage.asynchronous || started_by_message(trace, node);
                placement.key_bytes += new.key.as_str().len();
                let stage = placement.add(new);
                stage_by_name.insert((above, name), stage);
                stage
            }
            None => {
                placement.left_out += 1;
                dropped.insert(node);
                above
            }
        };
        placement.stage_of.insert(node, stage);
        let has_stage = !dropped.contains(&node);
        placement.record_cache(span, has_stage.then_some(stage), (!parent_dropped).then_some(above));
    }
    for (sample, (own, parts)) in placement.samples.iter_mut().zip(&placement.caches) {
        sample.cache = CacheReport::resolve(*own, *parts);
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
        kind: StageKind::Work,
        cache: None,
    }
}

/// Adds one more span of the same stage.
fn merge(sample: &mut StageSample, other: &StageSample, by_message: bool) {
    sample.duration_ns = sample.duration_ns.saturating_add(other.duration_ns);
    sample.count = sample.count.saturating_add(1);
    sample.start_offset_ns = sample.start_offset_ns.min(other.start_offset_ns);
    sample.end_offset_ns = sample.end_offset_ns.max(other.end_offset_ns);
    // A stage whose parent waited for it even once lengthens its parent.
    sample.asynchronous &= by_message;
    if other.kind == StageKind::Work {
        sample.kind = StageKind::Work;
    }
    if severity(other.result) > severity(sample.result) {
        sample.result = other.result;
    }
}

/// Whether a message started the work: the span is a consumer, is below a producer, or is connected
/// with its parent by a link only.
fn started_by_message(trace: &Trace, node: Node) -> bool {
    trace.span(node).kind == SpanKind::Consumer
        || trace.is_linked(node)
        || trace.parent(node).is_some_and(|parent| trace.span(parent).kind == SpanKind::Producer)
}

/// Attributes with a stage's result, the preferred one first.
const RESULT_KEYS: [&str; 5] = [
    "cicd.pipeline.task.run.result",
    "test.case.result.status",
    "cicd.pipeline.task.run.status",
    "stage.result",
    "stage.status",
];

/// A span's own result, never its children's. It is read from the span's attributes only: those of the
/// resource describe the whole run.
fn span_result(span: &Span) -> RunResult {
    let result = span.attributes.first_text(&RESULT_KEYS);
    let by_status = if span.failed() { RunResult::Failure } else { RunResult::Success };
    match result.as_deref() {
        Some("pass") => RunResult::Success,
        Some(text) => RunResult::parse(text).unwrap_or(by_status),
        None => by_status,
    }
}

/// The severity of a result, from 0.
#[must_use]
pub fn severity(result: RunResult) -> u8 {
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
mod tests;
