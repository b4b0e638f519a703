//! How often chance reaches some evidence, learned from blocks of a past in which nothing
//! changed: beyond the level that one block in twenty exceeds, an exponential tail whose
//! slope all series share, and each series' own rate of getting there.

use super::count;
use super::matrix::Matrix;

/// Share of the pooled evidence beyond which the tail begins.
const TAIL_SHARE: f64 = 0.05;
/// Weight of the slope that a Student tail has by itself, in exceedances.
const SLOPE_PRIOR: f64 = 20.0;
/// Weight of the common rate, in blocks.
const RATE_PRIOR: f64 = 2.0;

/// The tail of the evidence when nothing changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Tail {
    /// Where it begins.
    start: f64,
    /// P(evidence > start + h) = rate exp(-slope h).
    slope: f64,
    /// Of each series: how often its blocks reach the start.
    rates: Vec<f64>,
}

impl Tail {
    /// From the evidence of past blocks (rows) of each series (columns), each of `block`
    /// consecutive samples, so that neighbours overlap; `degrees` are the noise's. A slope prior
    /// of ν/(ν+1) is that of a Student tail's own logarithm.
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

    /// The same for series that all reach the tail equally often.
    #[must_use]
    pub fn with_one_rate(mut self) -> Self {
        self.rates.fill(TAIL_SHARE);
        self
    }

    /// Where the tail begins.
    #[must_use]
    pub fn start(&self) -> f64 {
        self.start
    }

    /// How fast it falls.
    #[must_use]
    pub fn slope(&self) -> f64 {
        self.slope
    }

    /// How often a series reaches its start.
    #[must_use]
    pub fn rate(&self, series: usize) -> f64 {
        self.rates[series]
    }

    /// The chance that a series in which nothing changed reaches this evidence; 1 below the
    /// tail, where it is not known.
    #[must_use]
    pub fn probability(&self, series: usize, evidence: f64) -> f64 {
        if evidence > self.start {
            self.rates[series] * (-self.slope * (evidence - self.start)).exp()
        } else {
            1.0
        }
    }

    /// The evidence that chance reaches with this probability.
    #[must_use]
    pub fn evidence_at(&self, series: usize, probability: f64) -> f64 {
        self.start + (self.rates[series] / probability).ln().max(0.0) / self.slope
    }
}
