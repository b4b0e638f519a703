//! What a baseline teaches of durations: ln(duration) = usual + exposure x machine + level +
//! noise, for all stages at once. Works on a table of numbers; which runs and stages these are,
//! is `fit`'s, how it is fitted `alternate`'s.

pub mod ablation;
mod alpha_allocation;
mod backfit;
pub mod fit;
pub mod multiple_testing;
pub mod runner_speed;

use self::ablation::Ablation;
use self::backfit::{Fitted, alternate};
use self::runner_speed::ReferenceStages;
use crate::stats::count;
use crate::stats::evidence::{BlockLikelihood, Evidence, Noise};
use crate::stats::level::Dynamics;
use crate::stats::matrix::Matrix;
use crate::stats::student::Degrees;
use crate::stats::tail::Tail;

/// The table to fit, and what is known about it.
#[derive(Debug, Clone)]
pub struct Observations {
    /// ln seconds, runs (oldest first) by stages.
    pub logs: Matrix,
    /// Shortest duration that is told apart, seconds, by stage.
    pub clock_s: Vec<f64>,
    /// Where a stage's cache states are known: whether each run's was the rarer one, 1 or 0; NaN
    /// where this run's is not known. None for stages that say nothing of a cache.
    pub rare_state: Vec<Option<Vec<f64>>>,
    /// Who tells the machine's speed.
    pub witnesses: ReferenceStages,
    /// What the method is made of: everything, but in its own benchmark.
    pub ablation: Ablation,
}

/// Which way a change went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// More time.
    Slower,
    /// Less time.
    Faster,
}

/// The fitted model.
#[derive(Debug, Clone)]
pub struct DurationModel {
    fitted: Fitted,
    witnesses: ReferenceStages,
    samples: Vec<f64>,
    noise: Vec<Noise>,
    /// How strongly the middle witness follows the machine.
    usual_exposure: f64,
    ablation: Ablation,
}

/// A new run's samples as the model sees them.
#[derive(Debug, Clone, PartialEq)]
pub struct Deviations {
    /// By stage: ln of the ratio to the prediction; NaN where there is none.
    pub of_stages: Vec<f64>,
    /// ln of the factor by which the run's machine slowed the middle stage.
    pub machine: f64,
}

/// A new run's table row.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRun {
    /// ln seconds by stage; NaN where missing.
    pub logs: Vec<f64>,
    /// Whether the stage's cache was in its rarer state; NaN where unknown.
    pub rare_state: Vec<f64>,
}

/// A level's own uncertainty beside its gain, in squared scales over the number of samples: of
/// the median and of the exposure.
const LEVEL_UNCERTAINTY: f64 = 2.0;
/// New samples scatter more around a model than those it was fitted to: by 8/R + 100/R² of the
/// variance, measured (`cargo bench --bench detection`) where a least squares fit of k
/// parameters would have k/R.
const OPTIMISM: [f64; 2] = [8.0, 100.0];
/// Factor on an error that the samples of a block share, where it is taken as each one's own.
const SHARED: f64 = 1.5;
/// Standard deviation of exposures before anything is known of a stage.
const EXPOSURE_DEVIATION: f64 = 0.4;
/// Runs at the beginning whose level was not known yet.
const WARM_UP: usize = 4;

impl DurationModel {
    /// Fits. Any table has a model, an empty one too.
    #[must_use]
    pub fn fit(observations: &Observations) -> Self {
        let fitted = alternate(observations);
        let logs = &observations.logs;
        let samples = crate::stats::student::observed(logs);
        let mut noise = fitted.noise(|stage| {
            fitted.scale[stage] * (fitted.dynamics.gain + LEVEL_UNCERTAINTY / samples[stage].max(1.0)).sqrt()
        });
        if !observations.ablation.uncertainty {
            for noise in &mut noise {
                (noise.ln_scale_deviation, noise.level_deviation) = (0.0, 0.0);
            }
        }
        let witnesses = observations.witnesses.clone();
        let usual_exposure = witnesses.median_of(&fitted.exposure).unwrap_or(1.0);
        Self { fitted, witnesses, samples, noise, usual_exposure, ablation: observations.ablation }
    }

    /// The parts in use.
    #[must_use]
    pub fn ablation(&self) -> Ablation {
        self.ablation
    }

    /// Stages of the table.
    #[must_use]
    pub fn stages(&self) -> usize {
        self.samples.len()
    }

