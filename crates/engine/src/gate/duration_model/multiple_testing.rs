//! Turns one stage's evidence into a probability: that an unchanged pull request shows as much on any
//! stage, at any of the decisions made while it is open. The limit on it, `ALPHA`, is the same for
//! every repository.

use std::sync::OnceLock;

use super::alpha_allocation::shares;
use super::{Direction, DurationModel};
use crate::stats::count;
use crate::stats::evidence::{Evidence, MAX_BLOCK};
use crate::stats::tail::Tail;

/// Nominal probability of a false alarm in a pull request of four pushes. It was set by measurement:
/// at this value at most one unchanged pull request in fifty is flagged by two samples together
/// (`cargo bench --bench detection`).
pub const ALPHA: f64 = 0.025;

/// Most samples of a change that are judged together; older samples are less informative.
pub const MAX_SAMPLES: usize = 4;

/// Factor on the probability of one decision: how often a pull request of four pushes is judged by
/// this number of samples; for 3 and 4 samples four and eight times that. Two samples are the first
/// that can confirm a finding, so they get most of the allowed false alarms. Longer blocks then add almost
/// nothing to the false alarms (`cargo bench --bench detection`).
fn decisions(samples: usize) -> f64 {
    match samples {
        0 | 1 => 4.0,
        2 => 3.0,
        _ => 8.0,
    }
}

/// The stages that can become findings: the family of hypotheses over which false alarms are
/// controlled. Tails of the null distribution are learned at first use and kept.
#[derive(Debug, Clone)]
pub struct HypothesisFamily {
    /// Columns of the model.
    members: Vec<usize>,
    /// By column: its position among the members.
    place: Vec<Option<usize>>,
    /// By member: its share of the allowed false alarms; 1 is an equal share.
    shares: Vec<f64>,
    slower: [OnceLock<Tail>; MAX_BLOCK],
    faster: [OnceLock<Tail>; MAX_BLOCK],
}

/// The result of a block of one stage's samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    /// Likelihood of "changed" against "unchanged".
    pub evidence: Evidence,
    /// Probability that an unchanged pull request shows as much on any stage, 0 to 1.
    pub probability: f64,
    /// The evidence at which that probability is [`ALPHA`].
    pub threshold: f64,
    /// Tail of the null distribution: where it begins, its slope, and how often this stage reaches it.
    pub tail: (f64, f64, f64),
    /// Stages of the family, decisions, and this stage's share. The probability of one stage is
    /// multiplied by the first two and divided by the third.
    pub tests: (usize, f64, f64),
}

impl Finding {
    /// Whether the probability is below [`ALPHA`].
    #[must_use]
    pub fn is_rare(&self) -> bool {
        self.probability < ALPHA
    }
}

impl HypothesisFamily {
    /// The family of these columns of a model.
    #[must_use]
    pub fn new(model: &DurationModel, members: Vec<usize>) -> Self {
        let mut place = vec![None; model.stages()];
        for (at, column) in members.iter().enumerate() {
            place[*column] = Some(at);
        }
        let deviations: Vec<f64> = members.iter().map(|column| model.deviation_of_mean(*column, 2)).collect();
        let of_one_decision = ALPHA / decisions(2);
        let shares = if model.ablation().allocation {
            shares(&deviations, of_one_decision)
        } else {
            vec![1.0; members.len()]
        };
        Self { shares, members, place, slower: Default::default(), faster: Default::default() }
    }

    /// Judges new deviations of a column, all of them finite. None for a column outside the family,
    /// without deviations, and for more than [`MAX_BLOCK`].
    #[must_use]
    pub fn judge(
        &self,
        model: &DurationModel,
        column: usize,
        deviations: &[f64],
        direction: Direction,
    ) -> Option<Finding> {
        self.judge_on(model, column, deviations, direction, 0.0)
    }

    /// The same on runners that differ from the usual one by up to `runner_speed`, ln of a factor.
    #[must_use]
    pub fn judge_on(
        &self,
        model: &DurationModel,
        column: usize,
        deviations: &[f64],
        direction: Direction,
        runner_speed: f64,
    ) -> Option<Finding> {
        let place = (*self.place.get(column)?)?;
        let block = deviations.len();
        let tails = if direction == Direction::Slower { &self.slower } else { &self.faster };
        let tail = tails
            .get(block.checked_sub(1)?)?
            .get_or_init(|| model.null_tail(&self.members, block, direction));
        let evidence = model.evidence_on(column, deviations, direction, runner_speed);
        let (stages, decisions, share) = (self.members.len(), decisions(block), self.shares[place]);
        let tests = count(stages) * decisions / share;
        Some(Finding {
            evidence,
            probability: (tail.probability(place, evidence.ln_ratio) * tests).min(1.0),
            threshold: tail.evidence_at(place, ALPHA / tests),
            tail: (tail.start(), tail.slope(), tail.rate(place)),
            tests: (stages, decisions, share),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::duration_model::Observations;
    use crate::gate::duration_model::ablation::Ablation;
    use crate::gate::duration_model::runner_speed::ReferenceStages;
    use crate::gate::tests::fixture::Lcg;
    use crate::stats::matrix::Matrix;

    /// Six leaves over 40 runs, noisy by 10%.
    fn model() -> DurationModel {
        let mut rng = Lcg::new(3);
        let mut logs = Matrix::filled(40, 6, 0.0);
        for run in 0..40 {
            logs.row_mut(run).iter_mut().for_each(|log| *log = 4.0 + 0.1 * rng.normal());
        }
        let within: Vec<Vec<usize>> = (0..6).map(|i| vec![i]).collect();
        DurationModel::fit(&Observations {
            logs,
            clock_s: vec![0.001; 6],
            rare_state: vec![None; 6],
            ablation: Ablation::ALL,
            reference_stages: ReferenceStages::new(&[true; 6], &[None; 6], &within),
        })
    }

    #[test]
    fn four_pushes_have_expected_decision_counts() {
        // One sample on each push, two from the second on; three at 2 x 4, four at 1 x 8.
        for (samples, times) in [(1, 4.0), (2, 3.0), (3, 8.0), (4, 8.0), (8, 8.0)] {
            assert!((decisions(samples) - times).abs() < f64::EPSILON, "{samples}");
        }
    }

    #[test]
    fn probability_is_corrected_for_tests_and_share() {
        let model = model();
        let family = HypothesisFamily::new(&model, vec![1, 2, 4]);
        for (direction, sign) in [(Direction::Slower, 1.0), (Direction::Faster, -1.0)] {
            let samples = [0.35 * sign, 0.4 * sign];
            let found = family.judge(&model, 2, &samples, direction).expect("a member");
            let tail = model.null_tail(&[1, 2, 4], 2, direction);
            let of_stage = tail.probability(1, found.evidence.ln_ratio);
            assert!((found.probability - of_stage * 3.0 * 3.0 / family.shares[1]).abs() < 1e-15);
            assert_eq!(found.is_rare(), found.evidence.ln_ratio > found.threshold, "{found:?}");
        }
    }

    #[test]
    fn only_members_and_valid_blocks_are_judged() {
        let model = model();
        let family = HypothesisFamily::new(&model, vec![1, 2, 4]);
        let judge = |column, n| family.judge(&model, column, &vec![0.1; n], Direction::Slower).is_some();
        assert!(judge(1, 1) && judge(4, MAX_BLOCK));
        assert!(!judge(0, 1) && !judge(99, 1) && !judge(1, 0) && !judge(1, MAX_BLOCK + 1));
    }
}
