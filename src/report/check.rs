//! The check run's output: a title that is the outcome, a summary of one screen, a text with
//! the evidence. Also what a check says while it waits and when it gave up. Sending it, and
//! the 50 annotations of one request, are `github/`'s.

use crate::model::comparison::{Location, StageComparison};
use crate::model::ids::CommitSha;

use super::annotations::{self, Annotation};
use super::headline::{certainty, headline, leaf, outcome, parents};
use super::markdown::{
    Limits, baseline, error_list, findings_table, fitted, known_error_list, lead, notes, paragraphs,
    stages_table, structure,
};
use super::structure::HEADING;
use super::{Conclusion, Report, escape, format, policy};

/// GitHub's limit of a title, characters.
pub const TITLE_CAP: usize = 255;

/// A completed check's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckOutput {
    /// The outcome in a phrase, plain text.
    pub title: String,
    /// Markdown, a screen.
    pub summary: String,
    /// Markdown, the details.
    pub text: String,
    /// How it ends.
    pub conclusion: Conclusion,
    /// Findings at their lines, at most [`annotations::LIMIT`].
    pub annotations: Vec<Annotation>,
}

/// Output of a check that is not completed: it has no conclusion yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCheck {
    /// What it waits for, plain text.
    pub title: String,
    /// Markdown: what happens next.
    pub summary: String,
}

/// The check as soon as a commit is known and before its trace is.
#[must_use]
pub fn pending(head: &CommitSha) -> PendingCheck {
    PendingCheck {
        title: format!("Waiting for the trace of {}", head.short()),
        summary: format!(
            "The comparison starts when the pipeline of `{}` has ended and its trace has arrived. \
             If none arrives, this check ends neutral and says so.",
            head.short()
        ),
    }
}

/// The check when no comparison came about: neutral, because missing data blocks nobody and
/// passes nobody.
#[must_use]
pub fn gave_up(head: &CommitSha, reason: &str) -> CheckOutput {
    CheckOutput {
        title: format!("Not judged: no comparison for {}", head.short()),
        summary: format!(
            "{}\n\nThis blocks nothing. Re-run the check, or push again, for another try.",
            escape::prose(reason)
        ),
        text: String::new(),
        conclusion: Conclusion::Neutral,
        annotations: Vec::new(),
    }
}

impl Report {
    /// The completed check.
    #[must_use]
    pub fn check(&self) -> CheckOutput {
        let all = annotations::of(self);
        let left_out = all.len().saturating_sub(annotations::LIMIT);
        CheckOutput {
            title: title(&headline(self, escape::plain)),
            summary: fitted(|limits| self.summary(limits, left_out)),
            text: fitted(|limits| self.details(limits)),
            conclusion: self.conclusion(),
            annotations: all.into_iter().take(annotations::LIMIT).collect(),
        }
    }

    fn summary(&self, limits: &Limits, annotations_left_out: usize) -> String {
        let page = self.context().page_url.as_deref();
        paragraphs([
            policy::markdown(self, limits.sentences),
            lead(self),
            findings_table(self, limits),
            error_list(self, limits),
            match annotations_left_out {
                0 => String::new(),
                n => format!(
                    "{} more than GitHub takes are left out.",
                    format::count(n, "annotation", "annotations")
                ),
            },
            page.map(|url| escape::link("Full report", url))
                .filter(|l| l.starts_with('['))
                .unwrap_or_default(),
        ])
    }

    fn details(&self, limits: &Limits) -> String {
        let findings = self.slower().chain(self.improved());
        let total = findings.clone().count();
        let mut blocks: Vec<String> = findings.take(limits.findings).map(evidence).collect();
        if total > limits.findings {
            let rest = format::count(total - limits.findings, "stage", "stages");
            blocks.push(format!("_Left out here: the evidence of {rest}._"));
        }
        let changed = structure(self, limits);
        if !changed.is_empty() {
            blocks.extend([format!("### {HEADING}"), changed]);
        }
        blocks.extend(["### All stages".to_owned(), stages_table(self, limits)]);
        let known = known_error_list(self, limits);
        if !known.is_empty() {
            blocks.extend(["### Known errors".to_owned(), known]);
        }
        blocks.extend(["### Baseline".to_owned(), baseline(self, limits)]);
        let notes = notes(self, limits);
        if !notes.is_empty() {
            blocks.extend(["### Notes".to_owned(), notes]);
        }
        paragraphs(blocks)
    }
}

/// What a verdict on one stage rests on.
fn evidence(stage: &StageComparison) -> String {
    let mut facts = Vec::new();
    if let Some(parents) = parents(&stage.path) {
        facts.push(format!("in {}", escape::code(&parents)));
    }
    if let (Some(before), Some(now)) = (stage.baseline_median_s, stage.candidate_s) {
        facts.push(format!("{} before, {} now", format::duration(before), format::duration(now)));
    }
    if let Some(ratio) = stage.ratio {
        let by = stage.increase_s.map_or_else(String::new, |s| format!(" ({})", format::change(s)));
        facts.push(format!("{}{by} once the runner's speed is taken out", format::ratio(ratio)));
    }
    facts.push(format!("{}, against {} of the baseline", certainty(stage), samples(stage.baseline_samples)));
    if let (Some(score), Some(threshold)) = (stage.score, stage.threshold) {
        facts.push(format!("evidence {score:.1}, at least {threshold:.1} is needed"));
    }
    if stage.critical {
        facts.push("on the critical path: the pipeline ends later by it".to_owned());
    }
    if let Some(Location { path, line }) = &stage.location {
        facts.push(format!("{} line {line}", escape::code(path)));
    }
    let facts: Vec<String> = facts.into_iter().map(|fact| format!("- {fact}")).collect();
    let reason = if stage.reason.is_empty() { String::new() } else { escape::prose(&stage.reason) };
    let heading = format!("### {}: {}", escape::code(leaf(stage)), outcome(stage));
    paragraphs([heading, reason, facts.join("\n")])
}

fn samples(n: usize) -> String {
    format::count(n, "run", "runs")
}

fn title(headline: &str) -> String {
    if headline.chars().count() <= TITLE_CAP {
        return headline.to_owned();
    }
    headline.chars().take(TITLE_CAP - 1).chain(['…']).collect()
}
