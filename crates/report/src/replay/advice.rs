//! The advice of a replay: which mode to use, and how to find smaller slowdowns. Each sentence has the
//! number it is based on.

use super::{number_format, percent};
use pacegate_engine::gate::replay::summary::Replay;
use pacegate_engine::gate::replay::{MIN_SLOWED_S, SIZES};

/// The gate is designed for confirmed alarms up to this share.
const RARE: f64 = 0.02;
/// Above this share, the blocked people would switch the gate off.
const OFTEN: f64 = 0.05;
/// If the interval of the share reaches this value, the share counts as unknown.
const UNKNOWN: f64 = 0.1;

/// The sentences, the most important first; at least one.
pub(super) fn advice(replay: &Replay) -> Vec<String> {
    let alarms = replay.ours.alarms.confirmed.unwrap_or(0.0);
    let rate = percent(Some(alarms));
    let first = if alarms > OFTEN {
        format!(
            "- Stay with `mode: advisory`: {rate} of pull requests would have been blocked. Look at the alarms above. \
             For a stage that raises them without a reason, the policy can set a wider floor or ignore it (`stages`)."
        )
    } else if replay.alarm_interval.1 > UNKNOWN {
        format!(
            "- Begin with `mode: advisory`: {} independent pull requests can't distinguish {rate} from {}. Replay again \
             when the history is longer.",
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

/// The size from which on most slowdowns are found.
fn sensitivity(replay: &Replay) -> Option<String> {
    if replay.slowed == 0 {
        return Some(format!(
            "- No stage that usually takes {MIN_SLOWED_S:.0} s or more is in every run of a pull request. So no stage \
             could be slowed to measure what is found."
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
            "- Few slowdowns are found here: {} of stages that take twice as long. The stages are few or noisy, or each \
             has its own runner. More runs of the base branch and more pushes help.",
            percent(Some(found(SIZES.len() - 1)))
        ),
    })
}
