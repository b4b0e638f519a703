//! Distinguishes more work from slower work, by how often a stage ran and how long one repetition took.

use super::usual::{Usual, each_s, log_ratio};
use crate::model::run::RunResult;
use crate::model::stage::StageSample;
use crate::model::structure::{EachTime, Repetition};

/// Smallest relative difference of two counts.
const OTHER_COUNT: f64 = 0.1;

/// A stage's repetitions, when their number is unusual.
/// - `min_ratio` is the smallest reported ratio of durations.
/// - `runner` is the factor of the runner's speed. The time of one repetition counts as unchanged if it
///   is similar with or without this factor, because not every stage follows the runner's speed.
#[must_use]
pub(super) fn repetition(
    usual: &Usual,
    sample: &StageSample,
    min_ratio: f64,
    runner: f64,
) -> Option<Repetition> {
    let usual_count = usual.count.max(1.0);
    let count = sample.count.max(1);
    let differs = (f64::from(count) / usual_count - 1.0).abs() >= OTHER_COUNT;
    if sample.result != RunResult::Success || !differs {
        return None;
    }
    let each_s = each_s(sample);
    let raw = log_ratio(each_s, usual.each_s);
    let adjusted = raw - runner.ln();
    let longer = if raw.abs() < adjusted.abs() { raw } else { adjusted };
    let each = match longer {
        r if r.abs() <= usual.spread.max(min_ratio.ln()) => EachTime::AsBefore,
        r if r > 0.0 => EachTime::Longer,
        _ => EachTime::Shorter,
    };
    Some(Repetition { count, usual_count, each_s, usual_each_s: usual.each_s, each })
}

/// Whether the count is outside the range of the baseline's counts.
#[must_use]
pub(super) fn is_unseen(usual: &Usual, repetition: &Repetition) -> bool {
    repetition.count > usual.most || repetition.count < usual.least
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::tests::fixture::stage;

    #[test]
    fn time_of_each_is_compared_apart() {
        let usual = Usual {
            runs: 40,
            count: 4.0,
            least: 4,
            most: 5,
            seconds: 8.0,
            each_s: 2.0,
            spread: 0.05,
            start_ns: 0.0,
        };
        let of = |count: u32, each: f64, runner: f64| {
            let mut sample = stage("ci / shard", 0.0, each * f64::from(count));
            sample.count = count;
            repetition(&usual, &sample, 1.1, runner)
        };
        for (count, each, runner, expected) in [
            (4, 9.0, 1.0, None),
            (9, 2.1, 1.0, Some(EachTime::AsBefore)),
            (9, 3.0, 1.0, Some(EachTime::Longer)),
            (9, 2.6, 1.3, Some(EachTime::AsBefore)),
            (9, 2.0, 1.3, Some(EachTime::AsBefore)),
            (8, 1.0, 1.0, Some(EachTime::Shorter)),
            (2, 2.0, 1.0, Some(EachTime::AsBefore)),
            (2, 4.0, 1.0, Some(EachTime::Longer)),
        ] {
            let found = of(count, each, runner).map(|repetition| repetition.each);
            assert_eq!(found, expected, "{count} x {each} on {runner}");
        }
        let more = of(9, 2.1, 1.0).expect("another count");
        assert!(is_unseen(&usual, &more));
        assert!((more.count_ratio() - 2.25).abs() < 1e-12 && (more.time_ratio() - 1.05).abs() < 1e-9);
        assert!(!is_unseen(&usual, &of(5, 2.0, 1.0).expect("another count")), "a baseline run had five");
    }
}
