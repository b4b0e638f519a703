//! How much better "all of it moved by one constant" explains a block of samples than "nothing
//! moved": a likelihood ratio over all samples together, averaged over what is not known of the
//! noise. Knows nothing of stages, and takes no decision.

use super::count;
use super::student::Degrees;

/// Most samples of a block.
pub const MAX_BLOCK: usize = 8;

/// A rare mode of larger values: a cache that missed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowMode {
    /// How far above the usual it lies.
    pub shift: f64,
    /// Its own scale.
    pub scale: f64,
    /// Share of the samples that are in it.
    pub share: f64,
}

/// What is known of one series' noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// Its shape.
    pub degrees: Degrees,
    /// Scale of a sample.
    pub scale: f64,
    /// Standard deviation of ln scale: how unsure the scale is.
    pub ln_scale_deviation: f64,
    /// Standard deviation of the prediction, which all samples of a block share.
    pub level_deviation: f64,
    /// The rare slow mode, if it has one.
    pub slow: Option<SlowMode>,
}

/// What a block of samples says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// ln of the likelihood ratio of "moved up by `shift`" to "not moved"; 0 or more.
    pub ln_ratio: f64,
    /// The most likely upward shift, of those that are tried.
    pub shift: f64,
}

impl Evidence {
    /// Nothing speaks for a move upwards.
    pub const NONE: Self = Self { ln_ratio: 0.0, shift: 0.0 };
}

impl Noise {
    /// The noise of a sample that was not used to estimate it: wider by `factor`.
    #[must_use]
    pub fn widened(self, factor: f64) -> Self {
        Self {
            scale: self.scale * factor,
            level_deviation: self.level_deviation * factor,
            slow: self.slow.map(|slow| SlowMode { scale: slow.scale * factor, ..slow }),
            ..self
        }
    }
}

/// How likely it is, on top of chance, that the next sample is in the slow mode too when one is:
/// a lock file that changed makes all caches miss until it is merged.
const STAYS_SLOW: f64 = 0.3;
/// Gauss-Hermite quadrature with three nodes for a standard normal: (node, weight).
const NODES: [(f64, f64); 3] = [(-SQRT_3, 1.0 / 6.0), (0.0, 2.0 / 3.0), (SQRT_3, 1.0 / 6.0)];
const SQRT_3: f64 = 1.732_050_807_568_877_2;
/// Below this the average's terms may have lost their digits to underflow.
const UNDERFLOW: f64 = 1e-280;

/// A series' noise made ready for blocks of one size: three scales times three levels.
#[derive(Debug, Clone)]
pub struct BlockLikelihood {
    noise: Noise,
    block: usize,
    inverse_scale: [f64; 9],
    level: [f64; 9],
    /// By how many samples there are: a sample that is missing has no density.
    weight: Vec<[f64; 9]>,
}

impl BlockLikelihood {
    /// For blocks of `block` samples, of which some may be missing; at most [`MAX_BLOCK`].
    #[must_use]
    pub fn new(noise: Noise, block: usize) -> Self {
        let weight = vec![[0.0; 9]; block + 1];
        let mut this = Self { noise, block, inverse_scale: [0.0; 9], level: [0.0; 9], weight };
        let nodes = NODES.iter().flat_map(|scale| NODES.iter().map(move |level| (scale, level)));
        for (i, ((scale_node, scale_weight), (level_node, level_weight))) in nodes.enumerate() {
            let scale = noise.scale * (scale_node * noise.ln_scale_deviation).exp();
            this.inverse_scale[i] = scale.recip();
            this.level[i] = level_node * noise.level_deviation;
            for (samples, weight) in this.weight.iter_mut().enumerate() {
                weight[i] = scale_weight * level_weight * scale.recip().powi(whole(samples));
            }
        }
        this
    }

    /// The evidence in a block of samples, in any order. None have none.
    #[must_use]
    pub fn evidence(&self, samples: &[f64]) -> Evidence {
        debug_assert!(samples.len() <= self.block, "the block is smaller");
        if samples.iter().all(|sample| *sample <= 0.0) {
            return Evidence::NONE;
        }
        let unmoved = self.average(samples, 0.0);
        let mut best = (unmoved, 0.0);
        self.each_attempt(samples, |shift| {
            let likelihood = self.average(samples, shift);
            if likelihood > best.0 {
                best = (likelihood, shift);
            }
        });
        if unmoved > UNDERFLOW {
            return Evidence { ln_ratio: (best.0 / unmoved).ln(), shift: best.1 };
        }
        // Far out the likelihoods themselves can't be held, their logarithms can.
        let unmoved = self.ln_average(samples, 0.0);
        let mut best = Evidence::NONE;
        self.each_attempt(samples, |shift| {
            let ln_ratio = self.ln_average(samples, shift) - unmoved;
            if ln_ratio > best.ln_ratio {
                best = Evidence { ln_ratio, shift };
            }
        });
        best
    }

