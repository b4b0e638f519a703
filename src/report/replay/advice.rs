//! What a replay advises: gate or advisory, and how to see more. Sentences, each with the
//! number it stands on.

use super::percent;
use crate::gate::replay::summary::Replay;
use crate::gate::replay::{MIN_SLOWED_S, SIZES, WARM_UP};

/// Confirmed alarms up to this share are what the gate promises.
const RARE: f64 = 0.02;
/// Above this share a gate would be switched off by those it blocks.
const OFTEN: f64 = 0.05;
/// A share that is known no better than from so many cases is a guess.
const FEW: usize = 100;

/// The sentences, the most important first; at least one.
pub(super) fn advice(replay: &Replay) -> Vec<String> {
    let alarms = replay.ours.alarms.confirmed.unwrap_or(0.0);
    let mut lines = vec![if alarms <= RARE {
        format!(
            "- `mode: gate` is sound here: {} of unchanged pull requests would have been blocked, and the alarms above \
             may have been real.",
            percent(Some(alarms))
        )
    } else if alarms <= OFTEN {
        format!(
            "- Begin with `mode: advisory` and look at the alarms above: {} of pull requests would have been blocked. \
             If most of them were real, `mode: gate` is sound.",
            percent(Some(alarms))
        )
    } else {
        format!(
            "- Stay with `mode: advisory`: {} of pull requests would have been blocked. Look at the alarms above; a stage \
             that raises them for no reason can be given a wider floor or be ignored (`stages` in the policy).",
            percent(Some(alarms))
        )
    }];
    if replay.independent < FEW {
        lines.push(format!(
            "- This history is short: {} independent pull requests can't tell 1% from {}. Replay again when it is longer.",
            replay.independent,
            percent(Some(replay.alarm_interval.1))
        ));
    }
    lines.extend(sensitivity(replay));
    lines
}

/// From which size on most slowdowns are found.
fn sensitivity(replay: &Replay) -> Option<String> {
    if replay.slowed == 0 {
        return Some(format!(
            "- No stage takes {MIN_SLOWED_S:.0} s or more with {WARM_UP} runs behind it: nothing could be slowed to see what is found."
        ));
    }
    if replay.settings.commits < 2 {
        return None;
    }
    let found = |at: usize| replay.ours.recall[at].confirmed.unwrap_or(0.0);
    let more = "More pushes, or reruns of the suspicious job (`confirm: {rerun: true}`), find smaller ones.";
    Some(match (0..SIZES.len()).find(|at| found(*at) >= 0.5) {
        Some(at) => format!(
            "- A slowdown of one stage by {:.0}% is found in {} of cases. {more}",
            (SIZES[at] - 1.0) * 100.0,
            percent(Some(found(at)))
        ),
        None => format!(
            "- Even a stage that takes twice as long is found in {} of cases only. {more}",
            percent(Some(found(SIZES.len() - 1)))
        ),
    })
}
