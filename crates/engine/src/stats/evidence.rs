//! A likelihood ratio for a block of samples: "all moved by one constant" against "nothing moved".
//! It covers all samples together and is averaged over the uncertainty of the noise. It does not
//! know stages and takes no decision.

use super::count;
use super::student::Degrees;

/// Largest number of samples in a block.
pub const MAX_BLOCK: usize = 8;

/// A rare mode of larger values, such as runs in which a cache missed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowMode {
    /// Distance above the usual mode.
    pub shift: f64,
    pub scale: f64,
    /// Share of the samples in this mode.
    pub share: f64,
}

/// The noise of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    pub degrees: Degrees,
    pub scale: f64,
    /// Standard deviation of ln scale: the uncertainty of the scale.
    pub ln_scale_deviation: f64,
    /// Standard deviation of the prediction, which all samples of a block share.
    pub level_deviation: f64,
    pub slow: Option<SlowMode>,
}

/// The result for one block of samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// ln of the likelihood ratio of "moved up by `shift`" to "not moved", at least 0.
    pub ln_ratio: f64,
    /// The most likely upward shift among the candidates.
    pub shift: f64,
}

impl Evidence {
    /// No evidence of a move upwards.
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

/// Added probability that the next sample is in the slow mode too, when one is. A lock file that
/// changed makes all caches miss until it is merged.
const STAYS_SLOW: f64 = 0.3;
/// Gauss-Hermite quadrature with three nodes for a standard normal: (node, weight).
const NODES: [(f64, f64); 3] = [(-SQRT_3, 1.0 / 6.0), (0.0, 2.0 / 3.0), (SQRT_3, 1.0 / 6.0)];
const SQRT_3: f64 = 1.732_050_807_568_877_2;
/// A smaller difference is rounding.
const TIE: f64 = 1e-9;
/// Below this, the terms of the average may have lost digits to underflow.
const UNDERFLOW: f64 = 1e-280;

/// Quadrature nodes of a series' noise for blocks of one size: three scales times three levels.
#[derive(Debug, Clone)]
pub struct BlockLikelihood {
    noise: Noise,
    block: usize,
    inverse_scale: [f64; 9],
    level: [f64; 9],
    /// Node weights by number of samples: a missing sample has no density.
    weight: Vec<[f64; 9]>,
}

impl BlockLikelihood {
    /// For blocks of `block` samples, at most [`MAX_BLOCK`]. Some may be missing.
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

    /// The evidence in a block of samples. Their order does not matter. Of more samples than the
    /// block's size, only the last ones count.
    #[must_use]
    pub fn evidence(&self, samples: &[f64]) -> Evidence {
        let samples = &samples[samples.len().saturating_sub(self.block.min(MAX_BLOCK))..];
        if samples.iter().all(|sample| *sample <= 0.0) {
            return Evidence::NONE;
        }
        // Two samples far apart give two equally likely shifts. Sorting makes the result independent
        // of the samples' order: the larger shift is tried first and wins the tie.
        let mut sorted = [0.0; MAX_BLOCK];
        let sorted = &mut sorted[..samples.len()];
        sorted.copy_from_slice(samples);
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        let samples = &*sorted;
        let unmoved = self.average(samples, 0.0);
        let mut best = (unmoved, 0.0);
        self.each_candidate(samples, |shift| {
            let likelihood = self.average(samples, shift);
            if likelihood > best.0 * (1.0 + TIE) {
                best = (likelihood, shift);
            }
        });
        if unmoved > UNDERFLOW {
            return Evidence { ln_ratio: (best.0 / unmoved).ln(), shift: best.1 };
        }
        // Far out the likelihoods underflow, but their logarithms do not.
        let unmoved = self.ln_average(samples, 0.0);
        let mut best = Evidence::NONE;
        self.each_candidate(samples, |shift| {
            let ln_ratio = self.ln_average(samples, shift) - unmoved;
            if ln_ratio > best.ln_ratio + TIE {
                best = Evidence { ln_ratio, shift };
            }
        });
        best
    }

