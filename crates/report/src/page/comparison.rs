//! The page of one comparison: its findings, the evidence, and the exact texts for GitHub.

use askama::Template;

use super::{Badge, Site, when};
use crate::check::CheckOutput;
use crate::comment::Comment;
use crate::policy::{Warning, judged_by, warnings};
use crate::sentence::{exclusion, stage_reason};
use crate::structure::{HEADING, Medium, alias_line, sentence};
use crate::{Report, chart, escape, headline, note, number_format, waterfall};
use pacegate_engine::model::comparison::{ErrorComparison, Location, StageComparison, StageVerdict};
use pacegate_engine::model::decision::Decision;
use pacegate_engine::model::stage::{StageKey, StageSample};
use pacegate_engine::model::time::Timestamp;

/// Progress of posting to GitHub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posting {
    Posted(Timestamp),
    Queued,
    /// GitHub shows a newer comparison of the same head.
    Superseded,
    /// GitHub has no pull request with this head, or the App is not installed there.
    NoPullRequest,
    /// There are no credentials. The page shows the texts that would be sent.
    LocalMode,
}

#[derive(Debug, Clone, PartialEq, Template)]
#[template(path = "comparison.html")]
pub struct ComparisonPage {
    pub site: Site,
    pub report: Report,
    /// The stages of the newest candidate run.
    pub candidate: Vec<StageSample>,
    pub posting: Posting,
    /// Page of the repository's runs.
    pub repo_href: String,
    /// Page of the newest candidate run.
    pub run_href: Option<String>,
    /// Page of a typical baseline run.
    pub baseline_href: Option<String>,
    /// The comparison as JSON.
    pub json_href: Option<String>,
}

/// One stage as the tables show it.
struct StageView {
    name: String,
    parents: Option<String>,
    class: &'static str,
    outcome: String,
    before: String,
    now: String,
    ratio: String,
    change: String,
    sure: String,
    critical: bool,
    reason: String,
    place: Option<String>,
    runs: String,
    spark: String,
}

struct ErrorView {
    kind: String,
    message: String,
    stage: String,
    verdict: &'static str,
    reason: String,
    place: Option<String>,
}

struct CommentView {
    decision: &'static str,
    source: Option<String>,
}

impl ComparisonPage {
    fn badge(&self) -> Badge {
        Badge::from(self.report.comparison().verdict)
    }

    fn headline(&self) -> String {
        headline::headline(&self.report, escape::readable)
    }

    fn wall_clock(&self) -> (String, Option<String>) {
        let clock = &self.report.comparison().wall_clock;
        (number_format::duration(clock.candidate_s), clock.baseline_median_s.map(number_format::duration))
    }

    fn runner(&self) -> Option<String> {
        headline::runner(self.report.comparison().runner_factor)
    }

    fn findings(&self) -> Vec<StageView> {
        self.report.slower().chain(self.report.improved()).map(StageView::from).collect()
    }

    fn all_stages(&self) -> Vec<StageView> {
        self.report.comparison().stages.iter().map(StageView::from).collect()
    }

    fn errors(&self) -> Vec<ErrorView> {
        let known = self.report.comparison().errors.iter().filter(|e| {
            !self.report.unfamiliar_errors().any(|u| u.signature == e.signature && u.stage == e.stage)
        });
        self.report.unfamiliar_errors().chain(known).map(ErrorView::from).collect()
    }

    /// Accepted or muted findings: the name, and the decision as text.
    fn decided(&self) -> Vec<(String, String)> {
        let line = |name: &str, decision: &Decision| {
            (escape::readable(name), headline::decided(decision, escape::readable, escape::readable))
        };
        let stages = self.report.decided().map(|(stage, decision)| line(&stage.path.join(" / "), decision));
        let errors = self.report.decided_errors().map(|(error, by)| line(&error.error_type, by));
        stages.chain(errors).collect()
    }

    fn baseline(&self) -> String {
        headline::baseline(&self.report.comparison().baseline, str::to_owned)
    }

    fn excluded(&self) -> Vec<String> {
        let line = |e: &pacegate_engine::model::comparison::Exclusion| {
            format!(
                "{}: {}",
                number_format::count(e.runs, "run", "runs"),
                escape::readable(&exclusion(&e.reason))
            )
        };
        self.report.comparison().baseline.excluded.iter().map(line).collect()
    }

    fn judged_by(&self) -> Option<String> {
        judged_by(&self.report, Medium { name: escape::readable, text: escape::readable })
    }

