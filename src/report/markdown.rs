//! Markdown blocks that the comment and the check share, and the size they may have. Each
//! block takes its limit and says what it left out. Names and sentences pass
//! [`super::escape`]; nothing else here is untrusted.

use crate::model::comparison::{ErrorComparison, ErrorVerdict, Location, StageComparison, StageVerdict};

use super::headline::{certainty, error_reason, leaf, outcome, parents, runner, unversioned};
use super::structure::{Medium, alias_line, sentence};
use super::{Report, escape, format, headline};

/// GitHub refuses more than 65,535 characters. Bytes are counted, which is never fewer, and
/// there is room left for a marker.
pub const SIZE_BUDGET: usize = 59_900;

/// How many entries of each list are shown.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Rows of the table of findings.
    pub findings: usize,
    /// Errors.
    pub errors: usize,
    /// Rows of the table of all stages.
    pub stages: usize,
    /// Reasons for leaving runs out, and notes.
    pub sentences: usize,
}

/// From what a reader would like to what always fits: the last step stays under the budget
/// even when every name is as long as it may be and made of characters to be escaped.
const STEPS: [Limits; 4] = [
    Limits { findings: 20, errors: 20, stages: 500, sentences: 50 },
    Limits { findings: 20, errors: 10, stages: 150, sentences: 20 },
    Limits { findings: 12, errors: 6, stages: 30, sentences: 5 },
    Limits { findings: 6, errors: 3, stages: 0, sentences: 2 },
];

/// The richest rendering that fits the budget.
#[must_use]
pub fn fitted(render: impl Fn(&Limits) -> String) -> String {
    STEPS
        .iter()
        .map(render)
        .find(|text| text.len() <= SIZE_BUDGET)
        .unwrap_or_else(|| "This report is too large to be shown here.".to_owned())
}

