//! The buttons below a check. Tasks handle a press: they check the person's permission and decide what
//! changes.

use crate::Report;

/// A button. GitHub allows three for a check. A label may have 20 characters, a description 40 and an
/// identifier 20.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckAction {
    pub label: &'static str,
    pub description: &'static str,
    /// GitHub sends it back when the button is pressed.
    pub identifier: &'static str,
}

impl CheckAction {
    /// Accept the confirmed findings: the slowdown is intended.
    pub const ACCEPT: Self =
        Self { label: "Accept change", description: "This slowdown is intended", identifier: "accept" };
    /// Judge the commit again.
    pub const REEVALUATE: Self = Self {
        label: "Re-evaluate",
        description: "Judge again with all runs so far",
        identifier: "reevaluate",
    };
    /// Ignore the findings for a week.
    pub const MUTE: Self =
        Self { label: "Mute 7 days", description: "Ignore these findings for a week", identifier: "mute" };
}

/// The buttons of a completed check: only those that would have an effect.
pub(super) fn of(report: &Report) -> Vec<CheckAction> {
    let accept = (report.regressed().len() > 0).then_some(CheckAction::ACCEPT);
    let mute = report.has_findings().then_some(CheckAction::MUTE);
    accept.into_iter().chain([CheckAction::REEVALUATE]).chain(mute).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buttons_respect_github_limits() {
        for action in [CheckAction::ACCEPT, CheckAction::REEVALUATE, CheckAction::MUTE] {
            let lengths =
                [action.label, action.description, action.identifier].map(|text| text.chars().count());
            assert!(lengths[0] <= 20 && lengths[1] <= 40 && lengths[2] <= 20, "{action:?}: {lengths:?}");
        }
    }
}
