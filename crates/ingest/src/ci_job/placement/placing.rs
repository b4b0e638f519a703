//! Chooses the parents of a job's spans. A span becomes a child of the step with the largest overlap
//! in time. A span outside of all steps becomes a child of the job, unless it has the name of one of
//! the job's steps.

use std::collections::{HashMap, HashSet};

use super::api::{ApiJob, ApiStep, RESOLUTION_NS, overlap};
use super::statements::neutralise;
use pacegate_engine::gate::measure::stage_key::stage_name;
use pacegate_engine::model::ids::SpanId;
use pacegate_engine::model::span::Span;

/// Most sent spans of a run that are direct children of a job. A larger number is not a pipeline's
/// structure and could displace the steps.
pub(crate) const MAX_JOB_LEVEL_SPANS: usize = 300;

/// Sets the parents of a job's spans, which are sorted by start. `job_level` is the remaining number of
/// direct children of jobs. Returns the number of spans that were left out.
pub(crate) fn place(job: &ApiJob, spans: &mut Vec<Span>, job_level: &mut usize) -> usize {
    let steps: HashSet<SpanId> = job.steps.iter().map(|step| step.id).collect();
    let tops = tops(spans);
    let mut left_out: HashSet<SpanId> = HashSet::new();
    for (span, is_top) in spans.iter_mut().zip(&tops) {
        neutralise(span, *is_top);
        if !is_top {
            continue;
        }
        // A parent that is a step of this job is accepted.
        let named = span.parent_span_id.filter(|parent| steps.contains(parent));
        // A span that begins shortly before the first step belongs to that step.
        let is_early = span.start_ns < job.waited_until_ns;
        let first = || job.steps.first().map(|step| step.id).filter(|_| is_early);
        let step = named.or_else(|| step_of(job, span)).or_else(first);
        span.parent_span_id = Some(step.unwrap_or(job.id));
        if step.is_none() {
            // Work in parallel to the wait for a runner would hide the wait.
            if is_early || *job_level == 0 || job.stage_names.contains(&stage_name(span)) {
                left_out.insert(span.span_id);
            } else {
                *job_level -= 1;
            }
        }
    }
    if left_out.is_empty() { 0 } else { remove(spans, left_out) }
}

/// Marks the roots among spans sorted by start: spans whose parent was not sent, and the earliest span
/// of each cycle.
fn tops(spans: &[Span]) -> Vec<bool> {
    let at: HashMap<SpanId, usize> = spans.iter().enumerate().map(|(at, span)| (span.span_id, at)).collect();
    let parent = |span: &Span| span.parent_span_id.and_then(|id| at.get(&id).copied());
    let mut tops: Vec<bool> = spans.iter().map(|span| parent(span).is_none()).collect();
    // 0: not visited, 1: on the current path, 2: known to lead to a root.
    let mut state: Vec<u8> = tops.iter().map(|top| if *top { 2 } else { 0 }).collect();
    for from in 0..spans.len() {
        let mut path = Vec::new();
        let mut here = from;
        while state[here] == 0 {
            state[here] = 1;
            path.push(here);
            here = parent(&spans[here]).unwrap_or(here);
        }
        if state[here] == 1 {
            let cycle = path.iter().position(|at| *at == here).map_or(&path[..], |from| &path[from..]);
            // The spans are sorted by start, so the smallest index is the earliest.
            if let Some(first) = cycle.iter().min() {
                tops[*first] = true;
            }
        }
        for at in path {
            state[at] = 2;
        }
    }
    tops
}

/// The step with the largest overlap with a span. A step may have ended up to a second after its
/// reported end. A tie goes to the step with more overlap by its reported times, then to the later
/// step. A span of at most one second goes to a step of the runner only if no other step overlaps.
fn step_of(job: &ApiJob, span: &Span) -> Option<SpanId> {
    // A span without duration needs a length to overlap a step.
    let own = (span.start_ns, span.end_ns.max(span.start_ns).saturating_add(1));
    let shared = |step: &ApiStep| {
        let at_most = overlap(own, (step.start_ns, step.end_ns.saturating_add(RESOLUTION_NS)));
        (at_most, overlap(own, (step.start_ns, step.end_ns)))
    };
    let is_short = own.1.saturating_sub(own.0) <= RESOLUTION_NS;
    let steps = job.steps.iter().filter(|step| shared(step).0 > 0);
    let key = |step: &&ApiStep| (!(is_short && step.is_runner_step), shared(step), step.start_ns, step.id);
    steps.max_by_key(key).map(|step| step.id)
}

/// Removes spans and their descendants. Returns the number of removed spans.
fn remove(spans: &mut Vec<Span>, roots: HashSet<SpanId>) -> usize {
    let mut children: HashMap<SpanId, Vec<SpanId>> = HashMap::new();
    for span in spans.iter() {
        if let Some(parent) = span.parent_span_id {
            children.entry(parent).or_default().push(span.span_id);
        }
    }
    let mut removed = HashSet::new();
    let mut waiting: Vec<SpanId> = roots.into_iter().collect();
    while let Some(id) = waiting.pop() {
        if removed.insert(id) {
            waiting.extend(children.get(&id).into_iter().flatten());
        }
    }
    let before = spans.len();
    spans.retain(|span| !removed.contains(&span.span_id));
    before - spans.len()
}
