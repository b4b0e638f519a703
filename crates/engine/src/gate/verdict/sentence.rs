//! A verdict's reason in one sentence that a developer understands: how much, against what, how
//! often it was seen, and how often chance would do the same.

use super::number_format::{change, counted, once_in, ratio};
use crate::gate::duration_model::fit::MIN_TO_CONFIRM;
use crate::model::comparison::StageVerdict;
use crate::stats::evidence::SlowMode;

/// What there is to tell of one stage.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    pub verdict: &'a StageVerdict,
    /// To the prediction.
    pub ratio: f64,
    pub increase_s: f64,
    pub baseline_samples: usize,
    /// Samples that were judged together.
    pub samples: usize,
    /// Samples that are needed to confirm.
    pub confirm: usize,
    /// How many times slower than usual the machine was.
    pub runner: f64,
    /// Chance that an unchanged pull request shows as much on some stage.
    pub probability: Option<f64>,
    pub slow: Option<SlowMode>,
    pub predicted_s: f64,
}

/// A machine that is faster or slower by less than this is not worth a word.
const MACHINE: f64 = 0.05;

/// The sentence, without a full stop.
#[must_use]
pub(crate) fn sentence(told: &Told) -> String {
    let past = counted(told.baseline_samples, "comparable run");
    let mut parts =
        vec![format!("{} the expected time ({past}), {}", ratio(told.ratio), change(told.increase_s))];
    parts.push(seen(told));
    parts.extend(told.probability.map(chance));
    parts.extend(slow_mode(told));
    let machine = if (told.runner - 1.0).abs() > MACHINE {
        format!(" (the runner's own {} is taken out)", ratio(told.runner))
    } else {
        String::new()
    };
    format!("{}{machine}", parts.join("; "))
}

fn seen(told: &Told) -> String {
    let seen = counted(told.samples, "run");
    match told.verdict {
        StageVerdict::Regressed | StageVerdict::Improved => format!("seen in {seen} of this change"),
        StageVerdict::Suspect if told.baseline_samples < MIN_TO_CONFIRM => {
            format!("seen in {seen}; {MIN_TO_CONFIRM} comparable runs are needed to confirm it")
        }
        StageVerdict::Suspect => {
            format!("seen in {seen} so far, {} judged together may confirm it", counted(told.confirm, "run"))
        }
        _ => "within what it usually does".to_owned(),
    }
}

fn chance(probability: f64) -> String {
    format!("chance would do this {} pull requests", once_in(probability))
}

/// A rare slow mode, where it matters: the sample may be one of it.
fn slow_mode(told: &Told) -> Option<String> {
    let slow = told.slow?;
    let is_near = told.ratio.ln() > 0.5 * slow.shift;
    let usually = format!(
        "{} of its runs are slow by {}",
        percent(slow.share),
        change(told.predicted_s * slow.shift.exp_m1())
    );
    match told.verdict {
        StageVerdict::Pass if is_near => Some(format!("{usually}, as this one")),
        StageVerdict::Suspect | StageVerdict::Regressed => Some(format!("{usually}, which is allowed for")),
        _ => None,
    }
}

fn percent(share: f64) -> String {
    format!("{:.0}%", (100.0 * share).max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rare_slow_mode_is_named_where_it_matters() {
        let slow = Some(SlowMode { shift: 2.0_f64.ln(), scale: 0.1, share: 0.18 });
        let told = |verdict, ratio| {
            sentence(&Told {
                verdict,
                ratio,
                increase_s: 30.0,
                baseline_samples: 60,
                samples: 2,
                confirm: 2,
                runner: 1.2,
                probability: None,
                slow,
                predicted_s: 60.0,
            })
        };
        assert!(
            told(&StageVerdict::Pass, 1.9).contains("18% of its runs are slow by +1 min 00 s, as this one")
        );
        assert!(!told(&StageVerdict::Pass, 1.02).contains("slow by"));
        assert!(told(&StageVerdict::Regressed, 3.0).contains("which is allowed for"));
        assert!(told(&StageVerdict::Pass, 1.0).ends_with("(the runner's own 1.20x is taken out)"));
    }
}
