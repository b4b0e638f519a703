//! The output of a check run: the title is the outcome, the summary is one screen, and the text has the
//! evidence. The modules below write the check that waits, the check that was not judged, and the
//! buttons. Sending them, 50 annotations in a request, is done in the `github` crate.

mod action;
mod not_judged;
mod waiting;

pub use action::CheckAction;
pub use not_judged::{NotJudged, gave_up};
pub use waiting::{PendingCheck, WaitedRun, WaitedState, Waiting, pending};

use pacegate_engine::model::comparison::{Location, StageComparison};

use super::annotations::{self, Annotation};
use super::headline::{certainty, headline, leaf, outcome, parents};
use super::markdown::{
    DECIDED, Limits, VISIBLE, baseline, beyond_the_visible, decided, decided_count, error_list,
    findings_table, fitted, folded, further_errors, known_error_list, lead, notes, paragraphs, places,
    policy_line, stages_table, structure,
};
use super::sentence::stage_reason;
use super::structure::HEADING;
use super::{Conclusion, Report, escape, number_format, policy};

/// GitHub's limit for a title, characters.
pub(crate) const TITLE_CAP: usize = 255;

/// A completed check's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckOutput {
    /// The outcome as a phrase, plain text.
    pub title: String,
    /// Markdown, one screen.
    pub summary: String,
    /// Markdown with the details.
    pub text: String,
    pub conclusion: Conclusion,
    /// At most [`annotations::LIMIT`].
    pub annotations: Vec<Annotation>,
    /// At most three.
    pub actions: Vec<CheckAction>,
}

impl CheckOutput {
    /// Adds that some workflow runs were not read before the waiting time ended. The title and summary
    /// begin with that, and the check is never green. `runs`: names of those runs.
    #[must_use]
    pub fn with_unread_runs(self, runs: &[String]) -> Self {
        let named: Vec<String> = runs.iter().take(UNREAD).map(|name| escape::code(name)).collect();
        let more = match runs.len().saturating_sub(UNREAD) {
            0 => String::new(),
            more => format!(" and {} more", number_format::number(more)),
        };
        let plain: Vec<String> =
            runs.iter().take(UNREAD).map(|name| escape::plain_within(name, 60)).collect();
        Self {
            title: title(&format!("Not judged: {}{more}; {}", plain.join(", "), self.title)),
            summary: format!(
                "⚠️ **Not judged: {}{more}.** The waiting time ended before {} read. The rest of this check is about \
                 the other runs.\n\n{}",
                named.join(", "),
                if runs.len() == 1 { "it was" } else { "they were" },
                self.summary
            ),
            conclusion: match self.conclusion {
                Conclusion::Success => Conclusion::Neutral,
                other => other,
            },
            ..self
        }
    }
}

/// Unread runs that are named at most.
const UNREAD: usize = 5;

impl Report {
    /// The completed check.
    #[must_use]
    pub fn check(&self) -> CheckOutput {
        let all = annotations::of(self);
        let left_out = all.len().saturating_sub(annotations::LIMIT);
        CheckOutput {
            title: title(&headline(self, escape::plain)),
            summary: self.summary(left_out),
            text: fitted(|limits| self.details(limits)),
            conclusion: self.conclusion(),
            annotations: all.into_iter().take(annotations::LIMIT).collect(),
            actions: action::of(self),
        }
    }

    fn summary(&self, annotations_left_out: usize) -> String {
        let more = beyond_the_visible(self);
        paragraphs([
            policy::markdown(self),
            lead(self),
            findings_table(self, 0..VISIBLE.findings),
            places(self),
            error_list(self, 0..VISIBLE.errors),
            match decided_count(self) {
                0 => String::new(),
                n => {
                    format!("{}: {}, listed below.", DECIDED, number_format::count(n, "finding", "findings"))
                }
            },
            if more.is_empty() { more } else { format!("_In the details below: {more}._") },
            match annotations_left_out {
                0 => String::new(),
                n => format!(
                    "_Left out here: {}, the least important._",
                    number_format::count(n, "annotation", "annotations")
                ),
            },
            self.context().links().join(" · "),
        ])
    }

    fn details(&self, limits: &Limits) -> String {
        let findings = self.slower().chain(self.improved());
        let total = findings.clone().count();
        let mut blocks: Vec<String> = findings.take(limits.findings).map(evidence).collect();
        if total > limits.findings {
            let rest = number_format::count(total - limits.findings, "stage", "stages");
            blocks.push(format!("_Left out here: the evidence of {rest}._"));
        }
        let decided = decided(self, limits);
        if !decided.is_empty() {
            blocks.push(folded(DECIDED, &decided));
        }
        let errors = further_errors(self, limits);
        if !errors.is_empty() {
            blocks.extend(["### More errors".to_owned(), errors]);
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
        blocks.extend(["### Baseline".to_owned(), baseline(self, limits), policy_line(self)]);
        let notes = notes(self, limits);
        if !notes.is_empty() {
            blocks.extend(["### Notes".to_owned(), notes]);
        }
        paragraphs(blocks)
    }
}

/// The evidence for the verdict on one stage.
fn evidence(stage: &StageComparison) -> String {
    let mut facts = Vec::new();
    if let Some(parents) = parents(&stage.path) {
        facts.push(format!("in {}", escape::code(&parents)));
    }
    if let (Some(before), Some(now)) = (stage.baseline_median_s, stage.candidate_s) {
        facts.push(format!(
            "{} before, {} now",
            number_format::duration(before),
            number_format::duration(now)
        ));
    }
    if let Some(ratio) = stage.ratio {
        let by = stage.increase_s.map_or_else(String::new, |s| format!(" ({})", number_format::change(s)));
        facts.push(format!("{}{by}, corrected for runner speed", number_format::ratio(ratio)));
    }
    facts.push(format!("{}, against {} of the baseline", certainty(stage), samples(stage.baseline_samples)));
    if let (Some(score), Some(threshold)) = (stage.score, stage.threshold) {
        facts.push(format!("evidence {score:.1}, a finding needs {threshold:.1}"));
    }
    if stage.critical {
        facts.push("on the critical path: it makes the pipeline end later".to_owned());
    }
    if let Some(Location { path, line }) = &stage.location {
        facts.push(format!("{} line {line}", escape::code(path)));
    }
    let facts: Vec<String> = facts.into_iter().map(|fact| format!("- {fact}")).collect();
    let reason = stage_reason(stage);
    let reason = if reason.is_empty() { reason } else { escape::prose(&reason) };
    let heading = format!("### {}: {}", escape::code(leaf(stage)), outcome(stage));
    paragraphs([heading, reason, facts.join("\n")])
}

fn samples(n: usize) -> String {
    number_format::count(n, "run", "runs")
}

fn title(headline: &str) -> String {
    if headline.chars().count() <= TITLE_CAP {
        return headline.to_owned();
    }
    headline.chars().take(TITLE_CAP - 1).chain(['…']).collect()
}
