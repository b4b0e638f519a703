//! What a replay advises: gate or advisory, and how to see more. Sentences, each with the
//! number it stands on.

use super::{number_format, percent};
use pacegate_engine::gate::replay::summary::Replay;
use pacegate_engine::gate::replay::{MIN_SLOWED_S, SIZES};

/// Confirmed alarms up to this share are what the gate promises.
const RARE: f64 = 0.02;
/// Above this share a gate would be switched off by those it blocks.
const OFTEN: f64 = 0.05;
/// A share that may as well be this one is not known.
const UNKNOWN: f64 = 0.1;

/// The sentences, the most important first; at least one.
pub(super) fn advice(replay: &Replay) -> Vec<String> {
    let alarms = replay.ours.alarms.confirmed.unwrap_or(0.0);
    let rate = percent(Some(alarms));
    let first = if alarms > OFTEN {
        format!(
            "- Stay with `mode: advisory`: {rate} of pull requests would have been blocked. Look at the alarms above; \
             a stage that raises them for no reason can be given a wider floor or be ignored (`stages` in the policy)."
        )
    } else if replay.alarm_interval.1 > UNKNOWN {
        format!(
            "- Begin with `mode: advisory`: {} independent pull requests can't tell {rate} from {}. Replay again when \
             the history is longer.",
            number_format::number(replay.independent),
            percent(Some(replay.alarm_interval.1))
        )
    } else if alarms > RARE {
        format!(
            "- Begin with `mode: advisory` and look at the alarms above: {rate} of pull requests would have been \
             blocked. If most of them were real, `mode: gate` is sound."
        )
    } else {
        format!("- `mode: gate` is sound here: {rate} of unchanged pull requests would have been blocked.")
    };
    std::iter::once(first).chain(sensitivity(replay)).collect()
}

/// From which size on most slowdowns are found.
fn sensitivity(replay: &Replay) -> Option<String> {
    if replay.slowed == 0 {
        return Some(format!(
            "- No stage that usually takes {MIN_SLOWED_S:.0} s or more is in every run of a pull request: nothing could be \
             slowed to see what is found."
        ));
    }
    if replay.settings.commits < 2 {
        return None;
    }
    let found = |at: usize| replay.ours.recall[at].confirmed.unwrap_or(0.0);
    Some(match (0..SIZES.len()).find(|at| found(*at) >= 0.5) {
        Some(at) => format!(
            "- A stage that takes {:.0}% longer is found in {} of cases. More pushes find smaller slowdowns: `--commits` \
             shows how much.",
            (SIZES[at] - 1.0) * 100.0,
            percent(Some(found(at)))
        ),
        None => format!(
            "- Little is found here: of stages that take twice as long {}. The stages are few, noisy, or run on machines \
             of their own; more runs of the base branch and more pushes help.",
            percent(Some(found(SIZES.len() - 1)))
        ),
    })
}
