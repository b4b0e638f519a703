//! Finds the lasting changes of a branch: steps and drift of each stage, their commits, and the
//! responsible stage. It reads residuals without the runner's speed and judges no pull request.

mod explain;
mod segments;

use std::collections::{BTreeMap, HashMap};

use crate::model::history::{
    AcceptedChange, ChangeKind, HistoryChange, HistoryRun, SeriesPoint, StageSeries,
};
use crate::model::stage::StageKey;
use crate::stats::drift::drift;
use crate::stats::level_shift::SlowShare;

use segments::{Boundary, boundaries, residuals, usable};
pub use segments::{Segment, newest_segment, segments};

/// Smallest drift: a factor of 1.10, as a logarithm.
const MIN_DRIFT: f64 = 0.095_310_179_804_324_87;

/// How much of the stages' variance is slow wander, estimated from all of them: the history of one
/// stage is too short. [`segments`] takes it.
#[must_use]
pub fn slow_share(series: &[StageSeries]) -> SlowShare {
    let all: Vec<Vec<f64>> = series.iter().map(|s| residuals(&usable(&s.points, usize::MAX))).collect();
    SlowShare::pooled(all.iter().map(Vec::as_slice))
}

/// The lasting changes of all stages, newest first, then by their seconds. `runs` are oldest first;
/// the points' positions are positions in it. An accepted change divides its stage and the stage's
/// parents, and is not reported again.
#[must_use]
pub fn changes(
    series: &[StageSeries],
    runs: &[HistoryRun],
    accepted: &[AcceptedChange],
) -> Vec<HistoryChange> {
    let slow = slow_share(series);
    let parents = parents(series);
    let mut accepted_runs: BTreeMap<&StageKey, Vec<usize>> = BTreeMap::new();
    for change in accepted {
        let Some(first) = runs.iter().position(|run| run.started_at >= change.since) else { continue };
        let mut at = Some(&change.stage);
        while let Some(key) = at {
            accepted_runs.entry(key).or_default().push(first);
            at = parents.get(key).copied();
        }
    }
    let mut found = Vec::new();
    for stage in series {
        let accepted = accepted_runs.get(&stage.key).map_or(&[][..], Vec::as_slice);
        found.extend(changes_of(stage, runs, slow, accepted));
    }
    explain::explain(&mut found, &parents);
    found.sort_by(|a, b| {
        let (newer, larger) =
            (b.at.cmp(&a.at), b.change.increase_s().abs().total_cmp(&a.change.increase_s().abs()));
        newer.then(larger).then_with(|| a.change.stage.cmp(&b.change.stage))
    });
    found.into_iter().map(|located| located.change).collect()
}

/// A change and the position of its first run.
struct Located {
    at: usize,
    change: HistoryChange,
}

fn changes_of(
    stage: &StageSeries,
    runs: &[HistoryRun],
    slow: SlowShare,
    accepted_runs: &[usize],
) -> Vec<Located> {
    let points = usable(&stage.points, runs.len());
    let boundaries = boundaries(&points, slow, accepted_runs);
    let located = |kind, (from, to): (SeriesPoint, SeriesPoint), (before, after): (f64, f64), p| {
        let newest = runs.len() - 1;
        Located {
            at: to.run,
            change: HistoryChange {
                stage: stage.key.clone(),
                path: stage.path.clone(),
                kind,
                ratio: f64::exp(after - before),
                before_s: stage.usual_s * before.exp(),
                after_s: stage.usual_s * after.exp(),
                from_sha: runs[from.run].commit.clone(),
                to_sha: runs[to.run].commit.clone(),
                since: runs[to.run].started_at,
                runs: match kind {
                    ChangeKind::Step => newest - to.run,
                    ChangeKind::Drift => newest - from.run,
                },
                p,
                explained_by: None,
            },
        }
    };
    let step = |b: &Boundary| {
        let places = (points[b.at - 1], points[b.at]);
        b.p.map(|p| located(ChangeKind::Step, places, (b.before, b.after), p))
    };
    let mut found: Vec<Located> = boundaries.iter().filter_map(step).collect();
    let newest = &points[boundaries.last().map_or(0, |b| b.at)..];
    if let Some(drift) = drift(&residuals(newest), slow, MIN_DRIFT) {
        let places = (newest[0], newest[newest.len() - 1]);
        found.push(located(ChangeKind::Drift, places, (drift.anchor, drift.newest), drift.p));
    }
    found
}

/// Each stage's parent, if it has a series. The parent's path is shorter, so that walking up ends.
fn parents(series: &[StageSeries]) -> HashMap<&StageKey, &StageKey> {
    let depth: HashMap<&StageKey, usize> = series.iter().map(|s| (&s.key, s.path.len())).collect();
    let shorter = |s: &StageSeries, parent: &StageKey| depth.get(parent).is_some_and(|d| *d < s.path.len());
    series
        .iter()
        .filter_map(|s| s.parent.as_ref().filter(|parent| shorter(s, parent)).map(|parent| (&s.key, parent)))
        .collect()
}

#[cfg(test)]
mod tests;
