//! Fits the duration model by backfitting: cache state, runner speed, exposure, usual duration,
//! level and scale are each estimated with the others held fixed, in five rounds. Every step is
//! robust: neither an outlying run nor a rare slow mode distorts it.

use super::Observations;
use super::runner_speed::ReferenceStages;
use crate::stats::count;
use crate::stats::evidence::{Noise, SlowMode};
use crate::stats::level::{self, Dynamics};
use crate::stats::matrix::{Matrix, medians};
use crate::stats::robust::{MAD_TO_DEVIATION, median_in_place};
use crate::stats::student::{self, Degrees, robust_weight};

const ROUNDS: usize = 5;
/// Rounds in which the dynamics of the levels and the shape of the noise are chosen again.
const CHOOSING: [usize; 2] = [1, 3];
/// EM steps in each round; a round starts from the scales of the round before.
const EM_STEPS: usize = 5;
/// Shape and dynamics are the whole pipeline's. This number of samples is enough to choose them, more
/// only take longer.
const ENOUGH_TO_CHOOSE: usize = 12_000;
/// Lower bound of a scale, in clock ticks: a rounding error has a standard deviation of 0.29 ticks,
/// and a duration has two ends.
const CLOCK_SHARE: f64 = 0.35;
/// Lower bound of the scale of any stage.
const MIN_SCALE: f64 = 0.003;
/// A sample above its prediction by this ratio and this number of scales may be in a slow mode.
const SLOW_RATIO: f64 = 1.15;
const SLOW_SCALES: f64 = 5.0;
/// Largest share of samples in a rare mode.
const RARE: f64 = 0.4;
/// Samples of each cache state that are needed to estimate the shift between them.
const MIN_OF_STATE: usize = 3;
/// Weight of the prior exposure 1, as a share of the variation of runner speed.
const EXPOSURE_PRIOR: f64 = 0.05;
const MAX_EXPOSURE: f64 = 1.3;

/// The model's parameters, and the residuals of the baseline.
#[derive(Debug, Clone)]
pub(crate) struct Fitted {
    pub degrees: Degrees,
    pub dynamics: Dynamics,
    /// By stage: ln of the usual duration on a usual runner.
    pub usual: Vec<f64>,
    /// By stage: how strongly it depends on the runner's speed, 0 to [`MAX_EXPOSURE`].
    pub exposure: Vec<f64>,
    /// By stage: the sum of the squared runner speeds from which its exposure was estimated.
    pub variation: Vec<f64>,
    /// By stage: scale of the noise, and the standard deviation of its ln.
    pub scale: Vec<f64>,
    pub ln_scale_deviation: Vec<f64>,
    /// By stage: the level after the newest run.
    pub level: Vec<f64>,
    /// By stage, where cache states are known: ln ratio of the rarer state to the usual one. NaN where
    /// one state has too few samples.
    pub state_shift: Vec<Option<f64>>,
    /// Residuals without usual duration, runner speed and cache state.
    pub residuals: Matrix,
    /// The part of the residuals that the level predicted.
    pub predicted: Matrix,
    /// 1 where a sample is in a slow mode, else 0.
    slow: Matrix,
}

#[must_use]
pub(crate) fn backfit(observations: &Observations) -> Fitted {
    let Observations { logs, rare_state, reference_stages, ablation, .. } = observations;
    let mut fit = Fitted::begin(observations);
    let (stages, step) = (logs.columns(), (logs.rows() * logs.columns()).div_ceil(ENOUGH_TO_CHOOSE).max(1));
    let some: Vec<usize> = (0..stages).step_by(step).collect();
    let mut adjusted = logs.clone();
    let mut speed = fit.initial_speed(logs);
    let mut floors = fit.floors(observations);
    fit.scale = fit.first_scales(logs, &speed, &floors);
    let mut raw_scale = fit.scale.clone();
    for round in 0..ROUNDS {
        fit.remove_cache_states(logs, rare_state, &speed, &mut adjusted);
        if round == 0 {
            fit.usual = medians(&adjusted);
            floors = fit.floors(observations);
        }
        speed = fit.runner_speed(&adjusted, reference_stages);
        if ablation.exposure {
            let noise = reference_stages.level_noise(&fit.exposure, &fit.scale);
            fit.estimate_exposure(&adjusted, &speed, noise);
        }
        let clean = fit.remove_runner_speed(&adjusted, &speed);
        if round > 0 && ablation.level {
            if CHOOSING.contains(&round) {
                let scale: Vec<f64> = some.iter().map(|i| fit.scale[*i]).collect();
                fit.dynamics = level::choose(&clean.columns_at(&some), &scale, fit.degrees);
            }
            fit.level = level::follow(&clean, &fit.scale, fit.dynamics, &mut fit.predicted);
        }
        let left = clean.minus(&fit.predicted);
        if round == 0 || CHOOSING.contains(&round) {
            fit.choose_degrees(&left, &some, &raw_scale, &floors);
        }
        student::improve_scales(&mut raw_scale, &left, fit.degrees, &floors, EM_STEPS);
        let observed = student::observed(&left);
        let mut shrunk = student::shrink(&raw_scale, &observed, fit.degrees);
        if !ablation.shrinkage {
            shrunk.scales.clone_from(&raw_scale);
        }
        fit.scale = shrunk.scales.iter().zip(&floors).map(|(scale, floor)| scale.max(*floor)).collect();
        fit.ln_scale_deviation = shrunk.ln_deviation;
        if round > 0 && ablation.slow_mode {
            fit.find_slow_modes(rare_state);
        }
    }
    fit
}

