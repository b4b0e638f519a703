//! Checks whether a job's spans fit into the job's time on GitHub. A runner's clock may be wrong by a
//! constant. It is estimated from the start and end of the recording. Spans that still lie outside
//! contradict GitHub.

use super::api::{ApiJob, RESOLUTION_NS};
use super::extent;
use pacegate_engine::model::span::Span;

/// Spans may lie this far outside of the job's time.
const TOLERANCE_NS: i64 = 2 * RESOLUTION_NS;
/// Largest accepted error of a runner's clock.
const MAX_SHIFT_NS: i64 = 600 * RESOLUTION_NS;
/// The same if the times of the recording are not known.
const MAX_SHIFT_WITHOUT_RECORDING_NS: i64 = 30 * RESOLUTION_NS;

/// Result of [`fit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// The spans fit after a shift by this many nanoseconds.
    Within(i64),
    /// No accepted shift makes them fit.
    Contradiction,
}

/// Compares spans with their job's time on GitHub. `recorded` is the time of the recording by the
/// runner's clock.
pub(crate) fn fit(job: &ApiJob, spans: &[Span], recorded: Option<(i64, i64)>) -> Fit {
    let Some(sent) = extent(spans) else { return Fit::Within(0) };
    let window = (job.start_ns, job.end_ns.saturating_add(RESOLUTION_NS));
    if is_within(sent, window, 0) && recorded.is_none_or(|recorded| is_within(recorded, window, 0)) {
        return Fit::Within(0);
    }
    // The recording covers most of the job, so its times show the clock's error. A few spans alone
    // could fit in many places, so without a recording the shift must be small.
    let (shift, largest) = match recorded {
        Some(recorded) => (estimate(recorded, window), MAX_SHIFT_NS),
        None => (nearest(sent, window), MAX_SHIFT_WITHOUT_RECORDING_NS),
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

/// The shift that moves an interval into `window`: zero if that fits, else the middle of all that
/// fit. An interval that is too long is centered.
fn estimate((from, to): (i64, i64), window: (i64, i64)) -> i64 {
    let (earliest, latest) = (window.0.saturating_sub(from), window.1.saturating_sub(to));
    if (earliest.min(latest)..=earliest.max(latest)).contains(&0) && earliest <= latest {
        return 0;
    }
    i64::midpoint(earliest, latest)
}

/// The smallest shift that moves an interval into `window`. For an interval that is too long, the shift
/// that aligns its start.
fn nearest((from, to): (i64, i64), window: (i64, i64)) -> i64 {
    let (earliest, latest) = (window.0.saturating_sub(from), window.1.saturating_sub(to));
    if earliest > 0 { earliest } else { latest.min(0).max(earliest) }
}

/// Moves a span and its events in time.
pub(crate) fn shift(span: &mut Span, by: i64) {
    span.start_ns = span.start_ns.saturating_add(by);
    span.end_ns = span.end_ns.saturating_add(by);
    for event in &mut span.events {
        event.time_ns = event.time_ns.saturating_add(by);
    }
}