/// What a reader needs to read the numbers: wall clock, how much was compared, the runner.
#[must_use]
pub fn lead(report: &Report) -> String {
    let comparison = report.comparison();
    let took = format::duration(comparison.wall_clock.candidate_s);
    let wall_clock = match comparison.wall_clock.baseline_median_s {
        Some(usual) => format!("The pipeline took **{took}**, usually {}.", format::duration(usual)),
        None => format!("The pipeline took **{took}**."),
    };
    let compared = (comparison.baseline.runs > 0).then(|| {
        format!(
            "Compared {} of this change with {}.",
            format::count(comparison.candidate_runs, "run", "runs"),
            format::count(comparison.baseline.runs, "earlier run", "earlier runs")
        )
    });
    let sentences = [Some(wall_clock), compared, runner(comparison.runner_factor)];
    sentences.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The table a reviewer reads first; empty without findings.
#[must_use]
pub fn findings_table(report: &Report, limits: &Limits) -> String {
    let total = report.regressed().len() + report.suspect().len();
    if total == 0 {
        return String::new();
    }
    let mut lines = vec![
        "| Stage | Before | Now | Ratio | How sure | Critical path |".to_owned(),
        "|:--|--:|--:|--:|:--|:--|".to_owned(),
    ];
    lines.extend(report.slower().take(limits.findings).map(|stage| {
        format!(
            "| {} | {} | {} | {} | {} | {} |",
            stage_cell(stage, true),
            format::or_dash(stage.baseline_median_s, format::duration),
            format::or_dash(stage.candidate_s, format::duration),
            ratio_cell(stage),
            certainty(stage),
            if stage.critical { "yes" } else { "no" },
        )
    }));
    with_rest(lines, total, limits.findings, "slower stage", "slower stages")
}

/// The lines a reader would change, as a list: an annotation on a line that the pull request
/// leaves alone is shown in the check only. Empty when no line is known.
#[must_use]
pub fn places(report: &Report, limits: &Limits) -> String {
    let known = || report.slower().filter_map(|stage| Some((stage, stage.location.as_ref()?)));
    let lines: Vec<String> = known()
        .take(limits.findings)
        .map(|(stage, place)| format!("- {}: {}", escape::code(leaf(stage)), line_of(place)))
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    let lines = ["**Where**".to_owned(), String::new()].into_iter().chain(lines).collect();
    with_rest(lines, known().count(), limits.findings, "place", "places")
}

fn line_of(place: &Location) -> String {
    format!("{} line {}", escape::code(&format::tail(&place.path, 80)), place.line.max(1))
}

fn ratio_cell(stage: &StageComparison) -> String {
    match (stage.ratio, stage.increase_s) {
        (Some(ratio), Some(by)) => format!("**{}** ({})", format::ratio(ratio), format::change(by)),
        (Some(ratio), None) => format!("**{}**", format::ratio(ratio)),
        (None, Some(by)) => format::change(by),
        (None, None) => "-".to_owned(),
    }
}

fn stage_cell(stage: &StageComparison, bold: bool) -> String {
    let name = escape::code(leaf(stage));
    let name = if bold { format!("**{name}**") } else { name };
    match parents(&stage.path) {
        // Small text that wraps overlaps itself on GitHub: it has to stay one line.
        Some(parents) => format!("{name}<br><sub>{}</sub>", escape::code(&format::tail(&parents, 48))),
        None => name,
    }
}

/// Errors that are new, seen once or far more frequent, as a list; empty without any.
#[must_use]
pub fn error_list(report: &Report, limits: &Limits) -> String {
    let total = report.unfamiliar_errors().count();
    if total == 0 {
        return String::new();
    }
    let is_new = report.errors(ErrorVerdict::New).next().is_some();
    let all_unseen = report.unfamiliar_errors().all(ErrorComparison::is_unseen);
    let heading = match (is_new, all_unseen) {
        (true, true) => "New errors",
        (false, true) => "Unknown errors",
        (_, false) => "Errors",
    };
    let mut lines = vec![format!("**{heading}**"), String::new()];
    lines.extend(report.unfamiliar_errors().take(limits.errors).map(error_line));
    with_rest(lines, total, limits.errors, "error", "errors")
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

fn error_stage(error: &ErrorComparison) -> &str {
    error.path.last().map_or_else(|| unversioned(error.stage.as_str()), String::as_str)
}

/// Every stage, as a table.
#[must_use]
pub fn stages_table(report: &Report, limits: &Limits) -> String {
    let stages = &report.comparison().stages;
    if limits.stages == 0 {
        return format!(
            "The list of {} is left out: it is too long.",
            format::count(stages.len(), "stage", "stages")
        );
    }
    let mut lines = vec![
        "| Stage | Outcome | Before | Now | Ratio | Runs |".to_owned(),
        "|:--|:--|--:|--:|--:|--:|".to_owned(),
    ];
    lines.extend(stages.iter().take(limits.stages).map(|stage| {
        format!(
            "| {} | {} | {} | {} | {} | {} of {} |",
            stage_cell(stage, false),
            outcome_cell(stage),
            format::or_dash(stage.baseline_median_s, format::duration),
            format::or_dash(stage.candidate_s, format::duration),
            format::or_dash(stage.ratio, format::ratio),
            format::number(stage.samples),
            format::number(stage.baseline_samples),
        )
    }));
    with_rest(lines, stages.len(), limits.stages, "stage", "stages")
}

fn outcome_cell(stage: &StageComparison) -> String {
    let outcome = outcome(stage);
    match (&stage.verdict, &stage.explained_by) {
        (StageVerdict::Inconclusive(why) | StageVerdict::NotComparable(why), _) => {
            format!("{outcome}: {}", escape::prose(why))
        }
        (_, Some(by)) => {
            let by = unversioned(by.as_str());
            format!("{outcome}, because of {}", escape::code(by.rsplit(" / ").next().unwrap_or(by)))
        }
        _ => outcome.to_owned(),
    }
}

/// What the change was held against and what was left out.
#[must_use]
pub fn baseline(report: &Report, limits: &Limits) -> String {
    let baseline = &report.comparison().baseline;
    let mut lines = vec![headline::baseline(baseline, |sha| format!("`{sha}`"))];
    if !baseline.excluded.is_empty() {
        lines.extend([String::new(), "Left out:".to_owned(), String::new()]);
        lines.extend(baseline.excluded.iter().take(limits.sentences).map(|exclusion| {
            format!(
                "- {}: {}",
                format::count(exclusion.runs, "run", "runs"),
                escape::prose(&exclusion.reason)
            )
        }));
    }
    with_rest(lines, baseline.excluded.len(), limits.sentences, "reason", "reasons")
}

/// What else there is to know, as a list; empty without any.
#[must_use]
pub fn notes(report: &Report, limits: &Limits) -> String {
    let notes = &report.comparison().notes;
    let lines = notes.iter().take(limits.sentences).map(|n| format!("- {}", escape::prose(n))).collect();
    with_rest(lines, notes.len(), limits.sentences, "note", "notes")
}

/// What changed in the pipeline itself, as a list; empty without any.
#[must_use]
pub fn structure(report: &Report, limits: &Limits) -> String {
    let changes = &report.comparison().structure;
    let medium = Medium { name: escape::code, text: escape::prose };
    let lines = changes.iter().take(limits.sentences).map(|change| {
        let alias = alias_line(change).and_then(|line| escape::verbatim(&line));
        let keep = alias.map_or_else(String::new, |a| format!(". To keep its history, the policy needs {a}"));
        format!("- {}{keep}", sentence(change, medium))
    });
    with_rest(lines.collect(), changes.len(), limits.sentences, "change", "changes")
}

/// Errors that the baseline knows and that are as frequent as before, in one sentence; empty
/// without any.
#[must_use]
pub fn known_errors(report: &Report) -> String {
    let known = report.errors(ErrorVerdict::Known).count();
    let flaky = report.errors(ErrorVerdict::Flaky).count();
    let known = (known > 0).then(|| format::count(known, "known error", "known errors"));
    let flaky = (flaky > 0).then(|| format::count(flaky, "flaky error", "flaky errors"));
    let all: Vec<String> = known.into_iter().chain(flaky).collect();
    if all.is_empty() { String::new() } else { format!("Also seen, as before: {}.", all.join(" and ")) }
}

/// The same, each with how often it was seen.
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

/// A block that a click opens.
#[must_use]
pub fn folded(summary: &str, body: &str) -> String {
    format!("<details><summary>{summary}</summary>\n\n{body}\n\n</details>")
}

/// The blocks that are not empty, as paragraphs.
#[must_use]
pub fn paragraphs(blocks: impl IntoIterator<Item = String>) -> String {
    blocks.into_iter().filter(|b| !b.is_empty()).collect::<Vec<_>>().join("\n\n")
}

fn with_rest(mut lines: Vec<String>, total: usize, shown: usize, one: &str, many: &str) -> String {
    if total > shown {
        lines.extend([
            String::new(),
            format!("_Left out here: {}._", format::count(total - shown, one, many)),
        ]);
    }
    lines.join("\n")
}
