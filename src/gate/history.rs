//! What lastingly changed on a branch: steps and drift of each stage, between which commits, and
//! which stage is responsible. Looks at residuals with the machine's speed already taken out;
//! judges no pull request.

use std::collections::{BTreeMap, HashMap};

use super::attribute::EXPLAINED_SHARE;
use super::words;
use crate::model::history::{
    AcceptedChange, ChangeKind, HistoryChange, HistoryRun, SeriesPoint, StageSeries,
};
use crate::model::stage::StageKey;
use crate::stats::change_point::{Settings, change_points};
use crate::stats::drift::drift;
use crate::stats::hampel::without_outliers;
use crate::stats::level_shift::SlowShare;
use crate::stats::robust::median_of;

/// Smallest drift: a factor of 1.10, as a logarithm.
const MIN_DRIFT: f64 = 0.095_310_179_804_324_87;
/// Steps of a stage and of one that holds it are one when they are found this many runs apart or
/// less: noise moves the place by a few runs.
const SAME_PLACE: usize = 5;
/// Points to each side from which an accepted change's level is read.
const ACCEPTED_REACH: usize = 20;

/// A stretch of a stage's history with one level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Segment {
    /// Position of its first run.
    pub first_run: usize,
    /// What to add to its residuals so that they are at the level of the newest segment; 0 for
    /// that one.
    pub shift: f64,
}

/// How much of the stages' variance is slow wander, learned from all of them. [`segments`] of one
/// stage takes it, because one stage's history is too short to tell.
#[must_use]
pub fn slow_share(series: &[StageSeries]) -> SlowShare {
    let clean: Vec<Vec<f64>> =
        series.iter().map(|s| without_outliers(&residuals(&usable(&s.points, usize::MAX)))).collect();
    SlowShare::pooled(clean.iter().map(Vec::as_slice))
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
        // What is left of the sum is rounding.
        newest.shift = 0.0;
    }
    found
}

/// Where the present level began, and by how much it differs from the one before: earlier
/// samples moved by `shift` still teach the scatter, but not the level. None when the level never
/// changed. With several changes, [`segments`] has the shift of each stretch.
#[must_use]
pub fn newest_segment(points: &[SeriesPoint], slow: SlowShare, accepted_runs: &[usize]) -> Option<Segment> {
    match segments(points, slow, accepted_runs)[..] {
        [.., before, newest] => Some(Segment { shift: before.shift, ..newest }),
        _ => None,
    }
}

/// The lasting changes of all stages, newest first, then by their seconds. `runs` are the runs
/// that the points' positions mean, oldest first. An accepted change divides its stage and what
/// holds it, and is not told again.
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
    explain(&mut found, &parents);
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

/// Where one level ends and the next begins.
struct Boundary {
    /// Position of the first point after it, among the points.
    at: usize,
    before: f64,
    after: f64,
    /// None for a change that was accepted.
    p: Option<f64>,
}

impl Boundary {
    fn shift(&self) -> f64 {
        self.after - self.before
    }
}

/// Points that are numbers, of runs before `end`, oldest first, one for each run.
fn usable(points: &[SeriesPoint], end: usize) -> Vec<SeriesPoint> {
    let mut kept: Vec<SeriesPoint> =
        points.iter().copied().filter(|p| p.residual.is_finite() && p.run < end).collect();
    kept.sort_by_key(|p| p.run);
    kept.dedup_by_key(|p| p.run);
    kept
}

fn residuals(points: &[SeriesPoint]) -> Vec<f64> {
    points.iter().map(|p| p.residual).collect()
}

fn level(values: &[f64]) -> f64 {
    median_of(values.iter().copied()).unwrap_or(0.0)
}

fn boundaries(points: &[SeriesPoint], slow: SlowShare, accepted_runs: &[usize]) -> Vec<Boundary> {
    let values = residuals(points);
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

/// Each stage's parent, where that one has a series and a shorter path, so that walking up ends.
fn parents(series: &[StageSeries]) -> HashMap<&StageKey, &StageKey> {
    let depth: HashMap<&StageKey, usize> = series.iter().map(|s| (&s.key, s.path.len())).collect();
    let shorter = |s: &StageSeries, parent: &StageKey| depth.get(parent).is_some_and(|d| *d < s.path.len());
    series
        .iter()
        .filter_map(|s| s.parent.as_ref().filter(|parent| shorter(s, parent)).map(|parent| (&s.key, parent)))
        .collect()
}

/// Fills `explained_by` by the rule of `attribute.rs`: a change is its parts' when their changes
/// at the same place and in the same direction make up most of its seconds. The deepest stage
/// along the largest part is named.
fn explain(found: &mut [Located], parents: &HashMap<&StageKey, &StageKey>) {
    let mut by_stage: HashMap<&StageKey, Vec<usize>> = HashMap::new();
    for (i, located) in found.iter().enumerate() {
        by_stage.entry(&located.change.stage).or_default().push(i);
    }
    let same = |a: &Located, b: &Located| {
        a.change.kind == b.change.kind
            && a.at.abs_diff(b.at) <= SAME_PLACE
            && (a.change.ratio > 1.0) == (b.change.ratio > 1.0)
    };
    // Of each change the nearest changes below it: (seconds, part).
    let mut parts: Vec<Vec<(f64, usize)>> = vec![Vec::new(); found.len()];
    for (i, part) in found.iter().enumerate() {
        let mut at = parents.get(&part.change.stage).copied();
        while let Some(above) = at {
            let mut whole = by_stage.get(above).into_iter().flatten();
            if let Some(whole) = whole.find(|whole| same(&found[**whole], part)) {
                parts[*whole].push((part.change.increase_s().abs(), i));
                break;
            }
            at = parents.get(above).copied();
        }
    }
    let mut deepest_first: Vec<usize> = (0..found.len()).filter(|i| !parts[*i].is_empty()).collect();
    deepest_first.sort_by_key(|i| std::cmp::Reverse(found[*i].change.path.len()));
    for i in deepest_first {
        let total: f64 = parts[i].iter().map(|(seconds, _)| seconds).sum();
        if total < EXPLAINED_SHARE * found[i].change.increase_s().abs() {
            continue;
        }
        let largest = parts[i].iter().max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        if let Some((_, part)) = largest {
            let part = &found[*part].change;
            let deepest = part.explained_by.clone().unwrap_or_else(|| part.stage.clone());
            found[i].change.explained_by = Some(deepest);
        }
    }
}

impl HistoryChange {
    /// The change in one sentence without its full stop, as plain text: names are as they were
    /// sent, so what shows it escapes it.
    #[must_use]
    pub fn sentence(&self) -> String {
        let name = match &self.path[..] {
            [_, parts @ ..] if !parts.is_empty() => parts.join(" / "),
            path => path.join(" / "),
        };
        let (factor, direction) =
            if self.ratio < 1.0 { (1.0 / self.ratio, "faster") } else { (self.ratio, "slower") };
        let (factor, seconds) = (words::ratio(factor), words::change(self.increase_s()));
        let (from, to) = (self.from_sha.short(), self.to_sha.short());
        let runs = words::counted(self.runs, "run");
        match self.kind {
            ChangeKind::Step => {
                format!("{name} got {factor} {direction} ({seconds}) between {from} and {to}, {runs} ago")
            }
            ChangeKind::Drift => {
                format!("{name} drifted {factor} {direction} ({seconds}) from {from} to {to}, over {runs}")
            }
        }
    }
}
