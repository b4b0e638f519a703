//! Markdown blocks for the comment and the check, and their maximum size. Each block has a limit and
//! states how many entries it leaves out. Untrusted names and sentences pass
//! [`super::escape`].

mod decided;
mod errors;
mod findings;

pub use decided::{DECIDED, decided, decided_count};
pub use errors::{error_list, further_errors, known_error_list, known_errors};
pub use findings::{beyond_the_visible, evidence, findings_table, further_findings, places, stages_table};

use super::headline::runner;
use super::structure::{self, Medium, alias_line};
use super::{Report, escape, headline, note, number_format, policy, sentence};

/// GitHub refuses texts of more than 65,535 characters. This limit is in bytes, which are never fewer,
/// and leaves room for a marker.
pub(crate) const SIZE_BUDGET: usize = 59_900;

/// Maximum number of entries in each list.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub findings: usize,
    pub errors: usize,
    /// Rows in the table of all stages.
    pub stages: usize,
    /// Reasons for excluded runs, and notes.
    pub sentences: usize,
}

/// Entries that are shown without a click. They fit the screen of a laptop.
pub const VISIBLE: Visible = Visible { findings: 4, errors: 2 };

/// See [`VISIBLE`].
#[derive(Debug, Clone, Copy)]
pub struct Visible {
    pub findings: usize,
    pub errors: usize,
}

/// Limits to try in this order. The last ones always fit `SIZE_BUDGET`, even if every name has the
/// maximum length and consists of characters that need escaping.
const STEPS: [Limits; 4] = [
    Limits { findings: 20, errors: 20, stages: 500, sentences: 50 },
    Limits { findings: 20, errors: 10, stages: 150, sentences: 20 },
    Limits { findings: 12, errors: 6, stages: 30, sentences: 5 },
    Limits { findings: 6, errors: 3, stages: 0, sentences: 2 },
];

/// The rendering with the most entries that fits `SIZE_BUDGET`.
#[must_use]
pub fn fitted(render: impl Fn(&Limits) -> String) -> String {
    STEPS
        .iter()
        .map(render)
        .find(|text| text.len() <= SIZE_BUDGET)
        .unwrap_or_else(|| "This report is too large to be shown here.".to_owned())
}

/// The context of the numbers: total duration, number of runs, runner speed.
#[must_use]
pub fn lead(report: &Report) -> String {
    let comparison = report.comparison();
    let took = number_format::duration(comparison.wall_clock.candidate_s);
    let wall_clock = match comparison.wall_clock.baseline_median_s {
        Some(usual) => format!("The pipeline took **{took}**, usually {}.", number_format::duration(usual)),
        None => format!("The pipeline took **{took}**."),
    };
    let compared = (comparison.baseline.runs > 0).then(|| {
        format!(
            "Compared {} of this change with {}.",
            number_format::count(comparison.candidate_runs, "run", "runs"),
            number_format::count(comparison.baseline.runs, "earlier run", "earlier runs")
        )
    });
    let sentences = [Some(wall_clock), compared, runner(comparison.runner_factor)];
    sentences.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The baseline and the runs that were left out of it.
#[must_use]
pub fn baseline(report: &Report, limits: &Limits) -> String {
    let baseline = &report.comparison().baseline;
    let mut lines = vec![headline::baseline(baseline, |sha| format!("`{sha}`"))];
    if !baseline.excluded.is_empty() {
        lines.extend([String::new(), "Left out:".to_owned(), String::new()]);
        lines.extend(baseline.excluded.iter().take(limits.sentences).map(|exclusion| {
            format!(
                "- {}: {}",
                number_format::count(exclusion.runs, "run", "runs"),
                escape::prose(&sentence::exclusion(&exclusion.reason))
            )
        }));
    }
    with_rest(lines, baseline.excluded.len(), limits.sentences, "reason", "reasons")
}

/// The policy that applied, as a line; empty if it is not known.
#[must_use]
pub fn policy_line(report: &Report) -> String {
    let medium = Medium { name: escape::code, text: escape::prose };
    policy::judged_by(report, medium).map_or_else(String::new, |by| format!("{by}."))
}

/// The notes as a list; empty if there are none.
#[must_use]
pub fn notes(report: &Report, limits: &Limits) -> String {
    let notes = &report.comparison().notes;
    let lines = notes
        .iter()
        .take(limits.sentences)
        .map(|n| format!("- {}", escape::prose(&note::sentence(n))))
        .collect();
    with_rest(lines, notes.len(), limits.sentences, "note", "notes")
}

/// The changes in the pipeline's structure as a list; empty if there are none.
#[must_use]
pub fn structure(report: &Report, limits: &Limits) -> String {
    let changes = &report.comparison().structure;
    let medium = Medium { name: escape::code, text: escape::prose };
    let lines = changes.iter().take(limits.sentences).map(|change| {
        let alias = alias_line(change).and_then(|line| escape::verbatim(&line));
        let keep = alias.map_or_else(String::new, |a| format!(". To keep its history, the policy needs {a}"));
        format!("- {}{keep}", structure::sentence(change, medium))
    });
    with_rest(lines.collect(), changes.len(), limits.sentences, "change", "changes")
}

/// A collapsed block.
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
    format!("_Left out here: {}._", number_format::count(total - shown, one, many))
}
