//! The rules of other tools on the same history: the replay's three limits, and the rank test of Mann and
//! Whitney. The test has the correction of Benjamini and Hochberg.

use std::cmp::Ordering;

use pacegate_engine::gate::replay::incumbents::{Past, Rule, StudentLimits};
use pacegate_engine::stats::count;
use statrs::distribution::{ContinuousCDF, Normal};

use crate::generator::{History, PUSHES};
use crate::ours::Slowed;

/// False discovery rate of the Benjamini-Hochberg correction.
pub(crate) const FALSE_DISCOVERIES: f64 = 0.05;

/// The incumbents on one history.
pub(crate) struct Incumbents<'a> {
    history: &'a History,
    /// By stage: seconds in the baseline, oldest first.
    past: Vec<Vec<f64>>,
    summary: Vec<Past>,
    limits: &'a StudentLimits,
}

impl<'a> Incumbents<'a> {
    pub(crate) fn new(history: &'a History, limits: &'a StudentLimits) -> Self {
        let seconds = |stage| (0..history.baseline).map(|run| history.seconds(run, stage, 1.0)).collect();
        let past: Vec<Vec<f64>> = (0..history.stages).map(seconds).collect();
        let summary = past.iter().map(|past| Past::of(past).expect("runs")).collect();
        Self { history, past, summary, limits }
    }

    /// The largest strength of a rule on any stage of the pull request, at `size` pushes in a row. More
    /// than 1 is an alarm.
    pub(crate) fn limit_alarm(&self, rule: Rule, size: usize) -> f64 {
        let stages = (0..self.history.stages).map(|stage| {
            let each: Vec<f64> = (0..PUSHES).map(|push| self.strength(rule, stage, push, 1.0)).collect();
            let all_of = |block: &[f64]| block.iter().copied().fold(f64::INFINITY, f64::min);
            each.windows(size).map(all_of).fold(0.0, f64::max)
        });
        stages.fold(0.0, f64::max)
    }

    /// The same for one slowed stage at the first `size` pushes.
    pub(crate) fn limit_finds(&self, rule: Rule, stage: usize, factor: f64, size: usize) -> f64 {
        (0..size).map(|push| self.strength(rule, stage, push, factor)).fold(f64::INFINITY, f64::min)
    }

    fn strength(&self, rule: Rule, stage: usize, push: usize, factor: f64) -> f64 {
        let seconds = self.history.seconds(self.history.baseline + push, stage, factor);
        rule.strength(&self.summary[stage], seconds, self.limits).unwrap_or(0.0)
    }

    /// Minus ln of the smallest corrected p of a rank test of `size` pushes in a row.
    pub(crate) fn rank_alarm(&self, size: usize) -> f64 {
        let windows = (0..=PUSHES - size).map(|first| self.corrected(first, size, None));
        windows.flatten().map(|p| -p.ln()).fold(0.0, f64::max)
    }

    /// The same for one slowed stage at the first `size` pushes.
    pub(crate) fn rank_finds(&self, stage: usize, factor: f64, size: usize) -> f64 {
        -self.corrected(0, size, Some((stage, factor)))[stage].ln()
    }

    fn corrected(&self, first: usize, size: usize, slowed: Slowed) -> Vec<f64> {
        let p = |stage: usize| {
            let factor = slowed.filter(|(slowed, _)| *slowed == stage).map_or(1.0, |(_, factor)| factor);
            let push = |push| self.history.seconds(self.history.baseline + push, stage, factor);
            let new: Vec<f64> = (first..first + size).map(push).collect();
            greater(&new, &self.past[stage])
        };
        benjamini_hochberg(&(0..self.history.stages).map(p).collect::<Vec<_>>())
    }
}

/// One-sided p of "new is greater than past", by the normal approximation with the corrections for ties
/// and continuity. It equals `scipy.stats.mannwhitneyu(new, past, alternative="greater",
/// method="asymptotic")`.
fn greater(new: &[f64], past: &[f64]) -> f64 {
    let (n, m) = (count(new.len()), count(past.len()));
    let wins = |x: &f64| -> f64 {
        let against = |y: &f64| match x.total_cmp(y) {
            Ordering::Greater => 1.0,
            Ordering::Equal => 0.5,
            Ordering::Less => 0.0,
        };
        past.iter().map(against).sum()
    };
    let u: f64 = new.iter().map(wins).sum();
    let mut all: Vec<f64> = new.iter().chain(past).copied().collect();
    all.sort_by(f64::total_cmp);
    let ties = all.chunk_by(|a, b| a.total_cmp(b).is_eq()).map(|tied| count(tied.len()));
    let ties: f64 = ties.map(|t| t * t * t - t).sum();
    let variance = n * m / 12.0 * (n + m + 1.0 - ties / ((n + m) * (n + m - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    Normal::standard().sf((u - n * m / 2.0 - 0.5) / variance.sqrt())
}

/// The adjusted p values: those below a rate are the discoveries at that rate (Benjamini and Hochberg,
/// "Controlling the false discovery rate", J. R. Stat. Soc. B 57 (1995) 289-300).
fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*b].total_cmp(&p[*a]));
    let mut corrected = vec![1.0; p.len()];
    let mut least = 1.0_f64;
    for (above, stage) in order.into_iter().enumerate() {
        least = least.min(p[stage] * count(p.len()) / count(p.len() - above));
        corrected[stage] = least;
    }
    corrected
}
