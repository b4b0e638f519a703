//! The findings that somebody accepted or muted: they count for nothing and stay visible, each
//! with who decided, when, why and until when.

use pacegate_engine::model::comparison::{ErrorComparison, StageComparison};
use pacegate_engine::model::decision::Decision;

use super::super::headline::{self, leaf};
use super::super::{Report, escape};
use super::errors::error_stage;
use super::findings::ratio_cell;
use super::{Limits, with_rest};

/// What every medium calls this part.
pub const DECIDED: &str = "Accepted or muted";

/// How many findings were decided about.
#[must_use]
pub fn decided_count(report: &Report) -> usize {
    report.decided().count() + report.decided_errors().count()
}

/// Each of them in a line, as a list; empty without any.
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
    // A login is a name like any other: as a mention it would call somebody.
    headline::decided(decision, escape::code, escape::prose)
}