    /// Calls `attempt` with each positive candidate: each sample and their mean. With a slow mode,
    /// also the same values minus its shift, for a slow mode that became slower.
    fn each_candidate(&self, samples: &[f64], mut attempt: impl FnMut(f64)) {
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

    /// The likelihood of the samples when all are moved by `shift`, averaged over the uncertainty of
    /// scale and level. It leaves out a factor that does not depend on the shift.
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
                // Relative to the node's scale, which `weight` contains.
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

    /// [`Self::average`] by logarithms, for samples where it underflows to 0.
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

/// ln of the sum of the exponentials.
fn ln_sum(logarithms: &[f64]) -> f64 {
    let largest = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + logarithms.iter().map(|l| (l - largest).exp()).sum::<f64>().ln()
}

#[expect(clippy::cast_possible_wrap, clippy::cast_possible_truncation, reason = "at most MAX_BLOCK")]
fn whole(n: usize) -> i32 {
    n as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOISE: Noise = Noise {
        degrees: Degrees::Four,
        scale: 0.1,
        ln_scale_deviation: 0.3,
        level_deviation: 0.05,
        slow: None,
    };
    const CACHED: Noise = Noise { slow: Some(SlowMode { shift: 0.6, scale: 0.15, share: 0.1 }), ..NOISE };

    #[test]
    fn sample_order_makes_no_difference() {
        for noise in [NOISE, CACHED] {
            let (x, y) = (evidence(noise, &[0.153, 1.1021]), evidence(noise, &[1.1021, 0.153]));
            assert!((x.shift - y.shift).abs() < 1e-12, "{x:?} {y:?}");
            assert!((x.ln_ratio - y.ln_ratio).abs() < 1e-12, "{x:?} {y:?}");
        }
    }

    fn evidence(noise: Noise, samples: &[f64]) -> Evidence {
        BlockLikelihood::new(noise, samples.len()).evidence(samples)
    }

    #[test]
    fn agrees_with_scipy() {
        // nodes = [(-3**.5, 1/6), (0, 2/3), (3**.5, 1/6)]; t = scipy.stats.t.logpdf
        // def like(x, d): return scipy.special.logsumexp([np.log(w * v) +
        //     t(x - d - b * .05, 4, 0, .1 * np.exp(a * .3)).sum() for a, w in nodes for b, v in nodes])
        // max((like(x, d) - like(x, 0), d) for d in [0, *x, x.mean()] if d >= 0)
        // With a slow mode, t(..) is np.logaddexp(np.logaddexp(L + np.log(.9), S + np.log(.1)).sum(),
        //     S.sum() + np.log(.1) + (len(x) - 1) * np.log(.3)), S = t(x - d - b * .05, 4, .6, .15).
        let table: [(Noise, &[f64], f64, f64); 7] = [
            (NOISE, &[0.5], 4.387_576_699_996_151, 0.5),
            (NOISE, &[0.5, 0.3], 5.216_067_917_685_426, 0.4),
            (NOISE, &[0.4, 0.5, 0.3, 0.6], 10.091_624_860_563_307, 0.45),
            (NOISE, &[0.5, -0.2], 0.0, 0.0),
            (CACHED, &[0.5], 2.603_394_303_675_745, 0.5),
            (CACHED, &[0.6, 0.62], 3.812_915_601_355_561_6, 0.61),
            (CACHED, &[0.9, 1.0], 7.243_504_299_627_036, 0.95),
        ];
        for (noise, samples, ln_ratio, shift) in table {
            let found = evidence(noise, samples);
            assert!((found.ln_ratio - ln_ratio).abs() < 1e-12, "{samples:?}: {found:?}");
            assert!((found.shift - shift).abs() < 1e-12, "{samples:?}: {found:?}");
        }
    }

    #[test]
    fn nine_nodes_approximate_the_integral() {
        // f = lambda d: scipy.integrate.dblquad(lambda b, a: np.exp(scipy.stats.t.logpdf(np.array([.25, .3]) - d
        //     - b * .05, 4, 0, .1 * np.exp(.2 * a)).sum()) * norm.pdf(a) * norm.pdf(b), -7, 7, -7, 7)[0]
        // np.log(f(.275) / f(0))
        let found = evidence(Noise { ln_scale_deviation: 0.2, ..NOISE }, &[0.25, 0.3]);
        assert!((found.ln_ratio - 4.170_479_390_365_124).abs() < 0.05, "{found:?}");
    }

    #[test]
    fn logarithms_agree_and_reach_further() {
        for noise in [NOISE, CACHED] {
            let block = BlockLikelihood::new(noise, 3);
            for samples in [&[0.1, 0.5, -0.2][..], &[0.4, 0.3], &[2.0]] {
                for shift in [0.0, 0.25, 1.5] {
                    let (plain, ln) = (block.average(samples, shift).ln(), block.ln_average(samples, shift));
                    assert!((plain - ln).abs() < 1e-10, "{samples:?} {shift}: {plain} {ln}");
                }
            }
        }
        // As in `agrees_with_scipy`, with 30 degrees of freedom, scale .01 and scale deviation .1.
        // The level deviation is .005. The slow mode has shift 1 and scale .02.
        let far = Noise {
            degrees: Degrees::Thirty,
            scale: 0.01,
            ln_scale_deviation: 0.1,
            level_deviation: 0.005,
            slow: None,
        };
        let slow = Some(SlowMode { shift: 1.0, scale: 0.02, share: 0.1 });
        for (noise, expected) in [(far, 487.336_796_119_198), (Noise { slow, ..far }, 474.048_733_094_032)] {
            let found = evidence(noise, &[100.0, 110.0, 95.0, 105.0]);
            assert!((found.ln_ratio - expected).abs() < 1e-9, "{found:?}");
        }
        let farther = evidence(far, &[1e9, 1e12]);
        assert!(farther.ln_ratio.is_finite() && farther.ln_ratio > 100.0, "{farther:?}");
    }

    #[test]
    fn missing_sample_adds_no_evidence() {
        for noise in [NOISE, CACHED] {
            let alone = evidence(noise, &[0.5]);
            let of_four = BlockLikelihood::new(noise, 4).evidence(&[0.5]);
            assert!((alone.ln_ratio - of_four.ln_ratio).abs() < 1e-12, "{alone:?} {of_four:?}");
            assert_eq!(BlockLikelihood::new(noise, 4).evidence(&[]), Evidence::NONE);
        }
    }
}
