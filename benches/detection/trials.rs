//! Judges many simulated histories on all cores. A trial depends only on its seed, so the order of
//! execution does not matter.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pacegate_engine::gate::duration_model::ablation::Ablation;
use pacegate_engine::gate::duration_model::multiple_testing::ALPHA;

use crate::generator::{History, Rng, Setting};
use crate::ours::{Gate, Runs};
use crate::table::{FACTORS, Score, Tally};

/// Smallest median of a stage that is slowed, seconds.
const MIN_SLOWED_S: f64 = 20.0;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Trials {
    pub number: usize,
    pub first_seed: u64,
}

impl Trials {
    /// Runs all trials; `work` gets a history and the stage to slow.
    pub(crate) fn run<T: Send>(
        self,
        setting: &Setting,
        work: impl Fn(&History, Option<usize>) -> T + Sync,
    ) -> Vec<T> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::with_capacity(self.number));
        let worker = || {
            loop {
                let trial = next.fetch_add(1, Ordering::Relaxed);
                if trial >= self.number {
                    break;
                }
                let mut rng = Rng::new(self.first_seed + trial as u64);
                let history = History::new(&mut rng, setting);
                let long: Vec<usize> =
                    (0..history.stages).filter(|stage| history.median_s[*stage] >= MIN_SLOWED_S).collect();
                let slowed = (!long.is_empty()).then(|| long[rng.below(long.len())]);
                let result = work(&history, slowed);
                done.lock().expect("no trial panicked").push((trial, result));
            }
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(worker);
            }
        });
        let mut done = done.into_inner().expect("no trial panicked");
        done.sort_by_key(|(trial, _)| *trial);
        done.into_iter().map(|(_, result)| result).collect()
    }

    /// The gate's decisions on blocks of these sizes, one tally for each size.
    pub(crate) fn ours(self, setting: &Setting, sizes: &[usize], ablation: Ablation) -> Vec<Tally> {
        progress(&format!("{setting:?} {sizes:?}"));
        let scores = self.run(setting, |history, stage| {
            let runs = Runs::new(history, setting);
            let gate = Gate::new(&runs, &runs.baseline(), ablation);
            scores_of(&gate, &runs, stage, sizes)
        });
        by_rule(&scores, |_| rare_enough())
    }
}

/// Above this score the gate alarms.
pub(crate) fn rare_enough() -> f64 {
    -ALPHA.ln()
}

/// The gate's score for each size of block.
pub(crate) fn scores_of(gate: &Gate, runs: &Runs, stage: Option<usize>, sizes: &[usize]) -> Vec<Score> {
    let pushes = runs.pushes(None);
    let slowed = stage.map(|stage| (stage, FACTORS.map(|factor| runs.pushes(Some((stage, factor))))));
    let score = |size: &usize| Score {
        alarm: gate.alarm(&pushes, *size),
        found: slowed
            .as_ref()
            .map(|(stage, pushes)| std::array::from_fn(|factor| gate.finds(&pushes[factor], *stage, *size))),
    };
    sizes.iter().map(score).collect()
}

/// Turns trials of several rules into a tally for each rule.
pub(crate) fn by_rule(trials: &[Vec<Score>], threshold: impl Fn(usize) -> f64) -> Vec<Tally> {
    let rules = trials.first().map_or(0, Vec::len);
    let of_rule = |rule: usize| trials.iter().map(|scores| scores[rule]).collect();
    (0..rules).map(|rule| Tally::new(threshold(rule), of_rule(rule))).collect()
}

/// Prints the progress.
#[expect(clippy::print_stderr, reason = "progress is not a result")]
pub(crate) fn progress(what: &str) {
    eprintln!("{what}");
}
