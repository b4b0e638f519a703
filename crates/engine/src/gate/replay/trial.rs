//! Replays one simulated pull request: unchanged, and with one stage slowed by each size. The gate and
//! the incumbents' rules judge it push by push. The baseline is fitted once.

use std::collections::HashMap;

use super::incumbents::{Past, Rule};
use super::inject::slowed;
use super::{MIN_SLOWED_S, Plan, SIZES, WARM_UP};
use crate::gate::baseline::CANDIDATE_RUNS;
use crate::gate::duration_model::fit::{FittedBaseline, fit};
use crate::gate::verdict::compare::compare;
use crate::model::comparison::{RunComparison, StageComparison, StageVerdict};
use crate::model::run::{MeasuredRun, RunResult};
use crate::model::stage::{StageKey, StageSample};
use crate::stats::robust::median_of;

/// The decisions of one pull request, together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// At some push a stage was suspect or regressed.
    pub single: bool,
    /// At some push a stage was regressed.
    pub confirmed: bool,
}

/// How far a rule was exceeded, in multiples of its limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strength {
    /// The highest of all pushes.
    pub single: f64,
    /// The highest value that one stage reached at two pushes in a row.
    pub confirmed: f64,
}

impl Strength {
    const NONE: Self = Self { single: f64::NEG_INFINITY, confirmed: f64::NEG_INFINITY };

    fn or(self, other: Self) -> Self {
        Self { single: self.single.max(other.single), confirmed: self.confirmed.max(other.confirmed) }
    }

    /// The rule's decisions with a scaled limit.
    #[must_use]
    pub fn flags(self, scale: f64) -> Flags {
        Flags { single: self.single > scale, confirmed: self.confirmed > scale }
    }
}

/// A confirmed alarm on one stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub key: StageKey,
    pub path: Vec<String>,
    /// Position in the history of the push that confirmed it.
    pub push: usize,
    /// Duration to prediction.
    pub ratio: f64,
    /// Duration minus prediction, seconds.
    pub increase_s: f64,
}

/// The same pull request with one stage slowed.
#[derive(Debug, Clone, PartialEq)]
pub struct Slowed {
    pub key: StageKey,
    /// By size, as in [`SIZES`]: the gate's decisions on that stage.
    pub ours: [Flags; SIZES.len()],
    /// By size: the strength of each rule on that stage.
    pub incumbents: [[Strength; Rule::ALL.len()]; SIZES.len()],
}

/// The result of one simulated pull request.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Position in the history of its first run.
    pub position: usize,
    /// The gate's decisions on the unchanged pull request.
    pub ours: Flags,
    /// The gate's confirmed alarms, one for each stage.
    pub findings: Vec<Finding>,
    /// The strength of each rule.
    pub incumbents: [Strength; Rule::ALL.len()],
    /// None when no stage is long enough to be slowed.
    pub slowed: Option<Slowed>,
}

