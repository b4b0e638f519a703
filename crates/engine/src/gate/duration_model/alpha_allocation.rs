//! Allocates the allowed false alarms to the stages. Stages on which a relevant slowdown is obvious
//! or undetectable get less, stages in between get more. It reads a stage's noise only, never a
//! candidate, so that the shares add up to the allowed probability.

use statrs::function::erf::erfc;

use crate::stats::count;

/// Relevant slowdowns, with equal weights.
const RELEVANT: [f64; 3] = [1.2, 1.3, 1.5];
/// Smallest share of a stage, as a multiple of an equal share.
const LEAST: f64 = 0.1;
/// Larger standardised effects are treated as this one.
const OBVIOUS: f64 = 20.0;

/// Each stage's share of the probability `alpha`, as a multiple of an equal share: the mean is 1.
/// `deviations` are the standard deviations of the mean of a block of samples. These are the weights
/// of Wasserman and Roeder, "Weighted hypothesis testing" (2006), arXiv:math/0604172, section 4.
/// They maximise the average power at a known effect size, here averaged over three sizes.
#[must_use]
pub(crate) fn shares(deviations: &[f64], alpha: f64) -> Vec<f64> {
    let stages = count(deviations.len());
    let mut shares = vec![LEAST; deviations.len()];
    for slowdown in RELEVANT {
        let size: Vec<f64> =
            deviations.iter().map(|deviation| (slowdown.ln() / deviation).min(OBVIOUS)).collect();
        let c = constant(&size, alpha);
        let parts: Vec<f64> = size.iter().map(|size| part(*size, c)).collect();
        let total: f64 = parts.iter().sum();
        for (share, part) in shares.iter_mut().zip(&parts) {
            *share += (1.0 - LEAST) / count(RELEVANT.len()) * part * stages / total;
        }
    }
    shares
}

/// The probability that is allocated to a stage with standardised effect `size`.
fn part(size: f64, c: f64) -> f64 {
    0.5 * erfc((size / 2.0 + c / size) / std::f64::consts::SQRT_2)
}

/// The constant at which the parts, which fall as it grows, add up to `alpha`. It is 0 where the
/// parts add up to less at any constant.
fn constant(size: &[f64], alpha: f64) -> f64 {
    // At the upper end, c / size is large enough for every size up to `OBVIOUS`.
    let (mut low, mut high) = (0.0, 200.0);
    for _ in 0..40 {
        let middle = 0.5 * (low + high);
        let total: f64 = size.iter().map(|size| part(*size, middle)).sum();
        if total > alpha { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middle_effects_get_most_and_mean_is_one() {
        let deviations = [0.001, 0.04, 0.06, 0.08, 2.0];
        let shares = shares(&deviations, 1e-4);
        assert!((shares.iter().sum::<f64>() / 5.0 - 1.0).abs() < 1e-6, "{shares:?}");
        assert!(shares[0] < 0.11 && shares[4] < 0.11, "{shares:?}");
        assert!(shares[1..4].iter().all(|s| *s > 0.5), "{shares:?}");
    }

    #[test]
    fn agrees_with_scipy() {
        // dev = np.array([.02, .05, .1, .4]); out = .1; for k in (1.2, 1.3, 1.5):
        //     z = np.minimum(np.log(k) / dev, 20); c = scipy.optimize.brentq(lambda c: norm.sf(z/2 + c/z).sum() - .005, 0, 200)
        //     p = norm.sf(z/2 + c/z); out = out + .3 * p * 4 / p.sum()
        let expected = [
            0.100_092_712_047_107_87,
            0.873_574_070_141_840_5,
            2.654_635_212_494_425,
            0.371_698_005_316_626_56,
        ];
        for (share, expected) in shares(&[0.02, 0.05, 0.1, 0.4], 0.005).into_iter().zip(expected) {
            assert!((share - expected).abs() < 1e-8, "{share} is not {expected}");
        }
    }

    #[test]
    fn equal_stages_get_equal_shares() {
        for deviation in [1e-3, 0.1, 3.0] {
            assert!(shares(&[deviation; 7], 0.02).iter().all(|s| (s - 1.0).abs() < 1e-6));
        }
        assert!(shares(&[], 0.02).is_empty());
    }
}
