//! Simulated histories with the properties of real ones: heavy tails, wandering levels, runner speeds,
//! cache misses, a clock of whole seconds, missing stages, parents.

use serde::Serialize;

/// Runners and caches of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One runner for all jobs; unknown cache states.
    SharedMachine,
    /// A runner for each job; unknown cache states.
    OwnMachines,
    /// One runner; known states of half of the caches.
    KnownCaches,
}

/// One history with four new runs, in the JSON that the reference reads; NaN is written as null.
#[derive(Serialize)]
pub(super) struct SimulatedCase {
    pub name: String,
    pub logs: Vec<Vec<f64>>,
    pub clock_s: Vec<f64>,
    pub rare_state: Vec<Option<Vec<f64>>>,
    pub is_reference: Vec<bool>,
    pub job: Vec<Option<usize>>,
    pub within: Vec<Vec<usize>>,
    pub new_logs: Vec<Vec<f64>>,
    pub new_rare_state: Vec<Vec<f64>>,
    pub members: Vec<usize>,
    pub blocks: Vec<usize>,
}

const NEW_RUNS: usize = 4;

/// Sebastiano Vigna's `splitmix64`: the same numbers on every platform.
struct Rng(u64);

impl Rng {
    /// Uniform in 0..1, never 0.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let high = u32::try_from((z ^ (z >> 31)) >> 32).expect("32 bits");
        (f64::from(high) + 0.5) / (f64::from(u32::MAX) + 1.0)
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Standard normal, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let (radius, angle) = (self.uniform(), self.uniform());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    /// Student's t with 4 degrees of freedom.
    fn heavy(&mut self) -> f64 {
        let squares: f64 = (0..4).map(|_| self.normal().powi(2)).sum();
        self.normal() / (squares / 4.0).sqrt()
    }
}

/// Properties of a leaf.
struct Leaf {
    usual_s: f64,
    exposure: f64,
    scale: f64,
    job: usize,
    misses: bool,
    wandering: f64,
    slowdown: f64,
}

impl SimulatedCase {
    /// A case of `stages` stages: leaves in jobs, the jobs, a group in the first job, and the root.
    pub(super) fn new(stages: usize, runs: usize, kind: Kind, seed: u64) -> Self {
        let mut rng = Rng(seed);
        let jobs = (stages / 12).max(2);
        let count = stages - jobs - 2;
        let mut leaves: Vec<Leaf> = (0..count)
            .map(|i| Leaf {
                usual_s: rng.between(1.0, 6.0).exp(),
                exposure: if i % 4 == 3 { 0.2 } else { 1.0 },
                scale: rng.between(0.02, 0.15),
                job: i * jobs / count,
                misses: i % 5 == 0,
                wandering: 0.0,
                slowdown: [1.5, 1.0, 1.0, 0.6, 1.0, 1.2, 1.0][i % 7],
            })
            .collect();
        let group: Vec<usize> = (0..count).filter(|i| leaves[*i].job == 0).take(2).collect();
        let parts = |job: usize| (0..count).filter(|i| leaves[*i].job == job).collect::<Vec<usize>>();
        let holders: Vec<Vec<usize>> = (0..jobs).map(parts).chain([group, (0..count).collect()]).collect();
        let known = |i: usize| kind == Kind::KnownCaches && i.is_multiple_of(10);
        let (mut table, mut states) = (Vec::new(), Vec::new());
        for run in 0..runs + NEW_RUNS {
            let speed = 0.12 * rng.normal();
            let machines: Vec<f64> = (0..jobs)
                .map(|_| if kind == Kind::OwnMachines { 0.12 * rng.normal() } else { speed })
                .collect();
            let (mut row, mut missed) = (Vec::new(), Vec::new());
            for leaf in &mut leaves {
                leaf.wandering = 0.8 * leaf.wandering + 0.3 * leaf.scale * rng.normal();
                let miss = leaf.misses && rng.uniform() < 0.2;
                let mut seconds = leaf.usual_s
                    * (leaf.exposure * machines[leaf.job] + leaf.wandering + leaf.scale * rng.heavy()).exp();
                seconds *= if miss { 1.8 } else { 1.0 };
                seconds *= if run >= runs { leaf.slowdown } else { 1.0 };
                row.push(seconds);
                missed.push(if rng.uniform() < 0.05 { f64::NAN } else { f64::from(u8::from(miss)) });
            }
            for holder in &holders {
                row.push(holder.iter().map(|leaf| row[*leaf]).sum());
            }
            table.push(row);
            states.push(missed);
        }
        let columns = count + holders.len();
        let clock_s: Vec<f64> = (0..columns).map(|i| if i % 3 == 0 { 1.0 } else { 0.001 }).collect();
        for row in &mut table {
            for (seconds, clock) in row.iter_mut().zip(&clock_s) {
                let whole = if *clock < 1.0 { *seconds } else { seconds.round() };
                *seconds = if rng.uniform() < 0.03 { f64::NAN } else { whole.max(*clock).ln() };
            }
        }
        let new_logs = table.split_off(runs);
        let new_states = states.split_off(runs);
        let of_new = |states: &Vec<f64>| {
            (0..columns)
                .map(|i| if known(i) { states.get(i).copied() } else { None }.unwrap_or(f64::NAN))
                .collect()
        };
        let leaf_or_parts = (0..count).map(|i| vec![i]).chain(holders);
        let jobs_of = leaves.iter().map(|leaf| Some(leaf.job));
        Self {
            name: format!("{stages} stages, {runs} runs, {kind:?}"),
            rare_state: (0..columns)
                .map(|i| (known(i) && i < count).then(|| states.iter().map(|run| run[i]).collect()))
                .collect(),
            is_reference: (0..columns).map(|i| i < count).collect(),
            job: jobs_of.chain((0..jobs).map(|_| None)).chain([Some(0), None]).collect(),
            within: leaf_or_parts.collect(),
            new_rare_state: new_states.iter().map(of_new).collect(),
            members: (0..columns).filter(|i| i % 9 != 8).collect(),
            blocks: (1..=NEW_RUNS).collect(),
            logs: table,
            new_logs,
            clock_s,
        }
    }
}
