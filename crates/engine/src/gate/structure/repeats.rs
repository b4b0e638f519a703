//! Distinguishes more work from slower work, by how often a stage ran and how long one repetition took.

use super::usual::{Usual, each_s, log_ratio};
use crate::gate::verdict::number_format::{duration, number, ratio};
use crate::model::run::RunResult;
use crate::model::stage::StageSample;
use crate::model::structure::{EachTime, Repetition};

/// Smallest relative difference of two counts.
const OTHER_COUNT: f64 = 0.1;

/// A stage's repetitions, when their number is unusual.
/// - `min_ratio` is the smallest reported ratio of durations.
/// - `runner` is the factor of the machine's speed. The time of one repetition is as before if it is so
///   with or without this factor, because not every stage follows the machine's speed.
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

/// Describes a repetition as the end of a sentence about its stage: `ran 9 times, usually 4; ...: more
/// work, not slower work`.
#[must_use]
pub fn sentence(repetition: &Repetition) -> String {
    let Repetition { count, usual_count, each_s, usual_each_s, each } = *repetition;
    let counts = f64::from(count) / usual_count;
    let times = log_ratio(each_s, usual_each_s).exp();
    let is_the_same = (counts * times - 1.0).abs() < OTHER_COUNT;
    let means = match (counts > 1.0, each) {
        (true, EachTime::AsBefore) => "more work, not slower work",
        (true, EachTime::Longer) => "more work, and slower work",
        (true, EachTime::Shorter) if is_the_same => "the same work in more parts",
        (true, EachTime::Shorter) => "more parts, and shorter ones",
        (false, EachTime::AsBefore) => "less work, not faster work",
        (false, EachTime::Longer) if is_the_same => "the same work in fewer parts",
        (false, EachTime::Longer) => "fewer parts, and longer ones",
        (false, EachTime::Shorter) => "less work, and faster work",
    };
    let usually = if (usual_count - usual_count.round()).abs() < 0.05 {
        format!("{usual_count:.0}")
    } else {
        format!("{usual_count:.1}")
    };
    let often = match count {
        1 => "once".to_owned(),
        n => format!("{} times", number(n as usize)),
    };
    let time = match each {
        EachTime::AsBefore => format!("{} each, as before", duration(each_s)),
        _ => format!("{} each, usually {}", duration(each_s), duration(usual_each_s)),
    };
    format!(
        "ran {often}, usually {usually}; {time} ({} the count, {} the time each, {} in all): {means}",
        ratio(counts),
        ratio(times),
        ratio(counts * times)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::tests::fixture::stage;

    #[test]
    fn more_work_is_not_slower_work() {
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
        let described = |count: u32, each: f64, runner: f64| {
            let mut sample = stage("ci / shard", 0.0, each * f64::from(count));
            sample.count = count;
            repetition(&usual, &sample, 1.1, runner).map(|r| (sentence(&r), is_unseen(&usual, &r)))
        };
        let ending = |count, each, runner| {
            described(count, each, runner)
                .map(|(text, _)| text.rsplit(": ").next().unwrap_or_default().to_owned())
        };
        for (count, each, runner, expected) in [
            (4, 9.0, 1.0, None),
            (9, 2.1, 1.0, Some("more work, not slower work")),
            (9, 3.0, 1.0, Some("more work, and slower work")),
            (9, 2.6, 1.3, Some("more work, not slower work")),
            (9, 2.0, 1.3, Some("more work, not slower work")),
            (8, 1.0, 1.0, Some("the same work in more parts")),
            (8, 0.5, 1.0, Some("more parts, and shorter ones")),
            (2, 2.0, 1.0, Some("less work, not faster work")),
            (2, 4.0, 1.0, Some("the same work in fewer parts")),
            (2, 8.0, 1.0, Some("fewer parts, and longer ones")),
            (2, 1.0, 1.0, Some("less work, and faster work")),
        ] {
            assert_eq!(ending(count, each, runner).as_deref(), expected, "{count} x {each} on {runner}");
        }
        let (text, unseen) = described(9, 2.1, 1.0).expect("another count");
        assert!(unseen);
        assert!(!described(5, 2.0, 1.0).expect("another count").1, "a run of the baseline had five");
        assert_eq!(
            text,
            "ran 9 times, usually 4; 2.1 s each, as before (2.25x the count, 1.05x the time each, 2.36x in all): \
             more work, not slower work"
        );
    }
}
