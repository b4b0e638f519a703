//! Aggregates many simulated pull requests: the share with an alarm and the share of slowed stages that
//! were found, for the gate and for the incumbents. The history is unlabelled: a real slowdown counts
//! as an alarm, for every rule.

use super::incumbents::Rule;
use super::outlook::StageOutlook;
use super::trial::{Finding, Flags, Strength, Trial};
use super::{Plan, SIZES, Settings};
use crate::model::history::HistoryChange;
use crate::model::ids::{CommitSha, RunId};
use crate::model::stage::StageKey;
use crate::model::time::Timestamp;
use crate::stats::count;
use crate::stats::proportion::wilson;

/// Two shares of pull requests, 0 to 1; none without pull requests.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// With at least one suspect or regressed decision; for an incumbent, once above its limit.
    pub single: Option<f64>,
    /// With at least one regressed decision; for an incumbent, above its limit at two pushes in a row.
    pub confirmed: Option<f64>,
}

impl Rates {
    fn of(flags: impl Iterator<Item = Flags>) -> Self {
        let (mut single, mut confirmed, mut all) = (0, 0, 0);
        for flag in flags {
            single += usize::from(flag.single);
            confirmed += usize::from(flag.confirmed);
            all += 1;
        }
        let share = |hits: usize| (all > 0).then(|| count(hits) / count(all));
        Self { single: share(single), confirmed: share(confirmed) }
    }
}

/// Alarms and recall of one rule.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Performance {
    /// On unchanged pull requests.
    pub alarms: Rates,
    /// By size, as in [`SIZES`]: pull requests in which the slowed stage was found.
    pub recall: [Rates; SIZES.len()],
}

/// An incumbent with its limit scaled until it confirms as rarely as the gate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matched {
    pub rule: Rule,
    /// Factor on its allowance; infinite when no finite one is rare enough.
    pub scale: f64,
    /// Share of pull requests with a confirmed alarm.
    pub alarms: Option<f64>,
    /// By size: share of slowed stages that it then finds, confirmed.
    pub recall: [Option<f64>; SIZES.len()],
}

/// A place in the history where a stage was confirmed to be slower. Neighbouring pull requests with
/// the same alarm are counted as one.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The strongest of the alarms.
    pub finding: Finding,
    /// Start of the run that confirmed it.
    pub at: Timestamp,
    pub run: RunId,
    pub commit: CommitSha,
    /// Number of pull requests that would have shown it.
    pub pull_requests: usize,
}

/// The result of a replay.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    pub settings: Settings,
    /// Runs in the history.
    pub runs: usize,
    /// Pull requests that the history allows.
    pub possible: usize,
    /// Pull requests that were judged.
    pub replayed: usize,
    /// Pull requests that were not judged: too few runs before them, within the policy's limits.
    pub skipped: usize,
    /// Runs that are missing for the first pull request; 0 when there are enough.
    pub missing_runs: usize,
    /// Pull requests with a slowed stage.
    pub slowed: usize,
    /// Pull requests that share no run; they determine the precision of the shares.
    pub independent: usize,
    /// 95% interval of the gate's confirmed alarms.
    pub alarm_interval: (f64, f64),
    pub ours: Performance,
    /// With their default limits.
    pub incumbents: [(Rule, Performance); Rule::ALL.len()],
    /// With limits tuned to the gate's confirmed alarms.
    pub matched: [Matched; Rule::ALL.len()],
    /// The confirmed alarms, the strongest first.
    pub changes: Vec<Change>,
    /// Lasting changes of the branch, newest first.
    pub history: Vec<HistoryChange>,
    /// Each stage against today's baseline, the longest first.
    pub stages: Vec<StageOutlook>,
}

