//! The probability of an amount of evidence when nothing changed, learned from past blocks without a
//! change. The tail starts at the evidence that one block in twenty exceeds, and it is exponential.
//! All series share its slope. Each series has its own rate of reaching it.

use super::count;
use super::matrix::Matrix;

/// Share of the pooled evidence in the tail.
const TAIL_SHARE: f64 = 0.05;
/// Weight of the slope of a Student tail, in exceedances.
const SLOPE_PRIOR: f64 = 20.0;
/// Weight of the common rate, in blocks.
const RATE_PRIOR: f64 = 2.0;

/// The tail of the evidence when nothing changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Tail {
    /// The evidence at which the tail begins.
    start: f64,
    /// P(evidence > start + h) = rate exp(-slope h).
    slope: f64,
    /// For each series, the share of its blocks that exceed the start.
    rates: Vec<f64>,
}

impl Tail {
    /// Learns from the evidence of past blocks (rows) of each series (columns).
    /// - Each block has `block` consecutive samples, so that neighbouring blocks overlap.
    /// - `degrees` is the noise's ν. The prior of the slope is ν/(ν+1), the slope of the logarithm of
    ///   a Student tail.
    #[must_use]
    pub fn learn(evidence: &Matrix, block: usize, degrees: f64) -> Self {
        let (blocks, series) = (evidence.rows(), evidence.columns());
        let size = blocks * series;
        let mut pooled: Vec<f64> = (0..blocks).flat_map(|row| evidence.row(row)).copied().collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
        let exceeding = ((TAIL_SHARE * count(size)) as usize).max(1);
        let start = if size > exceeding {
            *pooled.select_nth_unstable_by(size - exceeding - 1, f64::total_cmp).1
        } else {
            0.0
        };
        let mut counts = vec![0.0; series];
        let mut excess = 0.0;
        for row in 0..blocks {
            for (n, x) in counts.iter_mut().zip(evidence.row(row)) {
                *n += f64::from(u8::from(*x > start));
                excess += (x - start).max(0.0);
            }
        }
        let own = degrees / (degrees + 1.0);
        let independent = count(exceeding) / count(block);
        let slope = ((independent + SLOPE_PRIOR) / (excess / count(block) + SLOPE_PRIOR / own)).min(1.0);
        let prior = RATE_PRIOR * count(block);
        let rate = |n: &f64| TAIL_SHARE * (n + prior) / (TAIL_SHARE * count(blocks) + prior);
        Self { start, slope, rates: counts.iter().map(rate).collect() }
    }

    /// The same tail, with one rate for all series.
    #[must_use]
    pub fn with_one_rate(mut self) -> Self {
        self.rates.fill(TAIL_SHARE);
        self
    }

    #[must_use]
    pub fn start(&self) -> f64 {
        self.start
    }

    #[must_use]
    pub fn slope(&self) -> f64 {
        self.slope
    }

    #[must_use]
    pub fn rate(&self, series: usize) -> f64 {
        self.rates[series]
    }

    /// The probability that a series without a change reaches this evidence. It is not known below
    /// the tail, where this returns 1.
    #[must_use]
    pub fn probability(&self, series: usize, evidence: f64) -> f64 {
        if evidence > self.start {
            self.rates[series] * (-self.slope * (evidence - self.start)).exp()
        } else {
            1.0
        }
    }

    /// The evidence that a series without a change reaches with this probability.
    #[must_use]
    pub fn evidence_at(&self, series: usize, probability: f64) -> f64 {
        self.start + (self.rates[series] / probability).ln().max(0.0) / self.slope
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probability_agrees_with_numpy() {
        // i = np.arange(40).reshape(20, 2); x = (i * 7 % 40) / 4; q = np.sort(x.ravel()); k = 2; n = 2
        // u0 = q[-k - 1]; slope = (k / n + 20) / ((np.maximum(x - u0, 0)).sum() / n + 20 / (4 / 5))
        // rate = .05 * ((x > u0).sum(0) + 4) / (.05 * 20 + 4); rate * np.exp(-slope * (12 - u0))
        let mut x = Matrix::filled(20, 2, 0.0);
        for (i, value) in (0_u8..40).map(|i| f64::from(u32::from(i) * 7 % 40) / 4.0).enumerate() {
            x.set(i / 2, i % 2, value);
        }
        let tail = Tail::learn(&x, 2, 4.0);
        for series in [0, 1] {
            let probability = tail.probability(series, 12.0);
            assert!((probability - 0.005_135_416_429_861_182_5).abs() < 1e-15, "{probability}");
            assert!((tail.probability(series, 9.25) - 1.0).abs() < 1e-15, "not known below the tail");
        }
    }

    #[test]
    fn evidence_at_inverts_probability() {
        let mut x = Matrix::filled(50, 2, 0.0);
        (0..50_u8).for_each(|row| x.set(usize::from(row), 0, f64::from(row) / 10.0));
        let tail = Tail::learn(&x, 1, 6.0);
        for probability in [1e-2, 1e-4, 1e-9, 1e-300] {
            for series in [0, 1] {
                let back = tail.probability(series, tail.evidence_at(series, probability));
                assert!((back / probability - 1.0).abs() < 1e-9, "{probability}: {back}");
            }
        }
        assert!(tail.probability(0, 9.0) > tail.probability(1, 9.0), "a wild series gets there more often");
    }

    #[test]
    fn empty_history_gives_the_prior() {
        for (blocks, series) in [(0, 2), (0, 0), (1, 1)] {
            let tail = Tail::learn(&Matrix::filled(blocks, series, 0.0), 2, 4.0);
            // 0.05 at the start 0, and the slope 4/5 of Student's t
            for at in 0..series {
                let probability = tail.probability(at, 5.0);
                assert!((0.0..0.05 * (-3.9_f64).exp()).contains(&probability), "{probability}");
            }
        }
    }
}
