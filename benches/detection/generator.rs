//! Simulates histories of a pipeline:
//! - stage medians from 4 s to 10 minutes,
//! - stages that depend on the runner's speed fully or hardly,
//! - slow wander and heavy tails,
//! - caches that miss alone or all together,
//! - a clock of whole seconds.
//!
//! A [`Disturbance`] selects the noise and further changes.

/// The generator xoshiro256** 1.0 of Blackman and Vigna, seeded by `SplitMix64`: the same numbers with
/// every version of every library.
pub(crate) struct Rng {
    state: [u64; 4],
    spare: Option<f64>,
}

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        let mut z = seed;
        let mut next = || {
            z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let x = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            x ^ (x >> 31)
        };
        Self { state: [next(), next(), next(), next()], spare: None }
    }

    fn next(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Uniform in 0..1, both ends excluded.
    pub(crate) fn uniform(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let bits = (self.next() >> 11) as f64;
        (bits + 0.5) * 2.0_f64.powi(-53)
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in 0..n; `n` is at least 1.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from((u128::from(self.next()) * n as u128) >> 64).unwrap_or(0)
    }

    /// True with probability `p`.
    fn bernoulli(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// Standard normal (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        let angle = std::f64::consts::TAU * self.uniform();
        self.spare = Some(radius * angle.sin());
        radius * angle.cos()
    }

    /// Student's t with 4 degrees of freedom, scaled to variance 1.
    fn heavy(&mut self) -> f64 {
        let chi_squared = -2.0 * (self.uniform() * self.uniform()).ln();
        self.normal() / (chi_squared / 4.0).sqrt() / 2.0_f64.sqrt()
    }
}

/// The distribution of the noise, or a further change of the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disturbance {
    /// Student's t with 4 degrees of freedom.
    HeavyTail,
    /// Normal, one in ten three times as wide.
    LognormalMixture,
    /// Gamma with shape 2: skewed to the right.
    Gamma,
    /// Each stage's log duration moves by up to 0.002 with every run.
    Trends,
    /// One stage became slower for good by 22% to 65% in the middle of the baseline.
    EarlyShift,
    /// The same, 5 to 14 runs before its end.
    RecentShift,
    /// One sample in a hundred takes 2.7 to 12 times as long.
    Outliers,
}

impl Disturbance {
    pub(crate) const ALL: [(Self, &str); 7] = [
        (Self::HeavyTail, "heavy tail (t4)"),
        (Self::LognormalMixture, "lognormal mixture"),
        (Self::Gamma, "gamma"),
        (Self::Trends, "trends"),
        (Self::EarlyShift, "level shift, early"),
        (Self::RecentShift, "level shift, recent"),
        (Self::Outliers, "gross outliers 1%"),
    ];
}

/// Parameters of the simulated histories.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Runs of the baseline.
    pub baseline: usize,
    pub stages: usize,
    /// Runners of a run; each has a contiguous part of the stages.
    pub runners: usize,
    /// The stages' paths contain the job, and so the runner.
    pub jobs_known: bool,
    /// Each sample states whether its cache missed.
    pub states_known: bool,
    pub disturbance: Disturbance,
}

impl Setting {
    /// 40 stages, 60 runs, one runner, known cache states.
    pub(crate) const USUAL: Self = Self {
        baseline: 60,
        stages: 40,
        runners: 1,
        jobs_known: false,
        states_known: true,
        disturbance: Disturbance::HeavyTail,
    };
}

/// Pushes of the pull request that follows the baseline.
pub(crate) const PUSHES: usize = 4;

/// A baseline and the runs of an unchanged pull request after it.
pub(crate) struct History {
    pub stages: usize,
    /// Runs of the baseline; those of the pull request come after them.
    pub baseline: usize,
    /// By stage: the median on the fastest runner, seconds.
    pub median_s: Vec<f64>,
    /// By stage: its runner.
    pub runner: Vec<usize>,
    /// ln seconds before rounding to the clock, run by run.
    ln_seconds: Vec<f64>,
    missed: Vec<bool>,
}