impl Plan<'_> {
    /// Aggregates the trials of [`Plan::positions`], in any order.
    #[must_use]
    pub fn summary(&self, trials: &[Option<Trial>], stages: Vec<StageOutlook>) -> Replay {
        let judged: Vec<&Trial> = trials.iter().flatten().collect();
        let slowed = judged.iter().filter(|t| t.slowed.is_some()).count();
        let ours = Performance {
            alarms: Rates::of(judged.iter().map(|t| t.ours)),
            recall: by_size(|size| {
                Rates::of(judged.iter().filter_map(|t| Some(t.slowed.as_ref()?.ours[size])))
            }),
        };
        let independent = self.independent(judged.len());
        Replay {
            settings: self.settings,
            runs: self.runs.len(),
            possible: self.possible(),
            replayed: judged.len(),
            skipped: trials.len() - judged.len(),
            missing_runs: self.missing_runs(),
            slowed,
            independent,
            alarm_interval: wilson(ours.alarms.confirmed.unwrap_or(0.0), count(independent)),
            ours,
            incumbents: by_rule(|at, rule| (rule, performance(&judged, at, 1.0))),
            matched: by_rule(|at, rule| matched(&judged, at, rule)),
            changes: self.changes(&judged),
            history: self.lasting_changes(),
            stages,
        }
    }

    fn changes(&self, judged: &[&Trial]) -> Vec<Change> {
        let mut found: Vec<(&StageKey, usize, &Finding)> =
            judged.iter().flat_map(|t| t.findings.iter().map(|f| (&f.key, t.position, f))).collect();
        found.sort_by_key(|(key, position, _)| (*key, *position));
        // Each change: its strongest finding, the number of findings, and where the last one began.
        let mut groups: Vec<(&Finding, usize, usize)> = Vec::new();
        for (key, position, finding) in found {
            match groups.last_mut() {
                Some((strongest, n, last))
                    if strongest.key == *key && position <= *last + self.settings.commits =>
                {
                    (*n, *last) = (*n + 1, position);
                    if finding.ratio > strongest.ratio {
                        *strongest = finding;
                    }
                }
                _ => groups.push((finding, 1, position)),
            }
        }
        groups.sort_by(|(a, ..), (b, ..)| {
            b.ratio.total_cmp(&a.ratio).then_with(|| (a.push, &a.key).cmp(&(b.push, &b.key)))
        });
        let change = |(finding, pull_requests, _): (&Finding, usize, usize)| {
            let run = &self.runs[finding.push].run;
            Change {
                finding: finding.clone(),
                at: run.started_at,
                run: run.id.clone(),
                commit: run.head_sha.clone(),
                pull_requests,
            }
        };
        groups.into_iter().map(change).collect()
    }
}

fn by_size<T>(of: impl Fn(usize) -> T) -> [T; SIZES.len()] {
    std::array::from_fn(of)
}

fn by_rule<T>(of: impl Fn(usize, Rule) -> T) -> [T; Rule::ALL.len()] {
    std::array::from_fn(|at| of(at, Rule::ALL[at]))
}

/// Strengths of a rule on the slowed stages of one size.
fn slowed_strengths(judged: &[&Trial], rule: usize, size: usize) -> impl Iterator<Item = Strength> {
    judged.iter().filter_map(move |t| Some(t.slowed.as_ref()?.incumbents[size][rule]))
}

fn performance(judged: &[&Trial], rule: usize, scale: f64) -> Performance {
    Performance {
        alarms: Rates::of(judged.iter().map(|t| t.incumbents[rule].flags(scale))),
        recall: by_size(|size| Rates::of(slowed_strengths(judged, rule, size).map(|s| s.flags(scale)))),
    }
}

/// The lowest scale at which no more pull requests exceed it than the gate confirmed.
fn matched(judged: &[&Trial], at: usize, rule: Rule) -> Matched {
    let allowed = judged.iter().filter(|t| t.ours.confirmed).count();
    let mut strengths: Vec<f64> = judged.iter().map(|t| t.incumbents[at].confirmed).collect();
    strengths.sort_by(|a, b| b.total_cmp(a));
    let scale = strengths.get(allowed).map_or(0.0, |strength| strength.max(0.0));
    let tuned = performance(judged, at, scale);
    Matched { rule, scale, alarms: tuned.alarms.confirmed, recall: tuned.recall.map(|r| r.confirmed) }
}
