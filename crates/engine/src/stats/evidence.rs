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
/// What differs by less is rounding.
const TIE: f64 = 1e-9;
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

    /// The evidence in a block of samples, in any order; of more than the block's size in the last of
    /// them. None have none.
    #[must_use]
    pub fn evidence(&self, samples: &[f64]) -> Evidence {
        let samples = &samples[samples.len().saturating_sub(self.block.min(MAX_BLOCK))..];
        if samples.iter().all(|sample| *sample <= 0.0) {
            return Evidence::NONE;
        }
        // Two samples far apart are as likely moved by the one as by the other. The larger is tried
        // first and stays then, whatever the order: one wild sample is not what both agree on.
        let mut sorted = [0.0; MAX_BLOCK];
        let sorted = &mut sorted[..samples.len()];
        sorted.copy_from_slice(samples);
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        let samples = &*sorted;
        let unmoved = self.average(samples, 0.0);
        let mut best = (unmoved, 0.0);
        self.each_attempt(samples, |shift| {
            let likelihood = self.average(samples, shift);
            if likelihood > best.0 * (1.0 + TIE) {
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
            if ln_ratio > best.ln_ratio + TIE {
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
    fn the_order_of_samples_makes_no_difference() {
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
    fn nine_nodes_are_near_the_integral() {
        // f = lambda d: scipy.integrate.dblquad(lambda b, a: np.exp(scipy.stats.t.logpdf(np.array([.25, .3]) - d
        //     - b * .05, 4, 0, .1 * np.exp(.2 * a)).sum()) * norm.pdf(a) * norm.pdf(b), -7, 7, -7, 7)[0]
        // np.log(f(.275) / f(0))
        let found = evidence(Noise { ln_scale_deviation: 0.2, ..NOISE }, &[0.25, 0.3]);
        assert!((found.ln_ratio - 4.170_479_390_365_124).abs() < 0.05, "{found:?}");
    }

    #[test]
    fn logarithms_say_the_same_and_go_further() {
        for noise in [NOISE, CACHED] {
            let block = BlockLikelihood::new(noise, 3);
            for samples in [&[0.1, 0.5, -0.2][..], &[0.4, 0.3], &[2.0]] {
                for shift in [0.0, 0.25, 1.5] {
                    let (plain, ln) = (block.average(samples, shift).ln(), block.ln_average(samples, shift));
                    assert!((plain - ln).abs() < 1e-10, "{samples:?} {shift}: {plain} {ln}");
                }
            }
        }
        // `agrees_with_scipy`, with 30 degrees of freedom, scales .01 and .02 for .15, .1 for .3, .005
        // for .05 and a slow mode at 1
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
    fn a_missing_sample_says_nothing() {
        for noise in [NOISE, CACHED] {
            let alone = evidence(noise, &[0.5]);
            let of_four = BlockLikelihood::new(noise, 4).evidence(&[0.5]);
            assert!((alone.ln_ratio - of_four.ln_ratio).abs() < 1e-12, "{alone:?} {of_four:?}");
            assert_eq!(BlockLikelihood::new(noise, 4).evidence(&[]), Evidence::NONE);
        }
    }
}
