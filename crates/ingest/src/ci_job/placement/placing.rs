//! Where what a job sent hangs: below the step in whose time most of it lies. What lies in no
//! step's time is the job's own, unless it is named as one of the job's steps.

use std::collections::{HashMap, HashSet};

use super::api::{ApiJob, GRAIN_NS, overlap};
use super::statements::neutralise;
use pacegate_engine::gate::measure::stage_key::stage_name;
use pacegate_engine::model::ids::SpanId;
use pacegate_engine::model::span::Span;

/// Spans that hang below the jobs of a run themselves; more are no part of a pipeline, and could
/// take the places of steps.
pub(crate) const MOST_BESIDE_STEPS: usize = 300;

/// Gives the spans of a job, in their order of time, their parents. At most so many of them, which
/// are taken from `beside`, hang below the job itself. Returns how many were left out.
pub(crate) fn place(job: &ApiJob, spans: &mut Vec<Span>, beside: &mut usize) -> usize {
    let steps: HashSet<SpanId> = job.steps.iter().map(|step| step.id).collect();
    let tops = tops(spans);
    let mut left_out: HashSet<SpanId> = HashSet::new();
    for (span, is_top) in spans.iter_mut().zip(&tops) {
        neutralise(span, *is_top);
        if !is_top {
            continue;
        }
        // A step that it names itself is believed: it is the job's own.
        let named = span.parent_span_id.filter(|parent| steps.contains(parent));
        // A little before the first step it is a part of that one.
        let is_early = span.start_ns < job.waited_until_ns;
        let first = || job.steps.first().map(|step| step.id).filter(|_| is_early);
        let step = named.or_else(|| step_of(job, span)).or_else(first);
        span.parent_span_id = Some(step.unwrap_or(job.id));
        if step.is_none() {
            // Work beside the wait would make the wait seem to have cost nothing.
            if is_early || *beside == 0 || job.stage_names.contains(&stage_name(span)) {
                left_out.insert(span.span_id);
            } else {
                *beside -= 1;
            }
        }
    }
    if left_out.is_empty() { 0 } else { remove(spans, left_out) }
}

/// Which spans hang below none of the others: those without a parent that was sent, and the
/// earliest of each circle.
fn tops(spans: &[Span]) -> Vec<bool> {
    let at: HashMap<SpanId, usize> = spans.iter().enumerate().map(|(at, span)| (span.span_id, at)).collect();
    let parent = |span: &Span| span.parent_span_id.and_then(|id| at.get(&id).copied());
    let mut tops: Vec<bool> = spans.iter().map(|span| parent(span).is_none()).collect();
    // 0 not looked at, 1 on the way, 2 known to end at a top.
    let mut state: Vec<u8> = tops.iter().map(|top| if *top { 2 } else { 0 }).collect();
    for from in 0..spans.len() {
        let mut way = Vec::new();
        let mut here = from;
        while state[here] == 0 {
            state[here] = 1;
            way.push(here);
            here = parent(&spans[here]).unwrap_or(here);
        }
        if state[here] == 1 {
            let circle = way.iter().position(|at| *at == here).map_or(&way[..], |from| &way[from..]);
            // In the order of time the smallest place is the earliest.
            if let Some(first) = circle.iter().min() {
                tops[*first] = true;
            }
        }
        for at in way {
            state[at] = 2;
        }
    }
    tops
}

/// The step in whose time most of a span lies. A step may have ended up to a second later than it
/// says; of two that hold as much, the one that holds more by its word, then the later. What is
/// shorter than the seconds in which steps are told is not the runner's if it may be another's.
fn step_of(job: &ApiJob, span: &Span) -> Option<SpanId> {
    // A moment lies somewhere too.
    let own = (span.start_ns, span.end_ns.max(span.start_ns).saturating_add(1));
    let shared = |step: &super::api::ApiStep| {
        let at_most = overlap(own, (step.start_ns, step.end_ns.saturating_add(GRAIN_NS)));
        (at_most, overlap(own, (step.start_ns, step.end_ns)))
    };
    let is_short = own.1.saturating_sub(own.0) <= GRAIN_NS;
    let steps = job.steps.iter().filter(|step| shared(step).0 > 0);
    let key = |step: &&super::api::ApiStep| {
        (!(is_short && step.is_the_runners), shared(step), step.start_ns, step.id)
    };
    steps.max_by_key(key).map(|step| step.id)
}

/// Removes spans and everything below them.
fn remove(spans: &mut Vec<Span>, roots: HashSet<SpanId>) -> usize {
    let mut children: HashMap<SpanId, Vec<SpanId>> = HashMap::new();
    for span in spans.iter() {
        if let Some(parent) = span.parent_span_id {
            children.entry(parent).or_default().push(span.span_id);
        }
    }
    let mut gone = HashSet::new();
    let mut waiting: Vec<SpanId> = roots.into_iter().collect();
    while let Some(id) = waiting.pop() {
        if gone.insert(id) {
            waiting.extend(children.get(&id).into_iter().flatten());
        }
    }
    let before = spans.len();
    spans.retain(|span| !gone.contains(&span.span_id));
    before - spans.len()
}
