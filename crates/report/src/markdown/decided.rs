//! Findings that were accepted or muted. They have no effect on the verdict and stay visible, each with
//! the person, the time, the end and the reason.

use pacegate_engine::model::comparison::{ErrorComparison, StageComparison};
use pacegate_engine::model::decision::Decision;

use super::super::headline::{self, leaf};
use super::super::{Report, escape};
use super::errors::error_stage;
use super::findings::ratio_cell;
use super::{Limits, with_rest};

/// Heading of this part in all media.
pub const DECIDED: &str = "Accepted or muted";

/// Number of accepted or muted findings.
#[must_use]
pub fn decided_count(report: &Report) -> usize {
    report.decided().count() + report.decided_errors().count()
}

/// The accepted or muted findings as a list; empty if there are none.
#[must_use]
pub fn decided(report: &Report, limits: &Limits) -> String {
    let stages = report.decided().map(|(stage, decision)| of_stage(stage, decision));
    let errors = report.decided_errors().map(|(error, decision)| of_error(error, decision));
    let lines = stages.chain(errors).take(limits.findings).collect();
    with_rest(lines, decided_count(report), limits.findings, "finding", "findings")
}

fn of_stage(stage: &StageComparison, decision: &Decision) -> String {
    format!("- {} {}: {}", escape::code(leaf(stage)), ratio_cell(stage), who_and_when(decision))
}

fn of_error(error: &ErrorComparison, decision: &Decision) -> String {
    let (kind, stage) = (escape::code(&error.error_type), escape::code(error_stage(error)));
    format!("- {kind} in {stage}: {}", who_and_when(decision))
}

fn who_and_when(decision: &Decision) -> String {
    // A login needs escaping, too: as a mention it would notify a person.
    headline::decided(decision, escape::code, escape::prose)
}
