//! Rates of rare events: a one-sided test of "more often now than before", its correction for many
//! tests, and the probability of an event of a new kind. Counts have an upper bound in their type,
//! which bounds the time of a test.

use statrs::function::beta::ln_beta;
use statrs::function::factorial::ln_binomial;

use super::count;

/// The largest accepted count.
pub const LARGEST: usize = 100_000;

/// The reason why two numbers are not a valid count of occurrences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    #[error("{occurred} occurrences are more than the {occasions} occasions")]
    MoreThanAll { occurred: usize, occasions: usize },
    #[error("{0} occasions are more than the limit of {LARGEST}")]
    TooMany(usize),
}

/// How often something occurred in a number of occasions. There are at most [`LARGEST`] occasions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occurrences {
    occurred: usize,
    occasions: usize,
}

impl Occurrences {
    /// `occurred` of `occasions`. Both may be 0.
    pub fn new(occurred: usize, occasions: usize) -> Result<Self, RateError> {
        if occurred > occasions {
            return Err(RateError::MoreThanAll { occurred, occasions });
        }
        if occasions > LARGEST {
            return Err(RateError::TooMany(occasions));
        }
        Ok(Self { occurred, occasions })
    }
}

/// The probability of at least as many occurrences as `now`, predicted from `before`: the upper tail
/// of a beta-binomial distribution. Its rate has the posterior Beta(1/2 + k0, 1/2 + n0 - k0) of
/// Jeffreys' prior (Gelman et al., *Bayesian Data Analysis*, 3rd ed., sections 2.4 and 2.8).
#[must_use]
pub fn predicted_tail(now: Occurrences, before: Occurrences) -> f64 {
    if now.occurred == 0 {
        return 1.0;
    }
    let n = count(now.occasions);
    let a = 0.5 + count(before.occurred);
    let b = 0.5 + count(before.occasions - before.occurred);
    let first = count(now.occurred);
    let choices = ln_binomial(now.occasions as u64, now.occurred as u64);
    let mut probability = (choices + ln_beta(a + first, b + n - first) - ln_beta(a, b)).exp();
    let mut tail = 0.0;
    for i in now.occurred..=now.occasions {
        tail += probability;
        let k = count(i);
        // The ratio of neighbouring terms. It is 0 after the last.
        probability *= (n - k) / (k + 1.0) * (a + k) / (b + n - k - 1.0);
    }
    tail.clamp(0.0, 1.0)
}

/// The p-values, in their order, adjusted for multiple tests by Holm's step-down procedure (Holm
/// 1979, Scandinavian Journal of Statistics 6). Rejecting those of at most `alpha` keeps the
/// probability of any false rejection at or below `alpha`. NaN counts as 1.
#[must_use]
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let p = |i: usize| if p_values[i].is_nan() { 1.0 } else { p_values[i].clamp(0.0, 1.0) };
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p(*a).total_cmp(&p(*b)));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (rank, place) in order.iter().enumerate() {
        largest = largest.max(p(*place) * count(p_values.len() - rank)).min(1.0);
        adjusted[*place] = largest;
    }
    adjusted
}

/// Good-Turing's estimate of the probability that the next observation is of a new kind (Good 1953,
/// Biometrika 40): the share of the observations whose kind was seen once. None without observations.
#[must_use]
pub fn unseen_probability(kinds_seen_once: usize, observations: usize) -> Option<f64> {
    (observations > 0).then(|| (count(kinds_seen_once) / count(observations)).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(occurred: usize, occasions: usize) -> Occurrences {
        Occurrences::new(occurred, occasions).expect("a count")
    }

    #[test]
    fn tails_agree_with_scipy() {
        // betabinom.pmf(arange(k, n + 1), n, .5 + k0, .5 + n0 - k0).sum(), because betabinom.sf
        // subtracts a small tail from 1
        for (k, n, k0, n0, wanted) in [
            (3, 3, 6, 143, 1.359_283_971_028_187e-4),
            (2, 2, 6, 143, 2.334_770_114_940_765e-3),
            (1, 3, 6, 143, 0.128_548_284_718_940_3),
            (2, 4, 0, 60, 1.128_182_859_440_496_3e-3),
            (5, 8, 30, 100, 0.066_754_502_572_445_08),
            (0, 3, 6, 143, 1.0),
            (8, 8, 100, 100, 0.962_339_549_004_837_9),
            (3, 3, 0, 0, 0.312_499_999_999_999_9),
            (700, 1_000, 5_000, 9_000, 3.682_943_531_186_088_5e-19),
        ] {
            let tail = predicted_tail(of(k, n), of(k0, n0));
            assert!((tail / wanted - 1.0_f64).abs() < 1e-8, "{k} of {n}, {k0} of {n0}: {tail}");
        }
    }

    #[test]
    fn invalid_counts_are_refused_and_largest_works() {
        assert_eq!(Occurrences::new(4, 3), Err(RateError::MoreThanAll { occurred: 4, occasions: 3 }));
        assert_eq!(Occurrences::new(1, usize::MAX), Err(RateError::TooMany(usize::MAX)));
        for (k, k0) in [(0, 0), (1, 0), (1, LARGEST), (LARGEST, 0), (LARGEST, LARGEST), (LARGEST / 2, 7)] {
            let (now, before) = (of(k, LARGEST), of(k0, LARGEST));
            let p = predicted_tail(now, before);
            assert!((0.0..=1.0).contains(&p), "{now:?} {before:?}: {p}");
        }
    }

    #[test]
    fn holm_agrees_with_its_definition() {
        // numpy: r[o] = minimum(1, maximum.accumulate(p[o] * (m - arange(m)))), o = argsort(p)
        let cases: [(&[f64], &[f64]); 4] = [
            (&[0.01, 0.04, 0.03, 0.005], &[0.03, 0.06, 0.06, 0.02]),
            (&[0.2, 0.001, 0.001, 0.9, 0.02], &[0.4, 0.005, 0.005, 0.9, 0.06]),
            (&[f64::NAN, -1.0, f64::INFINITY], &[1.0, 0.0, 1.0]),
            (&[], &[]),
        ];
        for (p_values, wanted) in cases {
            let adjusted = holm(p_values);
            assert_eq!(adjusted.len(), wanted.len());
            assert!(adjusted.iter().zip(wanted).all(|(a, w)| (a - w).abs() < 1e-12), "{adjusted:?}");
        }
    }

    #[test]
    fn unseen_probability_is_share_seen_once() {
        assert_eq!(unseen_probability(0, 0), None);
        assert_eq!(unseen_probability(13, 100), Some(0.13));
        assert_eq!((unseen_probability(0, 9), unseen_probability(9, 3)), (Some(0.0), Some(1.0)));
    }
}
