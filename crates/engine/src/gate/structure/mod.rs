//! Finds structural changes of a pipeline: stages that were added, removed, renamed or moved, or that ran
//! more or less often. It changes no verdict. In the reasons of flagged stages it distinguishes more work
//! from slower work.

mod order;
mod renames;
mod repeats;
#[cfg(test)]
mod tests;
mod tree;
mod usual;

use std::collections::{HashMap, HashSet};

pub use usual::{BaselineStructure, UsualStage};

use self::order::{Pair, moved};
use self::renames::{Added, Place, Removed, renames};
use self::repeats::{is_unseen, repetition};
use self::tree::{Stage, Tree};
use crate::gate::verdict::attribute::flag;
use crate::model::comparison::{RunComparison, StageVerdict};
use crate::model::note::Note;
use crate::model::policy::{Alias, GatePolicy};
use crate::model::reason::StageFact;
use crate::model::run::{MeasuredRun, RunResult};
use crate::model::stage::{StageKey, StageKind, StageSample};
use crate::model::structure::{Change, Side, StructuralChange};
use crate::stats::count;

/// Smallest number of runs with a usual structure.
const MIN_RUNS: usize = 3;
/// Changes that are kept. Further ones are only counted.
const MAX_CHANGES: usize = 100;

/// Adds the structural changes to a comparison, and repetitions to the reasons of flagged stages. Work is
/// near linear in the stages of both sides.
pub fn add_changes(
    comparison: &mut RunComparison,
    usual: &BaselineStructure,
    newest: &MeasuredRun,
    policy: &GatePolicy,
) {
    let runner = comparison.runner_factor.filter(|factor| factor.is_finite() && *factor > 0.0).unwrap_or(1.0);
    let mut found = changes(usual, newest, runner, policy);
    if found.len() > MAX_CHANGES {
        comparison.notes.push(Note::MoreChanges { changes: found.len() - MAX_CHANGES });
        found.truncate(MAX_CHANGES);
    }
    let here: HashMap<&StageKey, &StageSample> = newest.stages.iter().map(|s| (&s.key, s)).collect();
    let renamed: HashMap<&StageKey, &str> = found.iter().filter_map(rename_of).collect();
    for stage in &mut comparison.stages {
        if let (StageVerdict::New, Some(old)) = (&stage.verdict, renamed.get(&stage.key)) {
            stage.reason.push(StageFact::Renamed { from: (*old).to_owned() });
        }
        let flagged = flag(stage.verdict) > 0 && usual.runs >= MIN_RUNS;
        let usually = usual.find(&stage.key).and_then(|u| u.usual).filter(|_| flagged);
        if let (Some(usually), Some(sample)) = (usually, here.get(&stage.key)) {
            let min_ratio = policy.stage(&sample.path).floors.min_ratio;
            let repeated = repetition(&usually, sample, min_ratio, runner);
            if let Some(repeated) = repeated.filter(|r| f64::from(r.count) > r.usual_count) {
                stage.reason.push(StageFact::Repeated(repeated));
            }
        }
    }
    comparison.structure = found;
}

fn rename_of(change: &StructuralChange) -> Option<(&StageKey, &str)> {
    match &change.change {
        Change::Renamed { from, .. } => Some((&change.key, from.last()?.as_str())),
        _ => None,
    }
}

/// All changes of the newest run against the baseline's usual structure. They are in the order renamed,
/// added, removed, repeated, reordered, and the longest of each kind first.
fn changes(
    usual: &BaselineStructure,
    newest: &MeasuredRun,
    runner: f64,
    policy: &GatePolicy,
) -> Vec<StructuralChange> {
    if usual.runs < MIN_RUNS {
        return Vec::new();
    }
    let nodes: Vec<Stage<'_>> = newest
        .stages
        .iter()
        .map(|s| Stage { key: &s.key, parent: s.parent.as_ref(), depth: s.path.len() })
        .collect();
    let mut search = Search {
        usual,
        stages: &newest.stages,
        tree: Tree::of(&nodes),
        keys: newest.stages.iter().map(|s| &s.key).collect(),
        // A run that did not succeed may have stopped early.
        is_complete: newest.run.result == RunResult::Success,
        runner,
        policy,
        found: Vec::new(),
    };
    let mut open = vec![(None, None)];
    while let Some((old, new)) = open.pop() {
        open.extend(search.siblings(old, new).into_iter().map(|(old, new)| (Some(old), Some(new))));
    }
    let mut found = search.found;
    found.sort_by(|(a, a_weight), (b, b_weight)| {
        rank(a).cmp(&rank(b)).then(b_weight.total_cmp(a_weight)).then_with(|| a.path.cmp(&b.path))
    });
    found.into_iter().map(|(change, _)| change).collect()
}

