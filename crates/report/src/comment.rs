//! The one comment on a pull request: when it exists, and its text. Without findings no comment is
//! created. The `github` crate posts it, finds the earlier one and checks the author.

use pacegate_engine::model::comparison::RunVerdict;
use pacegate_engine::model::policy::{CommentRule, Mode};

use super::headline::headline;
use super::markdown::{
    DECIDED, Limits, VISIBLE, baseline, beyond_the_visible, decided, decided_count, error_list, evidence,
    findings_table, fitted, folded, further_findings, known_errors, lead, notes, paragraphs, policy_line,
    stages_table, structure,
};
use super::structure::HEADING;
use super::{Report, escape, number_format, policy};

/// First line of each of our comments, for finding an earlier one. No escaped name can form it, and the
/// author is checked as well.
pub const MARKER: &str = "<!-- pacegate:comment:v1 -->";

/// The action for the comment on the pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comment {
    /// Create it, or replace the earlier one.
    Post(String),
    /// Replace the earlier one if it exists. Never create one.
    ResolveOnly(String),
    /// Do nothing.
    Silent,
}

impl Report {
    /// The action and, where there is one, the text. Its first line is the [`MARKER`].
    #[must_use]
    pub fn comment(&self) -> Comment {
        if self.context().pull_request.is_none() {
            return Comment::Silent;
        }
        match self.context().comment {
            CommentRule::Never => Comment::Silent,
            CommentRule::Always => Comment::Post(marked(&self.comment_body())),
            CommentRule::OnFindings if self.has_findings() => Comment::Post(marked(&self.comment_body())),
            CommentRule::OnFindings => Comment::ResolveOnly(marked(&self.resolved_body())),
        }
    }

    /// The comment's text without the marker, regardless of the comment rule.
    #[must_use]
    pub fn comment_body(&self) -> String {
        fitted(|limits| self.full_body(limits))
    }

    fn full_body(&self, limits: &Limits) -> String {
        let comparison = self.comparison();
        let icon = match comparison.verdict {
            RunVerdict::Regressed => "🔴",
            RunVerdict::Suspect => "🟡",
            // An error that can't fail the check is still a finding.
            _ if self.has_findings() => "🟡",
            RunVerdict::Inconclusive => "⚪",
            RunVerdict::Pass | RunVerdict::Improved => "🟢",
        };
        let stages = number_format::count(comparison.stages.len(), "stage", "stages");
        let runs = match comparison.baseline.runs {
            0 => "Baseline: none yet".to_owned(),
            n => format!("Baseline: {}", number_format::count(n, "run", "runs")),
        };
        let judged_by = policy_line(self);
        let runs = if judged_by.is_empty() { runs } else { format!("{runs}, and the policy") };
        let notes = notes(self, limits);
        let more = beyond_the_visible(self);
        let fold = |summary: String, body: String| {
            if body.is_empty() { String::new() } else { folded(&summary, &body) }
        };
        paragraphs([
            format!("### {icon} {}", headline(self, escape::code)),
            policy::markdown(self),
            findings_table(self, 0..VISIBLE.findings),
            error_list(self, 0..VISIBLE.errors),
            lead(self),
            self.consequence().to_owned(),
            if more.is_empty() { more } else { folded(&more, &further_findings(self, limits)) },
            fold("History and evidence".to_owned(), evidence(self, limits)),
            self.decided_fold(limits),
            fold(
                format!("{HEADING} ({})", number_format::number(comparison.structure.len())),
                structure(self, limits),
            ),
            folded(&format!("All {stages}"), &paragraphs([stages_table(self, limits), known_errors(self)])),
            folded(&runs, &paragraphs([baseline(self, limits), judged_by])),
            fold(format!("Notes ({})", number_format::number(comparison.notes.len())), notes),
            self.footer(),
        ])
    }

    fn decided_fold(&self, limits: &Limits) -> String {
        match decided_count(self) {
            0 => String::new(),
            n => folded(&format!("{DECIDED} ({})", number_format::number(n)), &decided(self, limits)),
        }
    }

    /// The consequence of the verdict for the check.
    fn consequence(&self) -> &'static str {
        match (self.comparison().verdict, self.context().mode) {
            (RunVerdict::Regressed, Mode::Gate) => "This fails the check.",
            (RunVerdict::Regressed, Mode::Advisory) => "Advisory mode: the check stays neutral.",
            (RunVerdict::Suspect, _) => {
                "One run proves nothing, so nothing is blocked. The next push or re-run decides."
            }
            _ => "",
        }
    }

    fn resolved_body(&self) -> String {
        let what = match self.comparison().verdict {
            RunVerdict::Inconclusive => "### ⚪ The earlier finding could not be judged again",
            _ if decided_count(self) > 0 => {
                "### 🟢 Nothing is open: the remaining findings were accepted or muted"
            }
            _ => "### 🟢 Resolved: the earlier findings are gone",
        };
        let now = format!("{} at `{}`.", headline(self, escape::code), self.comparison().head_sha.short());
        fitted(|limits| {
            let now = format!("{now} {}", lead(self));
            paragraphs([what.to_owned(), now, self.decided_fold(limits), self.footer()])
        })
    }

    fn footer(&self) -> String {
        let commit = format!("commit `{}`", self.comparison().head_sha.short());
        let parts: Vec<String> =
            self.context().links().into_iter().chain([commit, "Pacegate".to_owned()]).collect();
        format!("<sub>{}</sub>", parts.join(" · "))
    }
}

fn marked(body: &str) -> String {
    format!("{MARKER}\n{body}\n")
}
