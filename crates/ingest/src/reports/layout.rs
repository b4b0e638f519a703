//! Converts the parts of a report to spans and places each in the interval of its command. Durations
//! are never changed. A span with a chosen position is marked, so that it is not taken as measured.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::part::{Part, PartOutcome, Parts, Role, Start};
use pacegate_engine::model::ids::SpanId;
use pacegate_engine::model::span::{
    AttributeValue, Attributes, Dropped, Scope, Span, SpanEvent, SpanKind, SpanStatus,
};

/// Attribute of a span whose beginning was chosen here. Its duration is from the tool.
const LAID_OUT: &str = "pacegate.report.laid_out";
/// Attribute with the number of parts below a span that did not become spans.
const LEFT_OUT: &str = "pacegate.report.left_out";
/// Tolerance of times: tools write whole seconds, and clocks of containers differ.
const SLACK_NS: i64 = 2_000_000_000;

/// The position of a part in time.
#[derive(Debug, Clone, Copy)]
struct Position {
    start_ns: i64,
    end_ns: i64,
    chosen: bool,
    /// The beginning of its next child whose beginning is unknown.
    next_ns: i64,
}

/// The spans of the kept parts, parents before children.
pub(super) fn spans(parts: &Parts, parent: &Span, seed: &str) -> Vec<Span> {
    let positions = positions(&parts.list, parent.start_ns, parent.end_ns.max(parent.start_ns));
    let left_out = left_out(&parts.list);
    let scope = Arc::new(Scope {
        name: "pacegate reports".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    });
    let ids: Vec<SpanId> = (0..parts.list.len()).map(|at| id(parent, seed, at)).collect();
    let mut spans = Vec::new();
    for (at, (part, position)) in parts.list.iter().zip(&positions).enumerate() {
        if !part.kept {
            continue;
        }
        spans.push(Span {
            trace_id: parent.trace_id,
            span_id: ids[at],
            parent_span_id: Some(part.parent.map_or(parent.span_id, |p| ids[p])),
            name: part.name.clone(),
            kind: SpanKind::Internal,
            start_ns: position.start_ns,
            end_ns: position.end_ns,
            status: match &part.outcome {
                PartOutcome::Failed(failure) => SpanStatus::Error(failure.message.clone()),
                _ => SpanStatus::Unset,
            },
            attributes: attributes(part, position.chosen, left_out[at]),
            events: exception(part, position.end_ns).into_iter().collect(),
            links: Vec::new(),
            dropped: Dropped::default(),
            trace_state: parent.trace_state.clone(),
            scope: Arc::clone(&scope),
            resource: Arc::clone(&parent.resource),
        });
    }
    spans
}

/// The position of each part:
///
/// - A known beginning is used.
/// - If a known beginning is outside of the command, the tool's clock differs (for example a local
///   time without a zone). All times are moved so that the first one is the command's beginning.
/// - A part without a beginning follows its sibling. It ends with its parent at the latest, unless it
///   is longer.
fn positions(parts: &[Part], from_ns: i64, to_ns: i64) -> Vec<Position> {
    let starts =
        || parts.iter().filter_map(|part| if let Start::At(at) = part.start { Some(at) } else { None });
    let outside =
        starts().any(|at| at < from_ns.saturating_sub(SLACK_NS) || at > to_ns.saturating_add(SLACK_NS));
    let shift = if outside { starts().min().map_or(0, |first| from_ns.saturating_sub(first)) } else { 0 };
    let mut root = Position { start_ns: from_ns, end_ns: to_ns, chosen: false, next_ns: from_ns };
    let mut positions: Vec<Position> = Vec::with_capacity(parts.len());
    for part in parts {
        let parent = part.parent.and_then(|p| positions.get(p).copied()).unwrap_or(root);
        let duration_ns = part.duration_ns.unwrap_or(0).max(0);
        let latest = parent.end_ns.saturating_sub(duration_ns).max(parent.start_ns);
        let (start_ns, chosen) = match part.start {
            Start::At(at) => (at.saturating_add(shift).max(from_ns), outside),
            Start::Offset(offset) => (from_ns.saturating_add(offset.max(0)), false),
            Start::Unknown => (parent.next_ns.min(latest), true),
        };
        let end_ns = start_ns.saturating_add(duration_ns);
        match part.parent.and_then(|p| positions.get_mut(p)) {
            Some(parent) => parent.next_ns = end_ns,
            None => root.next_ns = end_ns,
        }
        positions.push(Position { start_ns, end_ns, chosen, next_ns: start_ns });
    }
    positions
}

/// The interval of a report that was written at `written_ns` and did not begin before `earliest_ns`.
/// It ends at `written_ns`. It begins with the first known time, if that is plausible. Otherwise it is
/// as long as all top-level parts together.
pub(super) fn interval(parts: &[Part], earliest_ns: i64, written_ns: i64) -> (i64, i64) {
    let top_level = || parts.iter().filter(|part| part.parent.is_none());
    let first =
        top_level().filter_map(|part| if let Start::At(at) = part.start { Some(at) } else { None }).min();
    let plausible = earliest_ns.saturating_sub(SLACK_NS)..=written_ns.saturating_add(SLACK_NS);
    if let Some(first) = first.filter(|first| plausible.contains(first)) {
        return (first.min(written_ns), written_ns);
    }
    let took = top_level().fold(0_i64, |sum, part| sum.saturating_add(part.duration_ns.unwrap_or(0).max(0)));
    (written_ns.saturating_sub(took).max(earliest_ns.min(written_ns)), written_ns)
}

/// For each part, the number of parts below it that did not become spans. Each is counted at its nearest
/// kept ancestor.
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

/// A span id that depends only on the command, the report and the part's index.
fn id(parent: &Span, seed: &str, at: usize) -> SpanId {
    let text = format!("{} {} {seed} {at}", parent.trace_id, parent.span_id);
    let digest = Sha256::digest(text.as_bytes());
    // The digest is all zero once in 10^19: any other id will do.
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
                    PartOutcome::Passed => "pass",
                    PartOutcome::Skipped => "skip",
                    PartOutcome::Failed(_) => "fail",
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
    let PartOutcome::Failed(failure) = &part.outcome else { return None };
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