    /// Runs it was fitted to.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.fitted.residuals.rows()
    }

    /// Degrees of freedom of the noise, and how levels move.
    #[must_use]
    pub fn shape(&self) -> (Degrees, Dynamics) {
        (self.fitted.degrees, self.fitted.dynamics)
    }

    /// A stage's noise around its prediction.
    #[must_use]
    pub fn noise(&self, stage: usize) -> &Noise {
        &self.noise[stage]
    }

    /// Seconds that the next run is predicted to take on a usual machine.
    #[must_use]
    pub fn predicted_s(&self, stage: usize) -> f64 {
        (self.fitted.usual[stage] + self.fitted.level[stage]).exp()
    }

    /// Seconds that its residuals are relative to.
    #[must_use]
    pub fn usual_s(&self, stage: usize) -> f64 {
        self.fitted.usual[stage].exp()
    }

    /// Residuals of a stage by run, the machine taken out, on top of the usual duration; NaN
    /// where the stage is missing.
    #[must_use]
    pub fn residuals(&self, stage: usize) -> Vec<f64> {
        (0..self.runs()).map(|run| self.fitted.residuals.get(run, stage)).collect()
    }

    /// How far new runs (oldest first) are from their predictions.
    #[must_use]
    pub fn deviations(&self, runs: &[NewRun]) -> Vec<Deviations> {
        let fitted = &self.fitted;
        let mut fade = 1.0;
        let mut all = Vec::with_capacity(runs.len());
        for run in runs {
            let mut row = Matrix::filled(1, self.stages(), f64::NAN);
            for (i, deviation) in row.row_mut(0).iter_mut().enumerate() {
                let state = match (fitted.state_shift[i], run.rare_state[i]) {
                    (None, _) => 0.0,
                    (Some(shift), state) if state > 0.0 => shift,
                    // Known of the stage, not of this run: nothing to compare it with.
                    (Some(_), state) => state * 0.0,
                };
                *deviation = run.logs[i] - state - fitted.usual[i] - fade * fitted.level[i];
            }
            fade *= fitted.dynamics.persistence;
            // Only level times exposure can be told from data: as the middle stage felt it.
            let machine = self.usual_exposure
                * self.witnesses.level_of_run(row.row(0), &fitted.exposure, &fitted.scale);
            let seen_by = self.witnesses.levels(&row, &fitted.exposure, &fitted.scale);
            let of_stages = row
                .row(0)
                .iter()
                .zip(seen_by.row(0))
                .zip(&fitted.exposure)
                .map(|((deviation, machine), exposure)| deviation - exposure * machine)
                .collect();
            all.push(Deviations { of_stages, machine });
        }
        all
    }

    /// A stage's noise as new samples have it, on machines slower than usual by up to `machine`, as
    /// ln of a factor. On a machine such as the baseline never saw, how the stage follows it is an
    /// extrapolation: the prediction is as much less sure.
    #[must_use]
    pub fn noise_of_new(&self, stage: usize, machine: f64) -> Noise {
        let runs = count(self.runs().max(1));
        let optimism = if self.ablation.optimism {
            (1.0 + OPTIMISM[0] / runs + OPTIMISM[1] / (runs * runs)).sqrt()
        } else {
            1.0
        };
        let mut noise = self.noise[stage].widened(optimism);
        let information = self.fitted.variation[stage] / noise.scale.powi(2) + EXPOSURE_DEVIATION.powi(-2);
        // The samples of a block share this error, and it may be many scales wide, more than the three
        // nodes of the level can cover: it widens the scale instead, by more than its own size since a
        // block of independent samples would average it out.
        noise.scale = noise.scale.hypot(SHARED * machine / information.sqrt());
        noise
    }

    /// The evidence in a stage's new deviations, finite ones only.
    #[must_use]
    pub fn evidence(&self, stage: usize, deviations: &[f64], direction: Direction) -> Evidence {
        self.evidence_on(stage, deviations, direction, 0.0)
    }

    /// The same on machines that were slower than usual by up to `machine`: see [`Self::noise_of_new`].
    #[must_use]
    pub fn evidence_on(
        &self,
        stage: usize,
        deviations: &[f64],
        direction: Direction,
        machine: f64,
    ) -> Evidence {
        let noise = towards(self.noise_of_new(stage, machine), direction);
        let mut signed = deviations.to_vec();
        if direction == Direction::Faster {
            for deviation in &mut signed {
                *deviation = -*deviation;
            }
        }
        BlockLikelihood::new(noise, signed.len()).evidence(&signed)
    }

    /// What chance reaches in blocks of `block` runs, learned from the past: each block of
    /// consecutive runs of these stages as if it had been a change.
    #[must_use]
    pub fn chance(&self, stages: &[usize], block: usize, direction: Direction) -> Tail {
        let fitted = &self.fitted;
        let first = (self.runs() / 3).min(WARM_UP);
        let blocks = (self.runs() + 1).saturating_sub(block + first);
        let mut evidence = Matrix::filled(blocks, stages.len(), 0.0);
        let sign = if direction == Direction::Faster { -1.0 } else { 1.0 };
        let mut samples = Vec::with_capacity(block);
        let likelihoods: Vec<BlockLikelihood> =
            stages.iter().map(|i| BlockLikelihood::new(towards(self.noise[*i], direction), block)).collect();
        for at in 0..blocks {
            let row = evidence.row_mut(at);
            for ((evidence, stage), likelihood) in row.iter_mut().zip(stages).zip(&likelihoods) {
                samples.clear();
                let mut level = fitted.predicted.get(first + at, *stage);
                for k in 0..block {
                    let deviation = fitted.residuals.get(first + at + k, *stage) - level;
                    level *= fitted.dynamics.persistence;
                    if deviation.is_finite() {
                        samples.push(sign * deviation);
                    }
                }
                *evidence = likelihood.evidence(&samples).ln_ratio;
            }
        }
        let tail = Tail::learn(&evidence, block, fitted.degrees.value());
        if self.ablation.rates { tail } else { tail.with_one_rate() }
    }

    /// Standard deviation of the mean of a block of new samples of a stage, about.
    #[must_use]
    pub fn deviation_of_mean(&self, stage: usize, block: usize) -> f64 {
        let noise = &self.noise[stage];
        // Student's t is wider than its scale, by 1.4 at four degrees of freedom; the rest is what
        // spends the budget best (`cargo bench --bench detection`).
        1.6 * (noise.scale.powi(2) / count(block) + noise.level_deviation.powi(2)).sqrt()
    }
}

/// Towards faster there is no slow mode: one that vanished is an improvement.
fn towards(noise: Noise, direction: Direction) -> Noise {
    match direction {
        Direction::Slower => noise,
        Direction::Faster => Noise { slow: None, ..noise },
    }
}
