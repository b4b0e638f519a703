//! Maps GitHub's conclusions of runs, jobs and steps to the results of the semantic conventions,
//! and to the error type and message of a failure.

use pacegate_engine::model::run::RunResult;

pub(super) fn result_of(conclusion: &str) -> RunResult {
    match conclusion {
        // Nothing ran: the run waits for approval.
        "action_required" => RunResult::Skip,
        // GitHub gave it up because no runner picked it up.
        "stale" => RunResult::Cancellation,
        other => RunResult::parse(other).unwrap_or(RunResult::Error),
    }
}

/// The error of a span. A job and its run repeat the failure of the step, so that it counts as one
/// error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// GitHub's conclusion.
    pub error_type: String,
    pub message: &'static str,
}

impl Failure {
    /// `None` if the conclusion is not a failure.
    pub(super) fn of(conclusion: Option<&str>) -> Option<Self> {
        let conclusion = conclusion?;
        let message = match result_of(conclusion) {
            RunResult::Failure => "failed",
            RunResult::Timeout => "timed out",
            RunResult::Error => "could not be run",
            RunResult::Success | RunResult::Skip | RunResult::Cancellation => return None,
        };
        Some(Self { error_type: conclusion.to_owned(), message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_conclusion_has_its_result() {
        use RunResult::{Cancellation, Error, Failure, Skip, Success, Timeout};
        for (conclusion, expected, fails) in [
            ("success", Success, false),
            ("neutral", Success, false),
            ("failure", Failure, true),
            ("timed_out", Timeout, true),
            ("startup_failure", Error, true),
            ("cancelled", Cancellation, false),
            ("stale", Cancellation, false),
            ("skipped", Skip, false),
            ("action_required", Skip, false),
            ("an unknown conclusion", Error, true),
        ] {
            assert_eq!(result_of(conclusion), expected, "{conclusion}");
            assert_eq!(super::Failure::of(Some(conclusion)).is_some(), fails, "{conclusion}");
        }
    }
}
