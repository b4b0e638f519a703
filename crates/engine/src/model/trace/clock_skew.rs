//! Corrects clocks that differ between the machines of one trace. It shifts all spans of a machine by
//! one amount when one of them lies outside its caller's time. Durations never change. A clock that
//! can be right is not changed.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::span::{Resource, Span, SpanKind};

/// Attributes of a resource that identify its machine, the best one first. Jaeger's clients write
/// `hostname` and `ip`.
const MACHINE_KEYS: [&str; 5] = ["host.id", "host.name", "hostname", "ip", "service.instance.id"];
/// Without a machine key, each service counts as one machine.
const SERVICE_KEYS: [&str; 1] = ["service.name"];
/// Longer names are cut, in characters.
const MAX_NAME_CHARS: usize = 80;

/// Spans of one machine that were shifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockShift {
    /// The machine's or the service's name. It may be empty.
    pub producer: String,
    /// How far the clock was ahead. Negative when it was behind.
    pub ahead_ns: i64,
    /// Number of shifted spans.
    pub spans: usize,
}

/// Shifts the spans of each machine whose clock can't be right beside those above it in the tree.
/// `order` has parents before children. Linear.
///
/// Each call bounds the shift. The called span begins after the caller begins. It ends before the
/// caller ends, if the caller waits for it and it is not longer. All calls between two machines
/// must agree. The shift is then the smallest that satisfies all bounds. It is the middle of the
/// bounds where their distance is smaller than that (request and response take equally long).
pub(super) fn correct(spans: &mut [Span], parent: &[Option<usize>], order: &[usize]) -> Vec<ClockShift> {
    let (clock_of, names) = clocks(spans, order);
    if names.len() < 2 {
        return Vec::new();
    }
    let mut calls: Vec<Vec<(usize, usize)>> = vec![Vec::new(); names.len()];
    for &child in order {
        let Some(p) = parent[child] else { continue };
        // A span without its real parent says nothing about clocks.
        let is_call = spans[child].parent_span_id == Some(spans[p].span_id) && !has_whole_seconds(&spans[p]);
        if is_call && clock_of[child] != clock_of[p] {
            calls[clock_of[child].max(clock_of[p])].push((p, child));
        }
    }
    let mut shift = vec![0_i128; names.len()];
    for clock in 1..names.len() {
        let mut range = (i128::MIN, i128::MAX);
        for &(p, child) in &calls[clock] {
            let (low, high) = slack(&spans[p], &spans[child]);
            let bounds = if clock_of[child] == clock {
                (low.saturating_add(shift[clock_of[p]]), high.saturating_add(shift[clock_of[p]]))
            } else {
                let known = shift[clock_of[child]];
                (known.saturating_sub(high), known.saturating_sub(low))
            };
            range = (range.0.max(bounds.0), range.1.min(bounds.1));
        }
        shift[clock] = choose(range);
    }
    let mut shifted: Vec<ClockShift> = names
        .into_iter()
        .zip(&shift)
        .map(|(producer, by)| ClockShift { producer, ahead_ns: clamped(-by), spans: 0 })
        .collect();
    for (span, clock) in spans.iter_mut().zip(&clock_of) {
        let by = clamped(shift[*clock]);
        if by != 0 {
            shifted[*clock].spans += 1;
            span.start_ns = span.start_ns.saturating_add(by);
            span.end_ns = span.end_ns.saturating_add(by);
            for event in &mut span.events {
                event.time_ns = event.time_ns.saturating_add(by);
            }
        }
    }
    shifted.retain(|shift| shift.spans > 0);
    shifted
}

/// GitHub rounds the times of jobs and steps down to seconds, so they can't bound another clock.
fn has_whole_seconds(span: &Span) -> bool {
    span.attributes.get("github.job.name").is_some()
}

/// The smallest and largest shift that places the called span inside its caller.
fn slack(caller: &Span, called: &Span) -> (i128, i128) {
    let length = |span: &Span| i128::from(span.end_ns) - i128::from(span.start_ns);
    let low = i128::from(caller.start_ns) - i128::from(called.start_ns);
    let is_asynchronous = called.kind == SpanKind::Consumer || caller.kind == SpanKind::Producer;
    if is_asynchronous || length(called) > length(caller) {
        return (low, i128::MAX);
    }
    (low, i128::from(caller.end_ns) - i128::from(called.end_ns))
}

fn choose((low, high): (i128, i128)) -> i128 {
    if low <= 0 && high >= 0 {
        return 0;
    }
    let nearest = if low > 0 { low } else { high };
    let width = high.saturating_sub(low);
    if low > high {
        // A drifting clock gives bounds that nearly agree. With a larger contradiction, no single
        // shift is right.
        let size = low.saturating_abs().min(high.saturating_abs());
        let is_near = (low > 0) == (high > 0) && low.saturating_sub(high) <= size / 10;
        return if is_near { i128::midpoint(low, high) } else { 0 };
    }
    if width <= nearest.saturating_abs() { i128::midpoint(low, high) } else { nearest }
}

fn clamped(ns: i128) -> i64 {
    i64::try_from(ns.clamp(i128::from(i64::MIN), i128::from(i64::MAX))).unwrap_or(0)
}

/// The clock of each span, and the clocks' names. Clocks are numbered in order of appearance from the
/// root down.
fn clocks(spans: &[Span], order: &[usize]) -> (Vec<usize>, Vec<String>) {
    let mut by_resource: HashMap<*const Resource, usize> = HashMap::new();
    let mut by_name: HashMap<String, usize> = HashMap::new();
    let mut names = Vec::new();
    let mut clock_of = vec![0; spans.len()];
    for &i in order {
        let resource = &spans[i].resource;
        clock_of[i] = *by_resource.entry(Arc::as_ptr(resource)).or_insert_with(|| {
            let of = |keys: &[&str]| resource.attributes.first_text(keys);
            let name: String = of(&MACHINE_KEYS)
                .or_else(|| of(&SERVICE_KEYS))
                .unwrap_or_default()
                .chars()
                .take(MAX_NAME_CHARS)
                .collect();
            *by_name.entry(name).or_insert_with_key(|name| {
                names.push(name.clone());
                names.len() - 1
            })
        });
    }
    (clock_of, names)
}