fn rank(change: &StructuralChange) -> u8 {
    match change.change {
        Change::Renamed { .. } => 0,
        Change::Added { .. } => 1,
        Change::Removed { .. } => 2,
        Change::Repeated(_) => 3,
        Change::Reordered { .. } => 4,
    }
}

struct Search<'a> {
    usual: &'a BaselineStructure,
    stages: &'a [StageSample],
    tree: Tree,
    keys: HashSet<&'a StageKey>,
    is_complete: bool,
    runner: f64,
    policy: &'a GatePolicy,
    /// Each change with its weight for the order, usually its seconds.
    found: Vec<(StructuralChange, f64)>,
}

impl Search<'_> {
    /// Compares the children of a baseline stage with those of a candidate stage, or the roots of both.
    /// Returns the pairs that are the same stage, also under a new name.
    fn siblings(&mut self, old: Option<usize>, new: Option<usize>) -> Vec<(usize, usize)> {
        let usual = self.usual;
        let mut by_name: HashMap<&str, usize> =
            usual.tree.children(old).iter().map(|i| (last(&usual.stages[*i].path), *i)).collect();
        let (mut same, mut added) = (Vec::new(), Vec::new());
        for &i in self.tree.children(new) {
            let stage = &self.stages[i];
            match by_name.remove(last(&stage.path)) {
                Some(known) => same.push((known, i)),
                // A stage whose parent was not measured is a root, but it is not new.
                None if stage.kind == StageKind::Work && usual.find(&stage.key).is_none() => added.push(i),
                None => {}
            }
        }
        let is_missed = |i: &usize| {
            let stage = &usual.stages[*i];
            stage.expected && stage.kind == StageKind::Work && !self.keys.contains(&stage.key)
        };
        let mut removed: Vec<usize> = by_name.into_values().filter(is_missed).collect();
        if !self.is_complete {
            removed.clear();
        }
        self.moves(&same);
        for (from, to) in self.renamed(&same, &mut removed, &mut added) {
            same.push((from, to));
        }
        for i in added {
            let (stage, within) = (&self.stages[i], self.tree.within(i));
            self.push(&stage.key, &stage.path, Change::Added { seconds: stage.seconds(), within });
        }
        for i in removed {
            let (stage, within) = (&usual.stages[i], usual.tree.within(i));
            let usual_s = stage.usual.map(|u| u.seconds);
            self.push(&stage.key, &stage.path, Change::Removed { usual_s, within });
        }
        for (known, i) in &same {
            self.repeats(*known, *i);
        }
        same
    }

    fn push(&mut self, key: &StageKey, path: &[String], change: Change) {
        if self.policy.stage(path).ignore {
            return;
        }
        let weight = match &change {
            Change::Added { seconds, .. } => *seconds,
            Change::Removed { usual_s, .. } => usual_s.unwrap_or(0.0),
            Change::Repeated(r) => (f64::from(r.count) * r.each_s - r.usual_count * r.usual_each_s).abs(),
            // The policy uses the first alias that fits a path, so the deeper must come first.
            Change::Renamed { .. } => count(path.len()),
            Change::Reordered { .. } => 0.0,
        };
        self.found.push((StructuralChange { key: key.clone(), path: path.to_vec(), change }, weight));
    }

    fn repeats(&mut self, known: usize, i: usize) {
        let stage = &self.stages[i];
        let Some(usually) = self.usual.stages[known].usual.filter(|_| stage.kind == StageKind::Work) else {
            return;
        };
        let min_ratio = self.policy.stage(&stage.path).floors.min_ratio;
        let repeated = repetition(&usually, stage, min_ratio, self.runner)
            .filter(|r| is_unseen(&usually, r))
            // A run that stopped early has fewer repetitions.
            .filter(|r| self.is_complete || f64::from(r.count) > r.usual_count);
        if let Some(repeated) = repeated {
            self.push(&stage.key, &stage.path, Change::Repeated(repeated));
        }
    }

    fn moves(&mut self, same: &[(usize, usize)]) {
        if !self.is_complete {
            return;
        }
        let (usual, stages) = (self.usual, self.stages);
        let pairs: Vec<Pair<'_>> = same
            .iter()
            .map(|(known, i)| Pair { usual: &usual.stages[*known], now: &stages[*i] })
            .filter(|pair| pair.now.kind == StageKind::Work)
            .collect();
        for found in moved(&pairs) {
            let sibling = found.sibling.now.path.clone();
            let change = Change::Reordered { sibling, now: found.now, runs: found.runs, of: found.of };
            self.push(&found.stage.now.key, &found.stage.now.path, change);
        }
    }

    /// Takes the renamed stages out of the removed and the added ones, and returns them.
    fn renamed(
        &mut self,
        same: &[(usize, usize)],
        removed: &mut Vec<usize>,
        added: &mut Vec<usize>,
    ) -> Vec<(usize, usize)> {
        let (usual, stages) = (self.usual, self.stages);
        let start = |i: &usize| usual.stages[*i].usual.map_or(0.0, |u| u.start_ns);
        removed.sort_by(|a, b| {
            start(a).total_cmp(&start(b)).then_with(|| usual.stages[*a].key.cmp(&usual.stages[*b].key))
        });
        added.sort_by_key(|i| (stages[*i].start_offset_ns, &stages[*i].key));
        if removed.is_empty() || added.is_empty() {
            return Vec::new();
        }
        let kept = |side: fn(&(usize, usize)) -> usize| same.iter().map(side).enumerate();
        let mut past: Vec<(f64, &StageKey, Option<usize>)> =
            kept(|s| s.0).map(|(n, i)| (start(&i), &usual.stages[i].key, Some(n))).collect();
        past.extend(removed.iter().map(|i| (start(i), &usual.stages[*i].key, None)));
        past.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
        let mut now: Vec<(i64, &StageKey, Option<usize>)> =
            kept(|s| s.1).map(|(n, i)| (stages[i].start_offset_ns, &stages[i].key, Some(n))).collect();
        now.extend(added.iter().map(|i| (stages[*i].start_offset_ns, &stages[*i].key, None)));
        now.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        let old_places = places(&past.iter().map(|(_, _, kept)| *kept).collect::<Vec<_>>());
        let new_places = places(&now.iter().map(|(_, _, kept)| *kept).collect::<Vec<_>>());
        let old: Vec<Removed<'_>> = removed
            .iter()
            .zip(old_places)
            .map(|(i, place)| {
                let parts = usual.tree.children(Some(*i)).iter().map(|c| &usual.stages[*c]);
                let parts = parts.filter(|c| c.kind == StageKind::Work).map(|c| last(&c.path)).collect();
                let side = renames::Side { name: last(&usual.stages[*i].path), parts, place };
                Removed { side, usual: usual.stages[*i].usual }
            })
            .collect();
        let new: Vec<Added<'_>> = added
            .iter()
            .zip(new_places)
            .map(|(i, place)| {
                let parts = self.tree.children(Some(*i)).iter().map(|c| &stages[*c]);
                let parts = parts.filter(|c| c.kind == StageKind::Work).map(|c| last(&c.path)).collect();
                let side = renames::Side { name: last(&stages[*i].path), parts, place };
                Added { side, sample: &stages[*i] }
            })
            .collect();
        let mut pairs = Vec::new();
        for found in renames(&old, &new, self.runner) {
            let (from, to) = (removed[found.removed], added[found.added]);
            pairs.push((from, to));
            let change = Change::Renamed {
                from: usual.stages[from].path.clone(),
                evidence: found.evidence,
                alias: alias(&usual.stages[from].path, &stages[to].path),
            };
            self.push(&stages[to].key, &stages[to].path, change);
        }
        let (from, to): (HashSet<usize>, HashSet<usize>) = pairs.iter().copied().unzip();
        removed.retain(|i| !from.contains(i));
        added.retain(|i| !to.contains(i));
        pairs
    }
}

fn last(path: &[String]) -> &str {
    path.last().map_or("", String::as_str)
}

/// The places of the elements without a number between those with one, in order.
fn places(order: &[Option<usize>]) -> Vec<Place> {
    let after = ranks(order.iter());
    let mut before = ranks(order.iter().rev());
    before.reverse();
    after.into_iter().zip(before).map(|(after, before)| Place { after, before }).collect()
}

/// For each element without a number: the last number before it, and its rank after that number.
fn ranks<'a>(order: impl Iterator<Item = &'a Option<usize>>) -> Vec<(Option<usize>, usize)> {
    let mut last = (None, 0);
    let step = |kept: &Option<usize>| {
        last = if kept.is_some() { (*kept, 0) } else { (last.0, last.1 + 1) };
        kept.is_none().then_some(last)
    };
    order.filter_map(step).collect()
}

/// The policy's alias from one path to another. None when a name contains the separator of names.
fn alias(from: &[String], to: &[String]) -> Option<Alias> {
    let is_expressible = from.iter().chain(to).all(|part| !part.contains(" / "));
    is_expressible.then(|| Alias { from: from.join(" / "), to: to.join(" / ") })
}
