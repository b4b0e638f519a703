//! A report as text for a terminal: aligned, with colour only on request, and without control characters
//! from names. Callers decide whether there is a terminal.

use pacegate_engine::model::comparison::{ErrorComparison, RunVerdict, StageComparison, StageVerdict};

use super::headline::{certainty, error_reason, headline, runner};
use super::markdown::known_errors;
use super::sentence::exclusion;
use super::structure::{HEADING, Medium, alias_line, sentence};
use super::{Report, escape, note, number_format};

/// Whether the text has escape sequences for colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    Never,
    /// ANSI colours.
    Always,
}

#[derive(Clone, Copy)]
enum Paint {
    Bold,
    Dim,
    Red,
    Yellow,
    Green,
}

impl Colour {
    fn paint(self, paint: Paint, text: &str) -> String {
        let code = match (self, paint) {
            (Self::Never, _) => return text.to_owned(),
            (Self::Always, Paint::Bold) => 1,
            (Self::Always, Paint::Dim) => 2,
            (Self::Always, Paint::Red) => 31,
            (Self::Always, Paint::Yellow) => 33,
            (Self::Always, Paint::Green) => 32,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// Changes of the pipeline that are listed at most.
const CHANGES: usize = 20;
/// Longest path that is shown, characters. Of a longer one, the end is shown.
const PATH_WIDTH: usize = 60;

impl Report {
    /// The report as lines of text, with a closing newline.
    #[must_use]
    pub fn terminal(&self, colour: Colour) -> String {
        let comparison = self.comparison();
        let verdict =
            colour.paint(verdict_paint(comparison.verdict), &comparison.verdict.as_str().to_uppercase());
        let mut blocks =
            vec![format!("{verdict}  {}", colour.paint(Paint::Bold, &headline(self, escape::readable)))];
        blocks.push(self.terminal_lead());
        let findings: Vec<&StageComparison> = self.slower().chain(self.improved()).collect();
        if !findings.is_empty() {
            blocks.push(table(&findings, colour));
        }
        let errors: Vec<String> = self.unfamiliar_errors().map(terminal_error).collect();
        if !errors.is_empty() {
            blocks.push(format!("{}\n{}", colour.paint(Paint::Bold, "Errors"), errors.join("\n")));
        }
        if !comparison.structure.is_empty() {
            blocks.push(format!("{}\n{}", colour.paint(Paint::Bold, HEADING), self.terminal_structure()));
        }
        let known = known_errors(self);
        if !known.is_empty() {
            blocks.push(known);
        }
        blocks.push(colour.paint(Paint::Dim, &self.tally()));
        let notes: Vec<String> = comparison
            .notes
            .iter()
            .map(|n| format!("note: {}", escape::readable(&note::sentence(n))))
            .collect();
        if !notes.is_empty() {
            blocks.push(notes.join("\n"));
        }
        blocks.join("\n\n") + "\n"
    }

    fn terminal_lead(&self) -> String {
        let comparison = self.comparison();
        let took = number_format::duration(comparison.wall_clock.candidate_s);
        let mut lines = vec![match comparison.wall_clock.baseline_median_s {
            Some(usual) => format!("The pipeline took {took}, usually {}.", number_format::duration(usual)),
            None => format!("The pipeline took {took}."),
        }];
        lines.extend(runner(comparison.runner_factor));
        let excluded: Vec<String> = comparison
            .baseline
            .excluded
            .iter()
            .map(|e| {
                format!("{} ({})", number_format::number(e.runs), escape::readable(&exclusion(&e.reason)))
            })
            .collect();
        let left_out =
            if excluded.is_empty() { String::new() } else { format!("; left out: {}", excluded.join(", ")) };
        lines.push(format!(
            "{} against {}{left_out}.",
            number_format::count(comparison.candidate_runs, "candidate run", "candidate runs"),
            number_format::count(comparison.baseline.runs, "baseline run", "baseline runs"),
        ));
        lines.join("\n")
    }

    fn terminal_structure(&self) -> String {
        let changes = &self.comparison().structure;
        let medium = Medium { name: escape::readable, text: escape::readable };
        let mut lines = Vec::new();
        for change in changes.iter().take(CHANGES) {
            lines.push(format!("  {}", sentence(change, medium)));
            let alias = alias_line(change).filter(|line| escape::readable(line) == *line);
            lines.extend(alias.map(|line| format!("    to keep its history: {line}")));
        }
        if changes.len() > CHANGES {
            lines.push(format!("  and {}", number_format::count(changes.len() - CHANGES, "more", "more")));
        }
        lines.join("\n")
    }

    /// Number of stages by verdict, in one line.
    fn tally(&self) -> String {
        let stages = &self.comparison().stages;
        let of = |verdict| stages.iter().filter(|s| s.verdict == verdict).count();
        let counts = [
            (of(StageVerdict::Regressed), "slower"),
            (of(StageVerdict::Suspect), "seen slower once"),
            (of(StageVerdict::Improved), "faster"),
            (of(StageVerdict::Pass), "as usual"),
            (of(StageVerdict::New), "new"),
            (of(StageVerdict::Removed), "gone"),
            (of(StageVerdict::Inconclusive), "can't say"),
            (of(StageVerdict::NotComparable), "not comparable"),
        ];
        let parts: Vec<String> = counts
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, outcome)| format!("{} {outcome}", number_format::number(*n)))
            .collect();
        let total = number_format::count(stages.len(), "stage", "stages");
        if parts.is_empty() { total } else { format!("{total}: {}", parts.join(", ")) }
    }
}

fn verdict_paint(verdict: RunVerdict) -> Paint {
    match verdict {
        RunVerdict::Regressed => Paint::Red,
        RunVerdict::Suspect => Paint::Yellow,
        RunVerdict::Pass | RunVerdict::Improved => Paint::Green,
        RunVerdict::Inconclusive => Paint::Dim,
    }
}

fn terminal_error(error: &ErrorComparison) -> String {
    let place = error.location.as_ref().map_or_else(String::new, |location| {
        format!(", {}:{}", escape::readable(&location.path), location.line)
    });
    format!(
        "  {}: {}\n    in {}{place}\n    {}",
        escape::readable(&error.error_type),
        escape::readable(&error.message),
        escape::readable(&error.path.join(" / ")),
        escape::readable(&error_reason(error))
    )
}

fn table(stages: &[&StageComparison], colour: Colour) -> String {
    let header = ["STAGE", "BEFORE", "NOW", "RATIO", "CHANGE", "HOW SURE"].map(str::to_owned);
    let rows: Vec<[String; 6]> = stages
        .iter()
        .map(|stage| {
            let critical = if stage.critical { ", critical path" } else { "" };
            [
                number_format::tail(&escape::readable(&stage.path.join(" / ")), PATH_WIDTH),
                number_format::or_dash(stage.baseline_median_s, number_format::duration),
                number_format::or_dash(stage.candidate_s, number_format::duration),
                number_format::or_dash(stage.ratio, number_format::ratio),
                number_format::or_dash(stage.increase_s, number_format::change),
                format!("{}{critical}", certainty(stage)),
            ]
        })
        .collect();
    let mut widths = [0_usize; 6];
    for row in std::iter::once(&header).chain(&rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut lines = vec![colour.paint(Paint::Dim, &aligned(&header, &widths))];
    for (row, stage) in rows.iter().zip(stages) {
        let paint = match stage.verdict {
            StageVerdict::Regressed => Paint::Red,
            StageVerdict::Improved => Paint::Green,
            _ => Paint::Yellow,
        };
        lines.push(colour.paint(paint, &aligned(row, &widths)));
    }
    lines.join("\n")
}

/// Aligns names to the left and numbers to the right. The last column is not padded.
fn aligned(row: &[String; 6], widths: &[usize; 6]) -> String {
    let [name, before, now, ratio, change, sure] = row;
    let [w0, w1, w2, w3, w4, _] = widths;
    format!("{name:<w0$}  {before:>w1$}  {now:>w2$}  {ratio:>w3$}  {change:>w4$}  {sure}")
}