impl Fitted {
    fn begin(observations: &Observations) -> Self {
        let logs = &observations.logs;
        let (runs, stages) = (logs.rows(), logs.columns());
        let nothing = Matrix::filled(runs, stages, 0.0);
        Self {
            degrees: Degrees::Four,
            dynamics: Dynamics::STILL,
            usual: medians(logs),
            exposure: vec![1.0; stages],
            variation: vec![0.0; stages],
            scale: Vec::new(),
            ln_scale_deviation: vec![0.0; stages],
            level: vec![0.0; stages],
            state_shift: vec![None; stages],
            residuals: nothing.clone(),
            predicted: nothing.clone(),
            slow: nothing,
        }
    }

    fn floors(&self, observations: &Observations) -> Vec<f64> {
        let ticks = self.usual.iter().zip(&observations.clock_s);
        ticks.map(|(usual, clock)| (CLOCK_SHARE * clock / usual.exp()).max(MIN_SCALE)).collect()
    }

    /// First estimate of runner speed: each run's median stage. The reference stages need scales.
    fn initial_speed(&self, logs: &Matrix) -> Matrix {
        let mut speed = Matrix::filled(logs.rows(), logs.columns(), 0.0);
        let mut row = Vec::with_capacity(logs.columns());
        for run in 0..logs.rows() {
            row.clear();
            row.extend(logs.row(run).iter().zip(&self.usual).map(|(y, usual)| y - usual));
            row.retain(|e| e.is_finite());
            speed.row_mut(run).fill(median_in_place(&mut row).unwrap_or(0.0));
        }
        speed
    }

    fn first_scales(&self, logs: &Matrix, speed: &Matrix, floors: &[f64]) -> Vec<f64> {
        let mut left = logs.minus(speed);
        left.subtract_from_rows(&self.usual);
        student::first_scales(&left, floors)
    }

    /// Estimates the shift between known cache states and writes the table without it.
    fn remove_cache_states(
        &mut self,
        logs: &Matrix,
        states: &[Option<Vec<f64>>],
        speed: &Matrix,
        adjusted: &mut Matrix,
    ) {
        for (i, states) in states.iter().enumerate() {
            let Some(states) = states else { continue };
            let (mut rare, mut usual) = (Vec::new(), Vec::new());
            for (t, state) in states.iter().enumerate() {
                let residual = logs.get(t, i) - self.usual[i] - self.exposure[i] * speed.get(t, i);
                if residual.is_finite() && !state.is_nan() {
                    if *state > 0.0 { rare.push(residual) } else { usual.push(residual) }
                }
            }
            let known = rare.len().min(usual.len()) >= MIN_OF_STATE;
            let shift = match (median_in_place(&mut rare), median_in_place(&mut usual)) {
                (Some(rare), Some(usual)) if known => rare - usual,
                _ => f64::NAN,
            };
            self.state_shift[i] = Some(shift);
            for (t, state) in states.iter().enumerate() {
                let shift = if *state > 0.0 { shift } else { *state * 0.0 };
                adjusted.set(t, i, logs.get(t, i) - shift);
            }
        }
    }

    fn runner_speed(&self, adjusted: &Matrix, reference_stages: &ReferenceStages) -> Matrix {
        let mut e = adjusted.minus(&self.predicted);
        e.subtract_from_rows(&self.usual);
        self.without_slow(&mut e);
        reference_stages.levels(&e, &self.exposure, &self.scale)
    }

    fn without_slow(&self, table: &mut Matrix) {
        for t in 0..table.rows() {
            for (value, slow) in table.row_mut(t).iter_mut().zip(self.slow.row(t)) {
                *value = if *slow > 0.0 { f64::NAN } else { *value };
            }
        }
    }

    /// Each stage's exposure by a robust regression on runner speed, shrunk towards 1. `level_noise` is
    /// the variance of the estimated speed. The shrinkage is stronger where the speed hardly varied
    /// beyond that noise: a speed that never changed can't show that a stage does not depend on it
    /// (errors in variables).
    fn estimate_exposure(&mut self, adjusted: &Matrix, speed: &Matrix, level_noise: f64) {
        let stages = adjusted.columns();
        let (mut product, mut square, mut variation) =
            (vec![0.0; stages], vec![0.0; stages], vec![1e-9; stages]);
        for t in 0..adjusted.rows() {
            let (y, g, slow) = (adjusted.row(t), speed.row(t), self.slow.row(t));
            for i in 0..stages {
                let limit = 3.0 * self.scale[i] + 0.5;
                let e = (y[i] - self.usual[i]).clamp(-limit, limit);
                let z = (e - self.exposure[i] * g[i]) / self.scale[i];
                let counts = if e.is_nan() || slow[i] > 0.0 { 0.0 } else { robust_weight(z * z) };
                let e = if e.is_nan() { 0.0 } else { e };
                product[i] += counts * g[i] * e;
                square[i] += counts * g[i] * g[i];
                variation[i] += g[i] * g[i];
            }
        }
        let by_noise = count(adjusted.rows()) * level_noise;
        self.variation = variation.iter().map(|variation| (variation - by_noise).max(0.0)).collect();
        for i in 0..stages {
            let prior = EXPOSURE_PRIOR * variation[i] + 2.0 * by_noise;
            self.exposure[i] = ((product[i] + prior) / (square[i] + prior)).clamp(0.0, MAX_EXPOSURE);
        }
    }

