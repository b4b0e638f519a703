//! Markdown blocks that the comment and the check share, and the size they may have. Each
//! block takes its limit and says what it left out. Names and sentences pass
//! [`super::escape`]; nothing else here is untrusted.

use std::ops::Range;

use crate::model::comparison::{ErrorComparison, ErrorVerdict, Location, StageComparison, StageVerdict};

use super::chart::bars;
use super::headline::{error_reason, leaf, outcome, parents, runner, seen_and_chance, unversioned};
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

/// What is shown before anything is opened: a laptop's screen.
pub const VISIBLE: Visible = Visible { findings: 4, errors: 2 };

/// See [`VISIBLE`].
#[derive(Debug, Clone, Copy)]
pub struct Visible {
    /// Rows of the table of findings.
    pub findings: usize,
    /// Errors.
    pub errors: usize,
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

/// The table a reviewer reads first: these of the slower stages. Empty without any.
#[must_use]
pub fn findings_table(report: &Report, which: Range<usize>) -> String {
    let mut rows = report.slower().skip(which.start).take(which.len()).map(finding_row).peekable();
    if rows.peek().is_none() {
        return String::new();
    }
    let head = ["| Stage | Before → now | Ratio | How sure | Critical path |", "|:--|--:|--:|:--|:--|"];
    head.map(str::to_owned).into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

fn finding_row(stage: &StageComparison) -> String {
    let seconds = |value| unbroken(&format::or_dash(value, format::duration));
    let (before, now) = (seconds(stage.baseline_median_s), seconds(stage.candidate_s));
    let sure = match seen_and_chance(stage) {
        (seen, Some(chance)) => format!("{seen}<br><sub>{chance}</sub>"),
        (seen, None) => seen,
    };
    let critical = if stage.critical { "yes" } else { "no" };
    format!(
        "| {} | {before} →\u{a0}{now} | {} | {sure} | {critical} |",
        stage_cell(stage, true),
        ratio_cell(stage)
    )
}

/// The lines a reader would change, as a list: an annotation on a line that the pull request
/// leaves alone is shown in the check only. Empty when no line is known.
#[must_use]
pub fn places(report: &Report) -> String {
    let known = report.slower().take(VISIBLE.findings).filter_map(|s| Some((s, s.location.as_ref()?)));
    let mut lines: Vec<String> =
        known.map(|(stage, place)| format!("- {}: {}", escape::code(leaf(stage)), line_of(place))).collect();
    if !lines.is_empty() {
        lines.splice(0..0, ["**Where**".to_owned(), String::new()]);
    }
    lines.join("\n")
}

/// A place as text: a link would have to know the host.
pub(super) fn line_of(place: &Location) -> String {
    format!("{} line {}", escape::code(&format::tail(&place.path, 80)), place.line.max(1))
}

/// A number that stays together with its unit in a narrow column.
fn unbroken(text: &str) -> String {
    text.replace(' ', "\u{a0}")
}

fn ratio_cell(stage: &StageComparison) -> String {
    match (stage.ratio, stage.increase_s) {
        (Some(ratio), Some(by)) => {
            format!("**{}** ({})", format::ratio(ratio), unbroken(&format::change(by)))
        }
        (Some(ratio), None) => format!("**{}**", format::ratio(ratio)),
        (None, Some(by)) => unbroken(&format::change(by)),
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

/// What each finding rests on: its history as a line of bars, the reason and the place.
#[must_use]
pub fn evidence(report: &Report, limits: &Limits) -> String {
    let total = report.slower().count();
    let mut blocks: Vec<String> = report.slower().take(limits.findings).map(finding_evidence).collect();
    blocks.push(rest(total, limits.findings, "slower stage", "slower stages"));
    paragraphs(blocks)
}

fn finding_evidence(stage: &StageComparison) -> String {
    let mut lines = vec![match parents(&stage.path) {
        Some(parents) => format!("**{}** in {}", escape::code(leaf(stage)), escape::code(&parents)),
        None => format!("**{}**", escape::code(leaf(stage))),
    }];
    lines.extend(bars(&stage.history_s, stage.history_candidates).map(|bars| {
        let runs = format::count(stage.history_candidates, "run", "runs");
        format!("`{}` from {} to {}; after ▸, {runs} of this change", bars.text, bars.low, bars.high)
    }));
    if !stage.reason.is_empty() {
        lines.push(escape::prose(&stage.reason));
    }
    lines.extend(stage.location.as_ref().map(line_of));
    lines.join("<br>\n")
}

/// These of the errors that are new, seen once or far more frequent, as a list; empty without
/// any.
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

/// What of the findings does not fit a first screen, counted; empty when nothing is.
#[must_use]
pub fn beyond_the_visible(report: &Report) -> String {
    let stages = report.slower().count().saturating_sub(VISIBLE.findings);
    let errors = report.unfamiliar_errors().count().saturating_sub(VISIBLE.errors);
    let stages = (stages > 0).then(|| format::count(stages, "more slower stage", "more slower stages"));
    let errors = (errors > 0).then(|| format::count(errors, "more error", "more errors"));
    stages.into_iter().chain(errors).collect::<Vec<_>>().join(" and ")
}

/// The findings that are not in the first screen, up to the limits.
#[must_use]
pub fn further_findings(report: &Report, limits: &Limits) -> String {
    paragraphs([
        findings_table(report, VISIBLE.findings..limits.findings),
        rest(report.slower().count(), limits.findings.max(VISIBLE.findings), "slower stage", "slower stages"),
        further_errors(report, limits),
    ])
}

/// The errors that are not in the first screen, up to the limits; empty without any.
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
    let rest = rest(total, shown, one, many);
    if !rest.is_empty() {
        lines.extend([String::new(), rest]);
    }
    lines.join("\n")
}

fn rest(total: usize, shown: usize, one: &str, many: &str) -> String {
    if total <= shown {
        return String::new();
    }
    format!("_Left out here: {}._", format::count(total - shown, one, many))
}
