//! Whether what a job sent can have happened while GitHub saw the job run. A machine's clock may
//! be wrong by a constant, which is estimated from when it began and ended to record; what lies
//! outside all the same contradicts GitHub.

use super::api::{ApiJob, GRAIN_NS};
use super::extent;
use pacegate_engine::model::span::Span;

/// How far outside of a job's time a span may lie.
const TOLERANCE_NS: i64 = 2 * GRAIN_NS;
/// A machine's clock is not further off than this.
const LARGEST_SHIFT_NS: i64 = 600 * GRAIN_NS;
/// Where nobody says when it recorded.
const LARGEST_UNTOLD_SHIFT_NS: i64 = 30 * GRAIN_NS;

/// How spans lie in their job's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// In it, once so many nanoseconds are added.
    Within(i64),
    /// Not in it, with whatever clock.
    Contradiction,
}

/// Holds a job's spans against its time.
pub(crate) fn fit(job: &ApiJob, spans: &[Span], recorded: Option<(i64, i64)>) -> Fit {
    let Some(sent) = extent(spans) else { return Fit::Within(0) };
    let window = (job.start_ns, job.end_ns.saturating_add(GRAIN_NS));
    if is_within(sent, window, 0) && recorded.is_none_or(|recorded| is_within(recorded, window, 0)) {
        return Fit::Within(0);
    }
    // What it recorded ended when it packed, and began when the action did: that tells its clock.
    // A few spans alone could be put anywhere.
    let (shift, largest) = match recorded {
        Some(recorded) => (estimate(recorded, window), LARGEST_SHIFT_NS),
        None => (nearest(sent, window), LARGEST_UNTOLD_SHIFT_NS),
    };
    if shift.abs() > largest || !is_within(sent, window, shift) {
        return Fit::Contradiction;
    }
    Fit::Within(shift)
}

fn is_within((from, to): (i64, i64), window: (i64, i64), shift: i64) -> bool {
    from.saturating_add(shift) >= window.0.saturating_sub(TOLERANCE_NS)
        && to.saturating_add(shift) <= window.1.saturating_add(TOLERANCE_NS)
}

/// The shift that puts an interval into another: the middle of those that do; of one that is too
/// long, the middle of both.
fn estimate((from, to): (i64, i64), window: (i64, i64)) -> i64 {
    let (earliest, latest) = (window.0.saturating_sub(from), window.1.saturating_sub(to));
    if (earliest.min(latest)..=earliest.max(latest)).contains(&0) && earliest <= latest {
        return 0;
    }
    i64::midpoint(earliest, latest)
}

/// The smallest shift that puts an interval into another, or its beginning there.
fn nearest((from, to): (i64, i64), window: (i64, i64)) -> i64 {
    let (earliest, latest) = (window.0.saturating_sub(from), window.1.saturating_sub(to));
    if earliest > 0 { earliest } else { latest.min(0).max(earliest) }
}

/// Moves a span in time.
pub(crate) fn shift(span: &mut Span, by: i64) {
    span.start_ns = span.start_ns.saturating_add(by);
    span.end_ns = span.end_ns.saturating_add(by);
    for event in &mut span.events {
        event.time_ns = event.time_ns.saturating_add(by);
    }
}