    /// Subtracts runner speed and usual duration, and centres the usual duration again. Returns the
    /// residuals without the samples of slow modes.
    fn remove_runner_speed(&mut self, adjusted: &Matrix, speed: &Matrix) -> Matrix {
        for t in 0..adjusted.rows() {
            let row = self.residuals.row_mut(t).iter_mut();
            let terms = adjusted.row(t).iter().zip(speed.row(t)).zip(&self.exposure).zip(&self.usual);
            for (residual, (((y, g), exposure), usual)) in row.zip(terms) {
                *residual = y - usual - exposure * g;
            }
        }
        let mut clean = self.residuals.clone();
        self.without_slow(&mut clean);
        let centres = medians(&clean);
        for (usual, centre) in self.usual.iter_mut().zip(&centres) {
            *usual += centre;
        }
        self.residuals.subtract_from_rows(&centres);
        clean.subtract_from_rows(&centres);
        clean
    }

    /// Chooses the shape of largest likelihood over some of the stages, each with its best scale.
    fn choose_degrees(&mut self, left: &Matrix, some: &[usize], scale: &[f64], floors: &[f64]) {
        let pick = |from: &[f64]| -> Vec<f64> { some.iter().map(|i| from[*i]).collect() };
        let (left, floors, start) = (left.columns_at(some), pick(floors), pick(scale));
        let mut best = f64::NEG_INFINITY;
        for degrees in Degrees::ALL {
            let mut scale = start.clone();
            student::improve_scales(&mut scale, &left, degrees, &floors, EM_STEPS);
            let likelihood = student::ln_likelihood(&left, degrees, &scale);
            if likelihood > best {
                best = likelihood;
                self.degrees = degrees;
            }
        }
    }

    /// Finds the samples of rare slow modes, in stages whose cache states are unknown.
    fn find_slow_modes(&mut self, states: &[Option<Vec<f64>>]) {
        let runs = self.residuals.rows();
        let limit: Vec<f64> =
            self.scale.iter().map(|scale| (SLOW_SCALES * scale).max(SLOW_RATIO.ln())).collect();
        let mut counts = vec![0.0; limit.len()];
        for t in 0..runs {
            let row = self.residuals.row(t).iter().zip(self.predicted.row(t)).zip(&limit);
            for ((slow, n), ((r, level), limit)) in self.slow.row_mut(t).iter_mut().zip(&mut counts).zip(row)
            {
                *slow = if r - level > *limit { 1.0 } else { 0.0 };
                *n += *slow;
            }
        }
        for (i, n) in counts.iter().enumerate() {
            if *n > 0.0 && (*n >= RARE * count(runs) || states[i].is_some()) {
                (0..runs).for_each(|t| self.slow.set(t, i, 0.0));
            }
        }
    }

    /// Each stage's noise; `level_deviation` is the standard deviation of its prediction.
    #[must_use]
    pub(crate) fn noise(&self, level_deviation: impl Fn(usize) -> f64) -> Vec<Noise> {
        let observed = student::observed(&self.residuals);
        let noise = |i: usize| Noise {
            degrees: self.degrees,
            scale: self.scale[i],
            ln_scale_deviation: self.ln_scale_deviation[i],
            level_deviation: level_deviation(i),
            slow: self.slow_mode(i, observed[i]),
        };
        (0..self.usual.len()).map(noise).collect()
    }

    fn slow_mode(&self, i: usize, observed: f64) -> Option<SlowMode> {
        let mut slow: Vec<f64> = (0..self.slow.rows())
            .filter(|t| self.slow.get(*t, i) > 0.0)
            .map(|t| self.residuals.get(t, i) - self.predicted.get(t, i))
            .filter(|r| r.is_finite())
            .collect();
        let shift = median_in_place(&mut slow)?;
        for residual in &mut slow {
            *residual = (*residual - shift).abs();
        }
        let spread = MAD_TO_DEVIATION * median_in_place(&mut slow).unwrap_or(0.0);
        let least = if slow.len() < 3 { 0.1 } else { 0.0 };
        Some(SlowMode {
            shift,
            scale: spread.max(1.5 * self.scale[i]).max(least),
            share: (count(slow.len()) + 0.05) / (observed + 1.0),
        })
    }
}
