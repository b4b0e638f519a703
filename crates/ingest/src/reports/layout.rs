//! Parts of a report as spans: where each lies in the interval of the command that made it.
//! Durations are kept as they were told; a place that had to be chosen is marked, so that
//! nobody takes it for measured.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::part::{Outcome, Part, Parts, Role, Start};
use pacegate_engine::model::ids::SpanId;
use pacegate_engine::model::span::{
    AttributeValue, Attributes, Dropped, Scope, Span, SpanEvent, SpanKind, SpanStatus,
};

/// On a span whose place in time was chosen here: its duration is the tool's, its beginning not.
const LAID_OUT: &str = "pacegate.report.laid_out";
/// On a span that holds parts which became no spans: how many.
const LEFT_OUT: &str = "pacegate.report.left_out";
/// Tools write whole seconds, and clocks of containers differ.
const SLACK_NS: i64 = 2_000_000_000;

/// Where a part lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    start_ns: i64,
    end_ns: i64,
    chosen: bool,
    /// Where its next part of unknown beginning goes.
    next_ns: i64,
}

/// The spans of the kept parts, those that hold others first.
pub(super) fn spans(parts: &Parts, parent: &Span, seed: &str) -> Vec<Span> {
    let places = places(&parts.list, parent.start_ns, parent.end_ns.max(parent.start_ns));
    let left_out = left_out(&parts.list);
    let scope = Arc::new(Scope {
        name: "pacegate reports".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    });
    let ids: Vec<SpanId> = (0..parts.list.len()).map(|at| id(parent, seed, at)).collect();
    let mut spans = Vec::new();
    for (at, (part, place)) in parts.list.iter().zip(&places).enumerate() {
        if !part.kept {
            continue;
        }
        spans.push(Span {
            trace_id: parent.trace_id,
            span_id: ids[at],
            parent_span_id: Some(part.parent.map_or(parent.span_id, |p| ids[p])),
            name: part.name.clone(),
            kind: SpanKind::Internal,
            start_ns: place.start_ns,
            end_ns: place.end_ns,
            status: match &part.outcome {
                Outcome::Failed(failure) => SpanStatus::Error(failure.message.clone()),
                _ => SpanStatus::Unset,
            },
            attributes: attributes(part, place.chosen, left_out[at]),
            events: exception(part, place.end_ns).into_iter().collect(),
            links: Vec::new(),
            dropped: Dropped::default(),
            trace_state: parent.trace_state.clone(),
            scope: Arc::clone(&scope),
            resource: Arc::clone(&parent.resource),
        });
    }
    spans
}

/// A place for each part. What is known of its beginning holds, unless it lies outside of the
/// command: then the tool's clock is another (a local time without a zone), and all its times
/// are moved so that the first is the command's beginning. What has no beginning goes behind
/// the part before it, and never further than ends with what holds it.
fn places(parts: &[Part], from_ns: i64, to_ns: i64) -> Vec<Place> {
    let told =
        || parts.iter().filter_map(|part| if let Start::At(at) = part.start { Some(at) } else { None });
    let outside =
        told().any(|at| at < from_ns.saturating_sub(SLACK_NS) || at > to_ns.saturating_add(SLACK_NS));
    let shift = if outside { told().min().map_or(0, |first| from_ns.saturating_sub(first)) } else { 0 };
    let mut root = Place { start_ns: from_ns, end_ns: to_ns, chosen: false, next_ns: from_ns };
    let mut places: Vec<Place> = Vec::with_capacity(parts.len());
    for part in parts {
        let holder = part.parent.and_then(|p| places.get(p).copied()).unwrap_or(root);
        let duration_ns = part.duration_ns.unwrap_or(0).max(0);
        let latest = holder.end_ns.saturating_sub(duration_ns).max(holder.start_ns);
        let (start_ns, chosen) = match part.start {
            Start::At(at) => (at.saturating_add(shift).max(from_ns), outside),
            Start::Offset(offset) => (from_ns.saturating_add(offset.max(0)), false),
            Start::Unknown => (holder.next_ns.min(latest), true),
        };
        let end_ns = start_ns.saturating_add(duration_ns);
        match part.parent.and_then(|p| places.get_mut(p)) {
            Some(holder) => holder.next_ns = end_ns,
            None => root.next_ns = end_ns,
        }
        places.push(Place { start_ns, end_ns, chosen, next_ns: start_ns });
    }
    places
}

