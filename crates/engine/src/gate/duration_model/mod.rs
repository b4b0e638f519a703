//! The model of durations: ln(duration) = usual + exposure x runner speed + level + noise, for all
//! stages at once. It works on a table of numbers. `fit` makes the table from runs, `backfit`
//! estimates the parameters.

pub mod ablation;
mod alpha_allocation;
mod backfit;
pub mod fit;
pub mod multiple_testing;
pub mod runner_speed;

use self::ablation::Ablation;
use self::backfit::{Fitted, backfit};
use self::runner_speed::ReferenceStages;
use crate::stats::count;
use crate::stats::evidence::{BlockLikelihood, Evidence, Noise};
use crate::stats::level::Dynamics;
use crate::stats::matrix::Matrix;
use crate::stats::student::Degrees;
use crate::stats::tail::Tail;

/// The table to fit, with the clocks and cache states of its stages.
#[derive(Debug, Clone)]
pub struct Observations {
    /// ln seconds, runs (oldest first) by stages.
    pub logs: Matrix,
    /// By stage: the shortest duration that the clock resolves, seconds.
    pub clock_s: Vec<f64>,
    /// By stage: whether each run's cache was in its rarer state, 1 or 0, and NaN where the run does
    /// not state it. None for stages whose cache states are unknown.
    pub rare_state: Vec<Option<Vec<f64>>>,
    pub reference_stages: ReferenceStages,
    /// Everything, except in the method's own benchmark.
    pub ablation: Ablation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Slower,
    Faster,
}

#[derive(Debug, Clone)]
pub struct DurationModel {
    fitted: Fitted,
    reference_stages: ReferenceStages,
    samples: Vec<f64>,
    noise: Vec<Noise>,
    /// Median exposure of the reference stages.
    usual_exposure: f64,
    ablation: Ablation,
}

/// A new run's samples against their predictions.
#[derive(Debug, Clone, PartialEq)]
pub struct Deviations {
    /// By stage: ln of the ratio to the prediction; NaN where there is none.
    pub of_stages: Vec<f64>,
    /// ln of the factor by which the runner slowed a stage of median exposure; positive is slower.
    pub runner_speed: f64,
}

/// A new run's table row.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRun {
    /// ln seconds by stage; NaN where missing.
    pub logs: Vec<f64>,
    /// By stage: 1 if its cache was in the rarer state, else 0; NaN where unknown.
    pub rare_state: Vec<f64>,
}

/// Uncertainty of a level beside its gain, from the median and from the exposure: squared scales,
/// divided by the number of samples.
const LEVEL_UNCERTAINTY: f64 = 2.0;
/// New samples scatter more around a model than those it was fitted to: by 8/R + 100/R² of the
/// variance, measured by `cargo bench --bench detection`. A least squares fit of k parameters would
/// have k/R.
const OPTIMISM: [f64; 2] = [8.0, 100.0];
/// Factor on an error that the samples of a block share, where it is treated as independent.
const SHARED: f64 = 1.5;
/// Standard deviation of exposures before a stage has samples.
const EXPOSURE_DEVIATION: f64 = 0.4;
/// Runs at the beginning, in which the level is not known yet.
const WARM_UP: usize = 4;

impl DurationModel {
    /// Fits the model. Any table has one, even an empty table.
    #[must_use]
    pub fn fit(observations: &Observations) -> Self {
        let fitted = backfit(observations);
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
        let reference_stages = observations.reference_stages.clone();
        let usual_exposure = reference_stages.median_of(&fitted.exposure).unwrap_or(1.0);
        Self { fitted, reference_stages, samples, noise, usual_exposure, ablation: observations.ablation }
    }

    #[must_use]
    pub fn ablation(&self) -> Ablation {
        self.ablation
    }

    /// Number of stages in the table.
    #[must_use]
    pub fn stages(&self) -> usize {
        self.samples.len()
    }

