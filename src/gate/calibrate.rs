//! How large is unusual: scales of the residuals, shrunk between stages, and the score that
//! the baseline's own runs rarely reach. Replays the past block by block; sees no candidate.

use super::fit::{CLOCK_S, FittedStage, MIN_SAMPLES, MIN_SCALE, Scale};
use crate::model::policy::GatePolicy;
use crate::stats::count;
use crate::stats::quantile::quantile;
use crate::stats::robust::{MAD_TO_DEVIATION, median_of};
use crate::stats::sample::Sample;

/// Share of past runs in which the highest score of all stages may exceed the threshold. One
/// such run only makes a suspicion; it takes two to confirm.
const ALPHA: f64 = 0.05;
/// A change below 3% is no evidence, however small the scatter.
const NO_CHANGE: f64 = 0.029_558_802_241_544_4;
/// Weight of the pipeline's typical scale, in samples (after Smyth 2004, "Linear models and
/// empirical Bayes methods", where it is fitted).
const PRIOR_SAMPLES: f64 = 10.0;
/// Runs over which "lately" goes.
const LATELY: usize = 20;
/// No calibration on few runs may make a smaller score suspicious.
const MIN_THRESHOLD: f64 = 2.0;
/// A stage that would have to be slower by more than this factor to reach its floor does not
/// take part in the calibration: its noise could never become a finding.
const MAX_FACTOR: f64 = 20.0;

/// Scores that the past rarely reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Towards slower.
    pub slower: f64,
    /// Towards faster.
    pub faster: f64,
}

/// Standard score of a residual beyond a negligible change; the scale is that of its side.
#[must_use]
pub fn score(residual: f64, scale: f64) -> f64 {
    (residual - NO_CHANGE) / scale
}

/// The residuals' median over the last runs before position `end`: slow drift is not a
/// regression of the change that comes next.
#[must_use]
pub fn local_level(residuals: &[(usize, f64)], end: usize) -> f64 {
    let recent = &residuals[end.saturating_sub(LATELY)..end];
    median_of(recent.iter().map(|(_, r)| *r)).unwrap_or(0.0)
}

/// Sets each stage's scales: the larger of the median deviation and of the tail (95% quantile
/// over 1.645), shrunk towards the typical stage, never below the floors.
pub fn scales(stages: &mut [FittedStage], residuals: &[Vec<(usize, f64)>]) {
    let raw: Vec<Scale> = stages.iter().zip(residuals).map(|(stage, r)| raw_scale(stage, r)).collect();
    let judged: Vec<bool> = stages.iter().map(|s| s.samples >= MIN_SAMPLES).collect();
    let typical = |side: fn(&Scale) -> f64| {
        let logs = raw.iter().zip(&judged).filter(|(_, j)| **j).map(|(s, _)| side(s).ln());
        median_of(logs).map_or(0.1, f64::exp)
    };
    let typical = Scale { slower: typical(|s| s.slower), faster: typical(|s| s.faster) };
    for (stage, raw) in stages.iter_mut().zip(raw) {
        let n = count(stage.samples);
        let shrink = |own: f64, typical: f64| {
            ((n * own * own + PRIOR_SAMPLES * typical * typical) / (n + PRIOR_SAMPLES)).sqrt()
        };
        stage.scale =
            Scale { slower: shrink(raw.slower, typical.slower), faster: shrink(raw.faster, typical.faster) };
    }
}

fn raw_scale(stage: &FittedStage, residuals: &[(usize, f64)]) -> Scale {
    let floor = MIN_SCALE.max(0.5 * CLOCK_S / stage.predicted_s());
    let values: Vec<f64> = residuals.iter().map(|(_, r)| *r).collect();
    let middle = median_of(values.iter().map(|r| r.abs())).unwrap_or(0.0) * MAD_TO_DEVIATION;
    let Ok(sample) = Sample::new(values) else { return Scale { slower: floor, faster: floor } };
    // 1.645 = Φ⁻¹(.95)
    let tail = |p: f64| quantile(&sample, p).abs() / 1.645;
    Scale { slower: middle.max(tail(0.95)).max(floor), faster: middle.max(tail(0.05)).max(floor) }
}

/// Replays the baseline: each past run is scored against the runs before it, the highest score
/// over the stages is one draw of what chance does, and the threshold is what `ALPHA` of the
/// draws exceed.
#[must_use]
pub fn calibrate(
    stages: &[FittedStage],
    residuals: &[Vec<(usize, f64)>],
    runs: usize,
    policy: &GatePolicy,
) -> Thresholds {
    let mut slower = vec![f64::NEG_INFINITY; runs];
    let mut faster = slower.clone();
    for (stage, residuals) in stages.iter().zip(residuals) {
        if !can_be_a_finding(stage, policy) {
            continue;
        }
        let first = (residuals.len() / 3).clamp(4, 10);
        for (at, (run, residual)) in residuals.iter().enumerate().skip(first) {
            let change = residual - local_level(residuals, at);
            slower[*run] = slower[*run].max(score(change, stage.scale.slower));
            faster[*run] = faster[*run].max(score(-change, stage.scale.faster));
        }
    }
    Thresholds { slower: rarely_exceeded(&slower), faster: rarely_exceeded(&faster) }
}

fn can_be_a_finding(stage: &FittedStage, policy: &GatePolicy) -> bool {
    let rule = policy.stage(&stage.path);
    stage.samples >= MIN_SAMPLES
        && !rule.ignore
        && stage.median_s * (MAX_FACTOR - 1.0) >= rule.floors.min_increase.as_secs_f64()
}

/// The larger of the draws' conformal quantile and the quantile of a Gumbel distribution with
/// their mean and deviation: the first is honest about what was seen, the second about the
/// tail beyond it.
fn rarely_exceeded(draws: &[f64]) -> f64 {
    let Ok(sample) = Sample::new(draws.iter().copied().filter(|d| d.is_finite()).collect()) else {
        return f64::INFINITY;
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and n + 1")]
    let rank = ((1.0 - ALPHA) * (count(sample.size()) + 1.0)).ceil() as usize;
    let conformal = sample.values()[rank.min(sample.size()) - 1];
    // Method of moments: deviation = π β / √6, mean = location + γ β.
    let beta = sample.standard_deviation() * 6.0_f64.sqrt() / std::f64::consts::PI;
    let gumbel = sample.mean() - 0.577_215_664_901_532_9 * beta - beta * (-(1.0 - ALPHA).ln()).ln();
    conformal.max(gumbel).max(MIN_THRESHOLD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_agrees_with_its_formula() {
        // m = np.sort([2.1, 3.4, 1.9, 2.7, 4.0, 2.2]); b = m.std(ddof=1) * 6**.5 / np.pi
        // max(m[-1], m.mean() - np.euler_gamma * b - b * np.log(-np.log(.95)))
        let threshold = rarely_exceeded(&[2.1, 3.4, 1.9, f64::NEG_INFINITY, 2.7, 4.0, 2.2]);
        assert!((threshold - 4.261_640_984_058_578_5).abs() < 1e-9, "{threshold}");
        assert!((rarely_exceeded(&[-1.5; 30]) - MIN_THRESHOLD).abs() < f64::EPSILON);
        assert!(rarely_exceeded(&[]).is_infinite());
    }

    #[test]
    fn three_percent_is_no_change() {
        assert!((NO_CHANGE - 1.03_f64.ln()).abs() < 1e-15);
        assert!(score(1.03_f64.ln(), 0.02).abs() < 1e-12);
    }
}
