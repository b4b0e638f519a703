//! How something ended: GitHub's conclusions in the words of the semantic conventions, and what
//! a failure is called.

use pacegate_engine::model::run::RunResult;

/// GitHub's conclusion as a result.
pub(super) fn result_of(conclusion: &str) -> RunResult {
    match conclusion {
        // Nothing ran: somebody has to approve it first.
        "action_required" => RunResult::Skip,
        // Given up by GitHub because nothing took it.
        "stale" => RunResult::Cancellation,
        word => RunResult::parse(word).unwrap_or(RunResult::Error),
    }
}

/// A failure as a span tells it. What a step failed with, its job and run repeat, so that it is
/// one error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// GitHub's own word.
    pub error_type: String,
    /// A few words.
    pub message: &'static str,
}

impl Failure {
    /// Of a conclusion; none when it is no failure.
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
            ("a word of next year", Error, true),
        ] {
            assert_eq!(result_of(conclusion), expected, "{conclusion}");
            assert_eq!(super::Failure::of(Some(conclusion)).is_some(), fails, "{conclusion}");
        }
    }
}