/// The interval that a report tells of, when it is only known that it had ended by `written_ns`
/// and was not made before `earliest_ns`: from its first moment, if its clock is right, else as
/// long as its parts took one after the other.
pub(super) fn interval(parts: &[Part], earliest_ns: i64, written_ns: i64) -> (i64, i64) {
    let of_all = || parts.iter().filter(|part| part.parent.is_none());
    let told = of_all().filter_map(|part| if let Start::At(at) = part.start { Some(at) } else { None }).min();
    let plausible = earliest_ns.saturating_sub(SLACK_NS)..=written_ns.saturating_add(SLACK_NS);
    if let Some(first) = told.filter(|first| plausible.contains(first)) {
        return (first.min(written_ns), written_ns);
    }
    let took = of_all().fold(0_i64, |sum, part| sum.saturating_add(part.duration_ns.unwrap_or(0).max(0)));
    (written_ns.saturating_sub(took).max(earliest_ns.min(written_ns)), written_ns)
}

/// By part, how many of the parts it holds became no span.
fn left_out(parts: &[Part]) -> Vec<i64> {
    let mut left_out = vec![0_i64; parts.len()];
    for part in parts.iter().filter(|part| !part.kept) {
        let mut above = part.parent;
        while let Some(p) = above.filter(|p| !parts[*p].kept) {
            above = parts[p].parent;
        }
        if let Some(p) = above {
            left_out[p] += 1;
        }
    }
    left_out
}

/// The same part of the same report of the same command has the same id.
fn id(parent: &Span, seed: &str, at: usize) -> SpanId {
    let text = format!("{} {} {seed} {at}", parent.trace_id, parent.span_id);
    let digest = Sha256::digest(text.as_bytes());
    // All zero, once in 10^19: any other is as good.
    SpanId::from_bytes(&digest[..8]).unwrap_or(parent.span_id)
}

fn attributes(part: &Part, chosen: bool, left_out: i64) -> Attributes {
    let mut pairs = Vec::new();
    let mut add = |key: &str, value: AttributeValue| pairs.push((key.to_owned(), value));
    let text = |text: &str| AttributeValue::String(text.to_owned());
    match part.role {
        Role::Suite => add("test.suite.name", text(&part.name)),
        Role::Case => {
            add("test.case.name", text(&part.name));
            add(
                "test.case.result.status",
                text(match part.outcome {
                    Outcome::Passed => "pass",
                    Outcome::Skipped => "skip",
                    Outcome::Failed(_) => "fail",
                }),
            );
        }
        Role::Step => {}
    }
    if chosen {
        add(LAID_OUT, AttributeValue::Bool(true));
    }
    if left_out > 0 {
        add(LEFT_OUT, AttributeValue::Int(left_out));
    }
    Attributes(pairs)
}

fn exception(part: &Part, time_ns: i64) -> Option<SpanEvent> {
    let Outcome::Failed(failure) = &part.outcome else { return None };
    let pairs = [
        ("exception.type", &failure.kind),
        ("exception.message", &failure.message),
        ("exception.stacktrace", &failure.stack),
    ];
    let there = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    let attributes = there.map(|(key, value)| (key.to_owned(), AttributeValue::String(value.clone())));
    Some(SpanEvent {
        name: "exception".to_owned(),
        time_ns,
        attributes: Attributes(attributes.collect()),
        dropped_attributes: 0,
    })
}