    fn policy_warnings(&self) -> Vec<Warning> {
        warnings(&self.report, Medium { name: escape::readable, text: escape::readable }, usize::MAX)
    }

    fn notes(&self) -> Vec<String> {
        self.report.comparison().notes.iter().map(|n| escape::readable(&note::sentence(n))).collect()
    }

    /// Changes of the pipeline: the heading, and a sentence for each. A renamed stage also has its policy
    /// line.
    fn structure(&self) -> (&'static str, Vec<(String, Option<String>)>) {
        let medium = Medium { name: escape::readable, text: escape::readable };
        let alias = |change| alias_line(change).filter(|line| escape::readable(line) == *line);
        let changes = self.report.comparison().structure.iter();
        (HEADING, changes.map(|change| (sentence(change, medium), alias(change))).collect())
    }

    fn svg(&self) -> String {
        let slower: Vec<StageKey> = self.report.slower().map(|s| s.key.clone()).collect();
        let critical = &self.report.comparison().wall_clock.critical_path;
        waterfall::waterfall(&self.candidate, waterfall::Marks { critical, slower: &slower })
    }

    fn check(&self) -> CheckOutput {
        self.report.check()
    }

    fn comment(&self) -> CommentView {
        match self.report.comment() {
            Comment::Post(source) => {
                CommentView { decision: "Posted, or replaces the earlier one:", source: Some(source) }
            }
            Comment::ResolveOnly(source) => CommentView {
                decision: "Nothing to report, so none is created. An earlier one is replaced by:",
                source: Some(source),
            },
            Comment::Silent if self.report.context().pull_request.is_none() => {
                CommentView { decision: "None: this is not a pull request.", source: None }
            }
            Comment::Silent => CommentView { decision: "None: the policy says never.", source: None },
        }
    }

    fn posting(&self) -> String {
        match self.posting {
            Posting::Posted(at) => format!("Posted on {} UTC.", when(at)),
            Posting::Queued => "About to be posted.".to_owned(),
            Posting::Superseded => "A newer comparison of this commit is shown on GitHub.".to_owned(),
            Posting::NoPullRequest => {
                "Not posted: GitHub has no pull request with this head in a repository with the App. \
                 These texts would be posted."
                    .to_owned()
            }
            Posting::LocalMode => {
                "Local mode: there are no GitHub credentials, so nothing is posted. These texts would be posted."
                    .to_owned()
            }
        }
    }

    fn short_sha(&self) -> &str {
        self.report.comparison().head_sha.short()
    }
}

fn place(location: &Location) -> String {
    format!("{}:{}", escape::readable(&location.path), location.line)
}

impl From<&StageComparison> for StageView {
    fn from(stage: &StageComparison) -> Self {
        let name = escape::readable(headline::leaf(stage));
        let because = stage.explained_by.as_ref().map(|by| {
            let by = headline::unversioned(by.as_str());
            format!(", because of {}", escape::readable(by.rsplit(" / ").next().unwrap_or(by)))
        });
        let reason = escape::readable(&stage_reason(stage));
        let why = match stage.verdict {
            StageVerdict::Inconclusive | StageVerdict::NotComparable => format!(": {reason}"),
            _ => because.unwrap_or_default(),
        };
        Self {
            parents: headline::parents(&stage.path).map(|p| escape::readable(&p)),
            class: stage.verdict.as_str(),
            outcome: format!("{}{why}", headline::outcome(stage)),
            before: number_format::or_dash(stage.baseline_median_s, number_format::duration),
            now: number_format::or_dash(stage.candidate_s, number_format::duration),
            ratio: number_format::or_dash(stage.ratio, number_format::ratio),
            change: number_format::or_dash(stage.increase_s, number_format::change),
            sure: headline::certainty(stage),
            critical: stage.critical,
            reason,
            place: stage.location.as_ref().map(place),
            runs: format!(
                "{} of {}",
                number_format::number(stage.samples),
                number_format::number(stage.baseline_samples)
            ),
            spark: chart::sparkline(&stage.history_s, stage.history_candidates, &name),
            name,
        }
    }
}

impl From<&ErrorComparison> for ErrorView {
    fn from(error: &ErrorComparison) -> Self {
        Self {
            kind: escape::readable(&error.error_type),
            message: escape::readable(&error.message),
            stage: escape::readable(&error.path.join(" / ")),
            verdict: error.verdict.as_str(),
            reason: escape::readable(&headline::error_reason(error)),
            place: error.location.as_ref().map(place),
        }
    }
}