    /// The shifts that are tried: each sample and their mean; and the same below the slow mode,
    /// for a slow mode that got slower itself.
    fn each_attempt(&self, samples: &[f64], mut attempt: impl FnMut(f64)) {
        let mean = samples.iter().sum::<f64>() / count(samples.len());
        let mean = if samples.len() > 1 { mean } else { 0.0 };
        let mut positive = |shift: f64| {
            if shift > 0.0 {
                attempt(shift);
            }
        };
        for shift in samples.iter().copied().chain([mean]) {
            positive(shift);
            if let Some(slow) = self.noise.slow {
                positive(shift - slow.shift);
            }
        }
    }

    /// The likelihood of the samples when all are moved by `shift`, averaged over the uncertainty
    /// of scale and level; up to a factor that no shift changes.
    fn average(&self, samples: &[f64], shift: f64) -> f64 {
        let degrees = self.noise.degrees;
        let per_nu = degrees.value().recip();
        let weight = &self.weight[samples.len()];
        let Some(slow) = self.noise.slow else {
            let mut products = [1.0; 9];
            for sample in samples {
                for ((product, inverse), level) in
                    products.iter_mut().zip(&self.inverse_scale).zip(&self.level)
                {
                    let z = (sample - shift - level) * inverse;
                    *product *= 1.0 + z * z * per_nu;
                }
            }
            return products.iter().zip(weight).map(|(q, weight)| weight * degrees.kernel(*q)).sum();
        };
        let mut sum = 0.0;
        let inverse_slow = slow.scale.recip();
        for ((inverse, level), weight) in self.inverse_scale.iter().zip(&self.level).zip(weight) {
            let (mut each, mut all_slow) = (1.0, 1.0);
            for sample in samples {
                let u = sample - shift - level;
                let (z, z_slow) = (u * inverse, (u - slow.shift) * inverse_slow);
                let usual = degrees.kernel(1.0 + z * z * per_nu);
                // Scales are taken relative to the node's own, which `weight` holds.
                let in_slow = degrees.kernel(1.0 + z_slow * z_slow * per_nu) * inverse_slow / inverse;
                each *= (1.0 - slow.share) * usual + slow.share * in_slow;
                all_slow *= in_slow;
            }
            if samples.len() > 1 {
                each += all_slow * slow.share * STAYS_SLOW.powi(whole(samples.len() - 1));
            }
            sum += weight * each;
        }
        sum
    }

    /// [`Self::average`] by logarithms, for samples so far out that it is 0.
    fn ln_average(&self, samples: &[f64], shift: f64) -> f64 {
        let degrees = self.noise.degrees;
        let power = -0.5 * (degrees.value() + 1.0);
        let ln_kernel = |z: f64| power * (z * z / degrees.value()).ln_1p();
        let term = |node: usize| {
            let (inverse, level) = (self.inverse_scale[node], self.level[node]);
            let deviations = samples.iter().map(|sample| sample - shift - level);
            let ln = match self.noise.slow {
                None => deviations.map(|u| ln_kernel(u * inverse)).sum::<f64>(),
                Some(slow) => {
                    let (mut each, mut all_slow) = (0.0, 0.0);
                    for u in deviations {
                        let usual = ln_kernel(u * inverse);
                        let in_slow = ln_kernel((u - slow.shift) / slow.scale) - (slow.scale * inverse).ln();
                        each += ln_sum(&[usual + (-slow.share).ln_1p(), in_slow + slow.share.ln()]);
                        all_slow += in_slow;
                    }
                    let stays = STAYS_SLOW.ln() * count(samples.len().saturating_sub(1));
                    if samples.len() > 1 { ln_sum(&[each, all_slow + slow.share.ln() + stays]) } else { each }
                }
            };
            ln + self.weight[samples.len()][node].ln()
        };
        ln_sum(&std::array::from_fn::<f64, 9, _>(term))
    }
}

/// ln of the sum of what these are logarithms of.
fn ln_sum(logarithms: &[f64]) -> f64 {
    let largest = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + logarithms.iter().map(|l| (l - largest).exp()).sum::<f64>().ln()
}

#[expect(clippy::cast_possible_wrap, clippy::cast_possible_truncation, reason = "at most MAX_BLOCK")]
fn whole(n: usize) -> i32 {
    n as i32
}
