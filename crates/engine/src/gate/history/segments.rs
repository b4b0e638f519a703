//! Divides one stage's history into segments of one level: at its confirmed steps, and where a
//! change was accepted.

use crate::model::history::SeriesPoint;
use crate::stats::change_point::{Settings, change_points};
use crate::stats::level_shift::SlowShare;
use crate::stats::robust::median_of;

/// Points on each side from which the levels of an accepted change are read.
const ACCEPTED_REACH: usize = 20;

/// A stretch of a stage's history with one level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Segment {
    /// Position of its first run.
    pub first_run: usize,
    /// Added to its residuals, this brings them to the level of the newest segment, whose shift is 0.
    pub shift: f64,
}

/// The segments of one stage's history, oldest first, divided at its confirmed steps and at
/// `accepted_runs`, the first runs of accepted changes. Empty without points.
#[must_use]
pub fn segments(points: &[SeriesPoint], slow: SlowShare, accepted_runs: &[usize]) -> Vec<Segment> {
    let points = usable(points, usize::MAX);
    let boundaries = boundaries(&points, slow, accepted_runs);
    let Some(first) = points.first() else { return Vec::new() };
    let mut shift: f64 = boundaries.iter().map(Boundary::shift).sum();
    let mut found = vec![Segment { first_run: first.run, shift }];
    for boundary in &boundaries {
        shift -= boundary.shift();
        found.push(Segment { first_run: points[boundary.at].run, shift });
    }
    if let Some(newest) = found.last_mut() {
        // The exact sum is zero; the rest is a rounding error.
        newest.shift = 0.0;
    }
    found
}

/// Where the present level began, with its difference from the level before as `shift`. None when
/// the level never changed. With several changes, [`segments`] has the shift of each segment.
#[must_use]
pub fn newest_segment(points: &[SeriesPoint], slow: SlowShare, accepted_runs: &[usize]) -> Option<Segment> {
    match segments(points, slow, accepted_runs)[..] {
        [.., before, newest] => Some(Segment { shift: before.shift, ..newest }),
        _ => None,
    }
}

/// Where one level ends and the next begins.
pub(super) struct Boundary {
    /// Position of the first point after it, among the points.
    pub(super) at: usize,
    pub(super) before: f64,
    pub(super) after: f64,
    /// None for a change that was accepted.
    pub(super) p: Option<f64>,
}

impl Boundary {
    fn shift(&self) -> f64 {
        self.after - self.before
    }
}

/// Points that are numbers, of runs before `end`, oldest first, one for each run.
pub(super) fn usable(points: &[SeriesPoint], end: usize) -> Vec<SeriesPoint> {
    let mut kept: Vec<SeriesPoint> =
        points.iter().copied().filter(|p| p.residual.is_finite() && p.run < end).collect();
    kept.sort_by_key(|p| p.run);
    kept.dedup_by_key(|p| p.run);
    kept
}

pub(super) fn residuals(points: &[SeriesPoint]) -> Vec<f64> {
    points.iter().map(|p| p.residual).collect()
}

fn level(values: &[f64]) -> f64 {
    median_of(values.iter().copied()).unwrap_or(0.0)
}

pub(super) fn boundaries(points: &[SeriesPoint], slow: SlowShare, accepted_runs: &[usize]) -> Vec<Boundary> {
    let values = residuals(points);
    let slow = slow.or_more_for(&values);
    let mut cuts: Vec<usize> = accepted_runs
        .iter()
        .map(|run| points.partition_point(|p| p.run < *run))
        .filter(|at| (1..points.len()).contains(at))
        .collect();
    cuts.sort_unstable();
    cuts.dedup();
    let mut found = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([points.len()]) {
        if from > 0 {
            found.push(Boundary { at: from, before: 0.0, after: 0.0, p: None });
        }
        let steps = change_points(&values[from..to], slow, &Settings::default());
        found.extend(steps.into_iter().map(|step| Boundary {
            at: from + step.at,
            before: step.before,
            after: step.after,
            p: Some(step.p),
        }));
        from = to;
    }
    for i in 0..found.len() {
        let at = found[i].at;
        let start = if i == 0 { 0 } else { found[i - 1].at };
        let end = found.get(i + 1).map_or(points.len(), |next| next.at);
        if found[i].p.is_none() {
            found[i].before = level(&values[start.max(at.saturating_sub(ACCEPTED_REACH))..at]);
            found[i].after = level(&values[at..end.min(at + ACCEPTED_REACH)]);
        }
    }
    found
}
