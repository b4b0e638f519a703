//! The stages that became slower: the table for a first look, the evidence of each finding, and the
//! lines to change. Also the table of all stages.

use std::ops::Range;

use pacegate_engine::model::comparison::{Location, StageComparison, StageVerdict};

use super::super::chart::bars;
use super::super::headline::{leaf, outcome, parents, seen_and_probability, unversioned};
use super::super::sentence::stage_reason;
use super::super::{Report, escape, number_format};
use super::{Limits, VISIBLE, further_errors, paragraphs, rest, with_rest};

/// The first table of a report: the slower stages in range `which`. Empty if there are none.
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
    let seconds = |value| unbroken(&number_format::or_dash(value, number_format::duration));
    let (before, now) = (seconds(stage.baseline_median_s), seconds(stage.candidate_s));
    let sure = match seen_and_probability(stage) {
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

/// The lines that a reader would change, as a list. Annotations don't replace it: GitHub shows those on
/// untouched lines only in the check. Empty if no line is known.
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

/// A place as text. A link would need the host's address.
pub(super) fn line_of(place: &Location) -> String {
    format!("{} line {}", escape::code(&number_format::tail(&place.path, 80)), place.line.max(1))
}

/// Keeps a number on one line with its unit in a narrow column.
fn unbroken(text: &str) -> String {
    text.replace(' ', "\u{a0}")
}

pub(super) fn ratio_cell(stage: &StageComparison) -> String {
    match (stage.ratio, stage.increase_s) {
        (Some(ratio), Some(by)) => {
            format!("**{}** ({})", number_format::ratio(ratio), unbroken(&number_format::change(by)))
        }
        (Some(ratio), None) => format!("**{}**", number_format::ratio(ratio)),
        (None, Some(by)) => unbroken(&number_format::change(by)),
        (None, None) => "-".to_owned(),
    }
}

fn stage_cell(stage: &StageComparison, bold: bool) -> String {
    let name = escape::code(leaf(stage));
    let name = if bold { format!("**{name}**") } else { name };
    match parents(&stage.path) {
        // On GitHub the lines of wrapped small text overlap, so it is cut to one line.
        Some(parents) => format!("{name}<br><sub>{}</sub>", escape::code(&number_format::tail(&parents, 48))),
        None => name,
    }
}

/// The evidence of each finding: its history as a line of bars, the reason and the place.
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
        let runs = number_format::count(stage.history_candidates, "run", "runs");
        format!("`{}` from {} to {}; after ▸, {runs} of this change", bars.text, bars.low, bars.high)
    }));
    let reason = stage_reason(stage);
    if !reason.is_empty() {
        lines.push(escape::prose(&reason));
    }
    lines.extend(stage.location.as_ref().map(line_of));
    lines.join("<br>\n")
}

/// The number of findings beyond the first screen; empty if there are none.
#[must_use]
pub fn beyond_the_visible(report: &Report) -> String {
    let stages = report.slower().count().saturating_sub(VISIBLE.findings);
    let errors = report.unfamiliar_errors().count().saturating_sub(VISIBLE.errors);
    let stages =
        (stages > 0).then(|| number_format::count(stages, "more slower stage", "more slower stages"));
    let errors = (errors > 0).then(|| number_format::count(errors, "more error", "more errors"));
    stages.into_iter().chain(errors).collect::<Vec<_>>().join(" and ")
}

/// The findings beyond the first screen, up to the limits.
#[must_use]
pub fn further_findings(report: &Report, limits: &Limits) -> String {
    paragraphs([
        findings_table(report, VISIBLE.findings..limits.findings),
        rest(report.slower().count(), limits.findings.max(VISIBLE.findings), "slower stage", "slower stages"),
        further_errors(report, limits),
    ])
}

/// All stages as a table.
#[must_use]
pub fn stages_table(report: &Report, limits: &Limits) -> String {
    let stages = &report.comparison().stages;
    if limits.stages == 0 {
        return format!(
            "The list of {} is left out: it is too long.",
            number_format::count(stages.len(), "stage", "stages")
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
            number_format::or_dash(stage.baseline_median_s, number_format::duration),
            number_format::or_dash(stage.candidate_s, number_format::duration),
            number_format::or_dash(stage.ratio, number_format::ratio),
            number_format::number(stage.samples),
            number_format::number(stage.baseline_samples),
        )
    }));
    with_rest(lines, stages.len(), limits.stages, "stage", "stages")
}

fn outcome_cell(stage: &StageComparison) -> String {
    let outcome = outcome(stage);
    match (stage.verdict, &stage.explained_by) {
        (StageVerdict::Inconclusive | StageVerdict::NotComparable, _) => {
            format!("{outcome}: {}", escape::prose(&stage_reason(stage)))
        }
        (_, Some(by)) => {
            let by = unversioned(by.as_str());
            format!("{outcome}, because of {}", escape::code(by.rsplit(" / ").next().unwrap_or(by)))
        }
        _ => outcome.to_owned(),
    }
}
