//! The policy in a report: its source, and the mistakes in the base branch's file or in the change's own
//! edit. Names and mistakes are untrusted and pass the escaping of the medium.

use pacegate_engine::model::policy::{Mode, PolicySource, UnusablePolicy};

use super::annotations::{Annotation, Level};
use super::structure::Medium;
use super::{Report, escape, number_format};

/// The policy that applied, as a phrase without a full stop: its file and mode, or the defaults. None if
/// it is not known.
#[must_use]
pub fn judged_by(report: &Report, medium: Medium) -> Option<String> {
    let facts = &report.comparison().policy;
    let mode = match report.context().mode {
        Mode::Advisory => "advisory mode",
        Mode::Gate => "gate mode",
    };
    Some(match &facts.source {
        PolicySource::Unstated => return None,
        PolicySource::Defaults => format!("Policy: the defaults, {mode}"),
        PolicySource::NoFile { branch } => {
            format!("Policy: {} has no policy file, so the defaults, {mode}", (medium.name)(branch))
        }
        PolicySource::File { path, branch } => {
            let file = format!("{} on {}", (medium.name)(path), (medium.name)(branch));
            match &facts.unusable {
                Some(_) => format!("Policy: the defaults, {mode}, because {file} can't be used"),
                None => format!("Policy: {file}, {mode}"),
            }
        }
    })
}

/// A policy file that can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The consequence, as a sentence.
    pub sentence: String,
    /// `line 7, column 12: …`. The last one may be a count of further mistakes.
    pub mistakes: Vec<String>,
}

/// Warnings about both files, with at most `limit` mistakes of each.
#[must_use]
pub fn warnings(report: &Report, medium: Medium, limit: usize) -> Vec<Warning> {
    let facts = &report.comparison().policy;
    let base = facts.unusable.as_ref().map(|file| {
        let branch = file.branch.as_deref().map_or_else(String::new, |b| format!(" on {}", (medium.name)(b)));
        let sentence = format!(
            "The policy {}{branch} can't be used, so this was judged by the defaults.",
            (medium.name)(&file.path)
        );
        warning(file, sentence, medium, limit)
    });
    let edit = facts.unusable_edit.as_ref().map(|file| {
        let sentence = format!(
            "This change's version of {} can't be used. It would take effect after the merge.",
            (medium.name)(&file.path)
        );
        warning(file, sentence, medium, limit)
    });
    base.into_iter().chain(edit).collect()
}

fn warning(file: &UnusablePolicy, sentence: String, medium: Medium, limit: usize) -> Warning {
    let mut mistakes: Vec<String> =
        file.mistakes.iter().take(limit).map(|m| (medium.text)(&m.to_string())).collect();
    let left_out = file.mistakes.len().saturating_sub(limit);
    if left_out > 0 {
        mistakes.push(number_format::count(left_out, "more mistake", "more mistakes"));
    }
    Warning { sentence, mistakes }
}

/// Mistakes of each file that the check and the comment show. The page shows all.
const VISIBLE: usize = 5;

/// The warnings as Markdown; empty if there are none.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let blocks: Vec<String> = warnings(report, Medium { name: escape::code, text: escape::prose }, VISIBLE)
        .into_iter()
        .map(|warning| {
            let lines: Vec<String> = warning.mistakes.iter().map(|mistake| format!("- {mistake}")).collect();
            format!("⚠️ **{}**\n\n{}", warning.sentence, lines.join("\n"))
        })
        .collect();
    blocks.join("\n\n")
}

/// Annotations for the mistakes of the change's own edit. Mistakes in the base branch's file are on no line
/// of this change.
#[must_use]
pub fn annotations(report: &Report) -> Vec<Annotation> {
    let edit = report.comparison().policy.unusable_edit.as_ref();
    edit.map_or(&[][..], |file| &file.mistakes)
        .iter()
        .filter_map(|mistake| {
            Some(Annotation {
                path: edit?.path.clone(),
                start_line: mistake.line.max(1),
                end_line: mistake.line.max(1),
                level: Level::Warning,
                title: "This policy can't be used".to_owned(),
                message: escape::plain_sentence(&mistake.to_string()),
            })
        })
        .collect()
}