impl Plan<'_> {
    /// Replays the pull request that begins at a position. None when there are too few runs before or
    /// after it. The same position always gives the same trial.
    #[must_use]
    pub fn trial(&self, position: usize) -> Option<Trial> {
        let pushes = self.runs.get(position..position + self.settings.commits)?;
        let baseline = self.baseline_before(position, &pushes.first()?.run);
        if baseline.runs.len() < WARM_UP {
            return None;
        }
        let fitted = fit(&baseline, self.policy);
        let (ours, findings) = self.decide(&fitted, pushes, position);
        let past = values_by_stage(&baseline.runs);
        let seconds: Vec<HashMap<&StageKey, f64>> = pushes.iter().map(durations).collect();
        let slowed = self.slowable(&pushes[0], &past, &seconds, position).map(|key| Slowed {
            ours: SIZES.map(|size| self.finds(&fitted, pushes, key, size)),
            incumbents: SIZES.map(|size| self.strengths(&past, &seconds, key, size)),
            key: key.clone(),
        });
        let mut incumbents = [Strength::NONE; Rule::ALL.len()];
        for (path, key) in stages_of(pushes) {
            if !self.policy.stage(path).ignore {
                let of_stage = self.strengths(&past, &seconds, key, 1.0);
                incumbents.iter_mut().zip(of_stage).for_each(|(all, one)| *all = all.or(one));
            }
        }
        Some(Trial { position, ours, findings, incumbents, slowed })
    }

    fn comparison(&self, fitted: &FittedBaseline, pushes: &[MeasuredRun]) -> Option<RunComparison> {
        let newest = &pushes[pushes.len().saturating_sub(CANDIDATE_RUNS)..];
        compare(fitted, newest, &newest.last()?.run.repo, self.policy)
    }

    /// Every decision on an unchanged pull request.
    fn decide(
        &self,
        fitted: &FittedBaseline,
        pushes: &[MeasuredRun],
        position: usize,
    ) -> (Flags, Vec<Finding>) {
        let (mut flags, mut findings) = (Flags::default(), Vec::<Finding>::new());
        for k in 1..=pushes.len() {
            let Some(comparison) = self.comparison(fitted, &pushes[..k]) else { continue };
            for stage in comparison.stages.iter().filter(|s| s.explained_by.is_none()) {
                flags = flags.with(stage.verdict);
                if stage.verdict == StageVerdict::Regressed {
                    let new = Finding::of(stage, position + k - 1);
                    match findings.iter_mut().find(|f| f.key == new.key) {
                        Some(known) if known.ratio >= new.ratio => {}
                        Some(known) => *known = new,
                        None => findings.push(new),
                    }
                }
            }
        }
        (flags, findings)
    }

    /// The decisions on a stage that is slowed in every push.
    fn finds(&self, fitted: &FittedBaseline, pushes: &[MeasuredRun], key: &StageKey, size: f64) -> Flags {
        let slow: Vec<MeasuredRun> = pushes.iter().map(|run| slowed(run, key, size)).collect();
        let mut flags = Flags::default();
        for k in 1..=slow.len() {
            let comparison = self.comparison(fitted, &slow[..k]);
            let stage = comparison.iter().flat_map(|c| &c.stages).find(|s| s.key == *key);
            flags = stage.map_or(flags, |stage| flags.with(stage.verdict));
            if flags.confirmed {
                break; // later pushes can't undo it
            }
        }
        flags
    }

    /// The stage to slow: the seed chooses it among the leaves that every push completed and that are
    /// usually long enough.
    fn slowable<'r>(
        &self,
        first: &'r MeasuredRun,
        past: &HashMap<&StageKey, Vec<f64>>,
        seconds: &[HashMap<&StageKey, f64>],
        position: usize,
    ) -> Option<&'r StageKey> {
        let usual = |key: &StageKey| median_of(past.get(key)?.iter().copied());
        let fits = |sample: &&StageSample| {
            self.is_leaf(sample)
                && !self.policy.stage(&sample.path).ignore
                && usual(&sample.key).is_some_and(|usual| usual >= MIN_SLOWED_S)
                && seconds.iter().all(|push| push.contains_key(&sample.key))
        };
        let mut keys: Vec<&StageKey> = first.stages.iter().filter(fits).map(|s| &s.key).collect();
        // The result must not depend on the order of the rows.
        keys.sort_unstable();
        let random = mixed(self.settings.seed ^ mixed(position as u64));
        let at = usize::try_from((u128::from(random) * keys.len() as u128) >> 64).unwrap_or(0);
        keys.get(at).copied()
    }

    /// The strength of each rule on one stage whose durations are multiplied by `size`.
    fn strengths(
        &self,
        past: &HashMap<&StageKey, Vec<f64>>,
        seconds: &[HashMap<&StageKey, f64>],
        key: &StageKey,
        size: f64,
    ) -> [Strength; Rule::ALL.len()] {
        let Some(past) = past.get(key).and_then(|values| Past::of(values)) else {
            return [Strength::NONE; Rule::ALL.len()];
        };
        Rule::ALL.map(|rule| {
            let of_push =
                |push: &HashMap<&StageKey, f64>| rule.strength(&past, push.get(key)? * size, &self.student);
            let each: Vec<f64> =
                seconds.iter().map(|push| of_push(push).unwrap_or(f64::NEG_INFINITY)).collect();
            Strength {
                single: each.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                confirmed: each.windows(2).map(|w| w[0].min(w[1])).fold(f64::NEG_INFINITY, f64::max),
            }
        })
    }
}

impl Flags {
    fn with(self, verdict: StageVerdict) -> Self {
        let confirmed = verdict == StageVerdict::Regressed;
        let single = confirmed || verdict == StageVerdict::Suspect;
        Self { single: self.single || single, confirmed: self.confirmed || confirmed }
    }
}

impl Finding {
    fn of(stage: &StageComparison, push: usize) -> Self {
        Self {
            key: stage.key.clone(),
            path: stage.path.clone(),
            push,
            ratio: stage.ratio.unwrap_or(1.0),
            increase_s: stage.increase_s.unwrap_or(0.0),
        }
    }
}

/// Seconds of the stages that a run completed.
fn durations(run: &MeasuredRun) -> HashMap<&StageKey, f64> {
    completed(run).map(|s| (&s.key, s.seconds())).collect()
}

fn completed(run: &MeasuredRun) -> impl Iterator<Item = &StageSample> {
    run.stages.iter().filter(|s| s.result == RunResult::Success)
}

/// Durations by stage, in the order of the runs that completed it, seconds.
pub(super) fn values_by_stage(runs: &[MeasuredRun]) -> HashMap<&StageKey, Vec<f64>> {
    let mut values: HashMap<&StageKey, Vec<f64>> = HashMap::new();
    for sample in runs.iter().flat_map(completed) {
        values.entry(&sample.key).or_default().push(sample.seconds());
    }
    values
}

/// Every stage of some runs, once.
fn stages_of(runs: &[MeasuredRun]) -> Vec<(&[String], &StageKey)> {
    let mut stages: Vec<(&[String], &StageKey)> =
        runs.iter().flat_map(|run| &run.stages).map(|s| (s.path.as_slice(), &s.key)).collect();
    stages.sort_unstable_by_key(|(_, key)| *key);
    stages.dedup_by_key(|(_, key)| *key);
    stages
}

/// A pseudorandom number that is the same on every platform: the output function of `SplitMix64`
/// (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
fn mixed(state: u64) -> u64 {
    let z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
