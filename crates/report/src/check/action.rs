//! The buttons under a check. What a press does, and who may press, is decided by the jobs that
//! take GitHub's word for it.

use crate::Report;

/// A button. GitHub takes three of a check, with labels of 20 characters, descriptions of 40 and
/// identifiers of 20.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckAction {
    /// On the button.
    pub label: &'static str,
    /// Beside it.
    pub description: &'static str,
    /// What GitHub sends back when it is pressed.
    pub identifier: &'static str,
}

impl CheckAction {
    /// The slowdown is wanted: it is the new usual.
    pub const ACCEPT: Self = Self {
        label: "Accept change",
        description: "Meant to take this long from now on",
        identifier: "accept",
    };
    /// Judge again what is known now.
    pub const REEVALUATE: Self = Self {
        label: "Re-evaluate",
        description: "Judge again, with the runs known by now",
        identifier: "reevaluate",
    };
    /// Not now.
    pub const MUTE: Self = Self {
        label: "Mute 7 days",
        description: "Say no more of these findings for a week",
        identifier: "mute",
    };
}

/// The buttons of a completed check: only those that would do something.
pub(super) fn of(report: &Report) -> Vec<CheckAction> {
    let accept = (report.regressed().len() > 0).then_some(CheckAction::ACCEPT);
    let mute = report.has_findings().then_some(CheckAction::MUTE);
    accept.into_iter().chain([CheckAction::REEVALUATE]).chain(mute).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_button_is_within_github_s_limits() {
        for action in [CheckAction::ACCEPT, CheckAction::REEVALUATE, CheckAction::MUTE] {
            let lengths =
                [action.label, action.description, action.identifier].map(|text| text.chars().count());
            assert!(lengths[0] <= 20 && lengths[1] <= 40 && lengths[2] <= 20, "{action:?}: {lengths:?}");
        }
    }
}