    /// Number of runs in the table.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.fitted.residuals.rows()
    }

    /// Degrees of freedom of the noise, and the dynamics of the levels.
    #[must_use]
    pub fn shape(&self) -> (Degrees, Dynamics) {
        (self.fitted.degrees, self.fitted.dynamics)
    }

    /// Noise of a stage around its prediction.
    #[must_use]
    pub fn noise(&self, stage: usize) -> &Noise {
        &self.noise[stage]
    }

    /// Predicted duration of the next run on a usual runner, seconds.
    #[must_use]
    pub fn predicted_s(&self, stage: usize) -> f64 {
        (self.fitted.usual[stage] + self.fitted.level[stage]).exp()
    }

    /// The duration whose residual is 0, seconds.
    #[must_use]
    pub fn usual_s(&self, stage: usize) -> f64 {
        self.fitted.usual[stage].exp()
    }

    /// Residuals of a stage by run: ln of the ratio to the usual duration, without the runner's speed.
    /// NaN where the stage is missing.
    #[must_use]
    pub fn residuals(&self, stage: usize) -> Vec<f64> {
        (0..self.runs()).map(|run| self.fitted.residuals.get(run, stage)).collect()
    }

    /// The deviations of new runs, oldest first, from their predictions.
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
                    // The stage's states are known, this run's is not: nothing to compare it with.
                    (Some(_), state) => state * 0.0,
                };
                *deviation = run.logs[i] - state - fitted.usual[i] - fade * fitted.level[i];
            }
            fade *= fitted.dynamics.persistence;
            // Only the product of level and exposure is identifiable: that of a median stage is taken.
            let runner_speed = self.usual_exposure
                * self.reference_stages.level_of_run(row.row(0), &fitted.exposure, &fitted.scale);
            let levels = self.reference_stages.levels(&row, &fitted.exposure, &fitted.scale);
            let of_stages = row
                .row(0)
                .iter()
                .zip(levels.row(0))
                .zip(&fitted.exposure)
                .map(|((deviation, speed), exposure)| deviation - exposure * speed)
                .collect();
            all.push(Deviations { of_stages, runner_speed });
        }
        all
    }

    /// A stage's noise in new samples, on runners that differ from the usual one by up to
    /// `runner_speed`, which is ln of a factor. On a runner unlike those of the baseline the stage's
    /// exposure is extrapolated, which makes the prediction less certain.
    #[must_use]
    pub fn noise_of_new(&self, stage: usize, runner_speed: f64) -> Noise {
        let runs = count(self.runs().max(1));
        let optimism = if self.ablation.optimism {
            (1.0 + OPTIMISM[0] / runs + OPTIMISM[1] / (runs * runs)).sqrt()
        } else {
            1.0
        };
        let mut noise = self.noise[stage].widened(optimism);
        let information = self.fitted.variation[stage] / noise.scale.powi(2) + EXPOSURE_DEVIATION.powi(-2);
        // The samples of a block share this error. It may be many scales wide, more than the three nodes
        // of the level can cover, so it widens the scale instead. It widens it by more than its own
        // size, because a block of independent samples would average it out.
        noise.scale = noise.scale.hypot(SHARED * runner_speed / information.sqrt());
        noise
    }

    /// The evidence in a stage's new deviations, all of them finite.
    #[must_use]
    pub fn evidence(&self, stage: usize, deviations: &[f64], direction: Direction) -> Evidence {
        self.evidence_on(stage, deviations, direction, 0.0)
    }

    /// The same on runners that differ from the usual one by up to `runner_speed`: see
    /// [`Self::noise_of_new`].
    #[must_use]
    pub fn evidence_on(
        &self,
        stage: usize,
        deviations: &[f64],
        direction: Direction,
        runner_speed: f64,
    ) -> Evidence {
        let noise = towards(self.noise_of_new(stage, runner_speed), direction);
        let mut signed = deviations.to_vec();
        if direction == Direction::Faster {
            for deviation in &mut signed {
                *deviation = -*deviation;
            }
        }
        BlockLikelihood::new(noise, signed.len()).evidence(&signed)
    }

    /// The tail of the evidence under no change, in blocks of `block` runs. It is learned from the
    /// baseline: each block of consecutive runs of these stages is evaluated as if it were a change.
    #[must_use]
    pub fn null_tail(&self, stages: &[usize], block: usize, direction: Direction) -> Tail {
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

    /// Approximate standard deviation of the mean of a block of new samples of a stage.
    #[must_use]
    pub fn deviation_of_mean(&self, stage: usize, block: usize) -> f64 {
        let noise = &self.noise[stage];
        // Student's t is wider than its scale, by 1.4 at four degrees of freedom. The rest gives the
        // best allocation of false alarms (`cargo bench --bench detection`).
        1.6 * (noise.scale.powi(2) / count(block) + noise.level_deviation.powi(2)).sqrt()
    }
}

/// In the faster direction there is no slow mode: a slow mode that vanished is an improvement.
fn towards(noise: Noise, direction: Direction) -> Noise {
    match direction {
        Direction::Slower => noise,
        Direction::Faster => Noise { slow: None, ..noise },
    }
}