impl History {
    pub(crate) fn new(rng: &mut Rng, setting: &Setting) -> Self {
        let stages: Vec<Stage> = (0..setting.stages).map(|_| Stage::new(rng)).collect();
        let runs = setting.baseline + PUSHES;
        let mut wander: Vec<f64> = stages.iter().map(|_| rng.normal()).collect();
        let shift = Shift::new(rng, setting);
        let mut history = Self {
            stages: setting.stages,
            baseline: setting.baseline,
            median_s: stages.iter().map(|stage| stage.ln_median.exp()).collect(),
            runner: (0..setting.stages).map(|i| i * setting.runners / setting.stages).collect(),
            ln_seconds: Vec::with_capacity(runs * setting.stages),
            missed: Vec::with_capacity(runs * setting.stages),
        };
        for run in 0..runs {
            let speed: Vec<f64> = (0..setting.runners).map(|_| runner(rng)).collect();
            let lock_file_changed = rng.bernoulli(0.08);
            for (i, stage) in stages.iter().enumerate() {
                if run > 0 {
                    wander[i] = 0.9 * wander[i] + (1.0 - 0.81_f64).sqrt() * rng.normal();
                }
                let missed = stage.has_cache && (rng.bernoulli(stage.miss) || lock_file_changed);
                let own = stage.scatter * (0.5 * wander[i] + noise(rng, setting.disturbance));
                let extra = match setting.disturbance {
                    Disturbance::Trends => stage.trend * pacegate_engine::stats::count(run),
                    Disturbance::EarlyShift | Disturbance::RecentShift => shift.of(i, run),
                    Disturbance::Outliers if rng.bernoulli(0.01) => rng.between(1.0, 2.5),
                    _ => 0.0,
                };
                let of_cache = if missed { stage.ln_miss_factor } else { 0.0 };
                let of_runner = stage.exposure * speed[history.runner[i]];
                history.ln_seconds.push(stage.ln_median + own + of_runner + of_cache + extra);
                history.missed.push(missed);
            }
        }
        history
    }

    /// The measured duration of a stage that is slower by `factor`: whole seconds, at least one.
    pub(crate) fn seconds(&self, run: usize, stage: usize, factor: f64) -> f64 {
        (self.ln_seconds[run * self.stages + stage] + factor.ln()).exp().round().max(1.0)
    }

    pub(crate) fn missed(&self, run: usize, stage: usize) -> bool {
        self.missed[run * self.stages + stage]
    }
}

/// The constant properties of a stage.
struct Stage {
    ln_median: f64,
    scatter: f64,
    exposure: f64,
    has_cache: bool,
    /// Probability of a miss of this cache alone.
    miss: f64,
    ln_miss_factor: f64,
    trend: f64,
}

impl Stage {
    fn new(rng: &mut Rng) -> Self {
        Self {
            ln_median: rng.between(4.0_f64.ln(), 600.0_f64.ln()),
            scatter: (0.06_f64.ln() + 0.5 * rng.normal()).exp().clamp(0.02, 0.25),
            exposure: if rng.bernoulli(0.7) { 1.0 } else { 0.2 },
            has_cache: rng.bernoulli(0.25),
            miss: 0.7 * rng.between(0.08, 0.3),
            ln_miss_factor: rng.between(1.5, 4.0).ln(),
            trend: rng.between(-0.002, 0.002),
        }
    }
}

/// ln of the slowdown of a runner: one of three kinds, with a little scatter.
fn runner(rng: &mut Rng) -> f64 {
    let kind = match rng.uniform() {
        u if u < 0.5 => 0.0,
        u if u < 0.8 => 0.12,
        _ => 0.32,
    };
    kind + 0.04 * rng.normal()
}

fn noise(rng: &mut Rng, disturbance: Disturbance) -> f64 {
    match disturbance {
        Disturbance::LognormalMixture => {
            let width = if rng.bernoulli(0.1) { 3.0 } else { 0.75 };
            width * rng.normal()
        }
        Disturbance::Gamma => {
            let gamma = -(rng.uniform() * rng.uniform()).ln();
            (gamma - 2.0) / 2.0_f64.sqrt()
        }
        _ => rng.heavy(),
    }
}

/// A stage that becomes slower permanently.
struct Shift {
    stage: usize,
    from: usize,
    by: f64,
}

impl Shift {
    fn new(rng: &mut Rng, setting: &Setting) -> Self {
        let runs = setting.baseline;
        let from = match setting.disturbance {
            Disturbance::RecentShift => runs.saturating_sub(5 + rng.below(10)),
            _ => runs * 2 / 5 + rng.below((runs * 3 / 10).max(1)),
        };
        Self { stage: rng.below(setting.stages), from, by: rng.between(0.2, 0.5) }
    }

    fn of(&self, stage: usize, run: usize) -> f64 {
        if stage == self.stage && run >= self.from { self.by } else { 0.0 }
    }
}
