//! Brings a baseline with lasting changes to the stages' present level: samples from before a
//! lasting change, found or accepted, are moved by its size. They contribute to the stage's
//! scatter, but not to its level.

use std::collections::HashMap;

use super::Baseline;
use crate::gate::history::{segments, slow_share};
use crate::model::history::StageSeries;
use crate::model::stage::StageKey;
use crate::stats::matrix::Matrix;

/// The table with earlier samples moved; none when nothing changed. `series` are its columns.
#[must_use]
pub(crate) fn rebase_level(series: &[StageSeries], logs: &Matrix, baseline: &Baseline) -> Option<Matrix> {
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
                (segment.first_run..end)
                    .for_each(|run| table.set(run, column, table.get(run, column) + segment.shift));
            }
        }
    }
    moved
}

/// By stage, the first runs with an accepted change of the stage or of a stage below it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::tests::fixture::{path, run};
    use crate::model::history::{AcceptedChange, SeriesPoint};

    /// A stage that took longer by `shift` (a logarithm) from run 20 of 24 on: too short to be detected.
    fn stage(name: &str, shift: f64) -> StageSeries {
        let path = path(name);
        let residual =
            |run: usize| if run < 20 { 0.01 * f64::from(u8::from(run.is_multiple_of(2))) } else { shift };
        StageSeries {
            key: StageKey::from_path(&path),
            parent: (path.len() > 1).then(|| StageKey::from_path(&path[..path.len() - 1])),
            path,
            usual_s: 1.0,
            points: (0..24).map(|run| SeriesPoint { run, residual: residual(run) }).collect(),
        }
    }

    #[test]
    fn accepted_change_moves_past_of_stage_and_parents() {
        let series = [stage("ci", 0.1), stage("ci / a", 0.4), stage("ci / b", 0.4)];
        let mut logs = Matrix::filled(24, 3, 1.0);
        logs.set(3, 1, f64::NAN);
        let mut baseline =
            Baseline { runs: (0..24).map(|n| run(n, vec![])).collect(), ..Baseline::default() };
        assert_eq!(
            rebase_level(&series, &logs, &baseline),
            None,
            "four runs are too few for a lasting change"
        );
        let since = baseline.runs[20].run.started_at;
        baseline.accepted.push(AcceptedChange { stage: series[1].key.clone(), since });
        let moved = rebase_level(&series, &logs, &baseline).expect("moved");
        let column = |i: usize| [0, 19, 20].map(|run| format!("{:.1}", moved.get(run, i)));
        assert_eq!(column(0), ["1.1", "1.1", "1.0"]);
        assert_eq!(column(1), ["1.4", "1.4", "1.0"]);
        assert_eq!(column(2), ["1.0", "1.0", "1.0"], "its sibling was not accepted");
        assert!(moved.get(3, 1).is_nan());
    }
}
