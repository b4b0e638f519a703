//! The errors of a change. New and more frequent ones are a list; known ones are a sentence or a list.

use std::ops::Range;

use pacegate_engine::model::comparison::{ErrorComparison, ErrorVerdict};

use super::super::headline::{error_reason, unversioned};
use super::super::{Report, escape, number_format};
use super::findings::line_of;
use super::{Limits, VISIBLE, paragraphs, rest, with_rest};

/// The errors in range `which` that are new, seen once or far more frequent, as a list. Empty if there
/// are none.
#[must_use]
pub fn error_list(report: &Report, which: Range<usize>) -> String {
    let mut lines: Vec<String> =
        report.unfamiliar_errors().skip(which.start).take(which.len()).map(error_line).collect();
    if !lines.is_empty() {
        lines.splice(0..0, [format!("**{}**", errors_heading(report)), String::new()]);
    }
    lines.join("\n")
}

fn errors_heading(report: &Report) -> &'static str {
    let is_new = report.errors(ErrorVerdict::New).next().is_some();
    let all_unseen = report.unfamiliar_errors().all(ErrorComparison::is_unseen);
    match (is_new, all_unseen) {
        (true, true) => "New errors",
        (false, true) => "Unknown errors",
        (_, false) => "Errors",
    }
}

/// The errors beyond the first screen, up to the limits. Empty if there are none.
#[must_use]
pub fn further_errors(report: &Report, limits: &Limits) -> String {
    let total = report.unfamiliar_errors().count();
    let list = error_list(report, VISIBLE.errors..limits.errors);
    paragraphs([list, rest(total, limits.errors.max(VISIBLE.errors), "error", "errors")])
}

fn error_line(error: &ErrorComparison) -> String {
    let place = error.location.as_ref().map_or_else(String::new, |place| format!(", {}", line_of(place)));
    format!(
        "- {} in {}{place}: {}<br><sub>{}</sub>",
        escape::code(&error.error_type),
        escape::code(error_stage(error)),
        escape::code(&error.message),
        escape::prose(&error_reason(error))
    )
}

pub(super) fn error_stage(error: &ErrorComparison) -> &str {
    error.path.last().map_or_else(|| unversioned(error.stage.as_str()), String::as_str)
}

/// Errors that are about as frequent as in the baseline, counted in one sentence. Empty if there are none.
#[must_use]
pub fn known_errors(report: &Report) -> String {
    let known = report.errors(ErrorVerdict::Known).count();
    let flaky = report.errors(ErrorVerdict::Flaky).count();
    let known = (known > 0).then(|| number_format::count(known, "known error", "known errors"));
    let flaky = (flaky > 0).then(|| number_format::count(flaky, "flaky error", "flaky errors"));
    let all: Vec<String> = known.into_iter().chain(flaky).collect();
    if all.is_empty() { String::new() } else { format!("Also seen, as before: {}.", all.join(" and ")) }
}

/// The same as a list, with the frequency of each error.
#[must_use]
pub fn known_error_list(report: &Report, limits: &Limits) -> String {
    let known = report.errors(ErrorVerdict::Known).chain(report.errors(ErrorVerdict::Flaky));
    let total = known.clone().count();
    if total == 0 {
        return String::new();
    }
    let mut lines = vec![known_errors(report), String::new()];
    lines.extend(known.take(limits.errors).map(|error| {
        format!(
            "- {} in {}: {}",
            escape::code(&error.error_type),
            escape::code(error_stage(error)),
            escape::prose(&error_reason(error))
        )
    }));
    with_rest(lines, total, limits.errors, "error", "errors")
}
