//! A baseline whose stages changed for good is brought to their present level: samples from
//! before a lasting change, found or accepted, are moved by its size. They go on teaching how
//! much the stage scatters, and no longer where it stands.

use std::collections::HashMap;

use super::baseline::Baseline;
use super::history::{segments, slow_share};
use crate::model::history::StageSeries;
use crate::model::stage::StageKey;
use crate::stats::matrix::Matrix;

/// The table with earlier samples moved, `series` being its columns; none when nothing changed.
#[must_use]
pub fn at_the_present_level(series: &[StageSeries], logs: &Matrix, baseline: &Baseline) -> Option<Matrix> {
    let accepted = accepted_runs(series, baseline);
    let slow = slow_share(series);
    let mut moved: Option<Matrix> = None;
    for (column, stage) in series.iter().enumerate() {
        let accepted = accepted.get(&stage.key).map_or(&[][..], Vec::as_slice);
        let segments = segments(&stage.points, slow, accepted);
        for (i, segment) in segments.iter().enumerate() {
            let end = segments.get(i + 1).map_or(logs.rows(), |next| next.first_run);
            if segment.shift != 0.0 {
                let table = moved.get_or_insert_with(|| logs.clone());
                // A missing sample stays missing.
                (segment.first_run..end).for_each(|run| table.set(run, column, table.get(run, column) + segment.shift));
            }
        }
    }
    moved
}

/// By stage the first runs with a change that was accepted: its own, and of what it holds it up.
fn accepted_runs<'a>(series: &'a [StageSeries], baseline: &Baseline) -> HashMap<&'a StageKey, Vec<usize>> {
    let by_key: HashMap<&StageKey, &StageSeries> = series.iter().map(|stage| (&stage.key, stage)).collect();
    let mut runs: HashMap<&StageKey, Vec<usize>> = HashMap::new();
    for change in &baseline.accepted {
        let first = baseline.runs.iter().position(|run| run.run.started_at >= change.since);
        let mut at = by_key.get(&change.stage).copied();
        while let (Some(first), Some(stage)) = (first, at) {
            runs.entry(&stage.key).or_default().push(first);
            at = stage.parent.as_ref().and_then(|parent| by_key.get(parent).copied());
            at = at.filter(|holder| holder.path.len() < stage.path.len());
        }
    }
    runs
}
