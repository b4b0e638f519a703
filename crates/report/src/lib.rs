//! Renders a comparison for people. [`Report`] decides once which findings there are and how the check
//! concludes. Check, comment, page, JSON and terminal only render it, so they can't disagree. No clock,
//! no randomness, no input or output.

pub mod annotations;
pub mod chart;
pub mod check;
pub mod comment;
pub mod escape;
pub mod headline;
pub mod history_chart;
pub mod json;
pub mod markdown;
pub mod note;
pub mod number_format;
pub mod page;
pub mod policy;
pub mod replay;
pub mod sentence;
pub mod structure;
pub mod terminal;
pub mod waterfall;

use std::cmp::Ordering;
use std::collections::HashMap;

use pacegate_engine::model::comparison::{
    ErrorComparison, ErrorVerdict, RunComparison, RunVerdict, StageComparison, StageVerdict,
};
use pacegate_engine::model::decision::Decision;
use pacegate_engine::model::ids::PrNumber;
use pacegate_engine::model::policy::{CommentRule, Mode};
use pacegate_engine::model::stage::StageKey;

/// Inputs of a report besides the comparison.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReportContext {
    pub mode: Mode,
    pub comment: CommentRule,
    /// The target of the comment. Without it there is no comment.
    pub pull_request: Option<PrNumber>,
    /// Absolute address of the comparison's page.
    pub page_url: Option<String>,
    /// Address of the candidate's newest trace in the operator's trace viewer.
    pub trace_url: Option<String>,
}

impl ReportContext {
    /// Markdown links to the page and to the trace. An address that is not plain is left out.
    fn links(&self) -> Vec<String> {
        [("Full report", &self.page_url), ("Trace", &self.trace_url)]
            .into_iter()
            .filter_map(|(label, url)| Some(escape::link(label, url.as_deref()?)))
            .filter(|link| link.starts_with('['))
            .collect()
    }
}

/// How a completed check ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// No finding that counts.
    Success,
    /// A confirmed regression, in gate mode.
    Failure,
    /// Everything else: it blocks nothing.
    Neutral,
}

impl Conclusion {
    /// Value in GitHub's API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Neutral => "neutral",
        }
    }
}

/// One comparison, ready to be rendered.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    comparison: RunComparison,
    context: ReportContext,
    regressed: Vec<usize>,
    suspect: Vec<usize>,
    improved: Vec<usize>,
    decided: Vec<usize>,
}

impl Report {
    /// Selects and sorts the findings.
    #[must_use]
    pub fn new(comparison: RunComparison, context: ReportContext) -> Self {
        let pick = |rank: u8| {
            let mut places = unexplained(&comparison.stages, rank);
            places.sort_by(|a, b| most_important_first(&comparison.stages[*a], &comparison.stages[*b]));
            places
        };
        let (regressed, suspect) = (pick(2), pick(1));
        let mut improved: Vec<usize> = (0..comparison.stages.len())
            .filter(|i| comparison.stages[*i].verdict == StageVerdict::Improved)
            .filter(|i| comparison.stages[*i].explained_by.is_none())
            .collect();
        improved.sort_by(|a, b| most_important_first(&comparison.stages[*a], &comparison.stages[*b]));
        let mut decided: Vec<usize> = (0..comparison.stages.len())
            .filter(|i| rank(&comparison.stages[*i]) > 0 && comparison.stages[*i].decision.is_some())
            .collect();
        decided.sort_by(|a, b| most_important_first(&comparison.stages[*a], &comparison.stages[*b]));
        Self { comparison, context, regressed, suspect, improved, decided }
    }

    #[must_use]
    pub fn comparison(&self) -> &RunComparison {
        &self.comparison
    }

    #[must_use]
    pub fn context(&self) -> &ReportContext {
        &self.context
    }

    /// Stages that are confirmed slower and not explained by a deeper stage. Those on the critical path
    /// come first, then those with the largest increase.
    #[must_use]
    pub fn regressed(&self) -> impl ExactSizeIterator<Item = &StageComparison> + Clone {
        self.regressed.iter().map(|i| &self.comparison.stages[*i])
    }

    /// Stages with a suspected slowdown, in the order of [`Self::regressed`].
    #[must_use]
    pub fn suspect(&self) -> impl ExactSizeIterator<Item = &StageComparison> + Clone {
        self.suspect.iter().map(|i| &self.comparison.stages[*i])
    }

    /// [`Self::regressed`], then [`Self::suspect`].
    pub fn slower(&self) -> impl Iterator<Item = &StageComparison> + Clone {
        self.regressed().chain(self.suspect())
    }

    /// Stages that are confirmed faster, the largest gain first.
    #[must_use]
    pub fn improved(&self) -> impl ExactSizeIterator<Item = &StageComparison> + Clone {
        self.improved.iter().map(|i| &self.comparison.stages[*i])
    }

    /// Slower stages that were accepted or muted, with the decision. They have no effect on the verdict.
    pub fn decided(&self) -> impl Iterator<Item = (&StageComparison, &Decision)> + Clone {
        let stages = self.decided.iter().map(|i| &self.comparison.stages[*i]);
        stages.filter_map(|stage| Some((stage, stage.decision.as_ref()?)))
    }

    /// Errors that would be findings if they were not accepted or muted.
    pub fn decided_errors(&self) -> impl Iterator<Item = (&ErrorComparison, &Decision)> + Clone {
        let is_finding =
            |e: &&ErrorComparison| matches!(e.verdict, ErrorVerdict::New | ErrorVerdict::Suspect);
        self.comparison.errors.iter().filter(is_finding).filter_map(|e| Some((e, e.decision.as_ref()?)))
    }

    /// Errors with this verdict, in the gate's order, without accepted or muted findings.
    pub fn errors(&self, verdict: ErrorVerdict) -> impl Iterator<Item = &ErrorComparison> + Clone {
        let is_open = |e: &ErrorComparison| e.decision.is_none() || !is_finding(e);
        self.comparison.errors.iter().filter(move |e| e.verdict == verdict && is_open(e))
    }

    /// Errors that are findings: new ones, then suspected ones.
    pub fn unfamiliar_errors(&self) -> impl Iterator<Item = &ErrorComparison> + Clone {
        self.errors(ErrorVerdict::New).chain(self.errors(ErrorVerdict::Suspect))
    }

    /// Whether there is a finding that is neither accepted nor muted.
    #[must_use]
    pub fn has_findings(&self) -> bool {
        self.slower().next().is_some() || self.unfamiliar_errors().next().is_some()
    }

    /// How the check ends. Only a confirmed regression fails it, and only in gate mode.
    #[must_use]
    pub fn conclusion(&self) -> Conclusion {
        match (self.comparison.verdict, self.context.mode) {
            (RunVerdict::Regressed, Mode::Gate) => Conclusion::Failure,
            (RunVerdict::Regressed | RunVerdict::Suspect | RunVerdict::Inconclusive, _) => {
                Conclusion::Neutral
            }
            (RunVerdict::Pass | RunVerdict::Improved, _) => Conclusion::Success,
        }
    }
}

fn is_finding(error: &ErrorComparison) -> bool {
    matches!(error.verdict, ErrorVerdict::New | ErrorVerdict::Suspect)
}

/// 2 for a confirmed slowdown, 1 for a suspected one, 0 for the rest.
fn rank(stage: &StageComparison) -> u8 {
    match stage.verdict {
        StageVerdict::Regressed => 2,
        StageVerdict::Suspect => 1,
        _ => 0,
    }
}

/// Indices of the open stages of this rank that no finding of this rank or above explains. The
/// explaining finding may be accepted or muted.
///
/// In a stored comparison all of them might explain each other; the gate never does that. Then all are
/// returned.
fn unexplained(stages: &[StageComparison], wanted: u8) -> Vec<usize> {
    let ranks: HashMap<&StageKey, u8> = stages.iter().map(|s| (&s.key, rank(s))).collect();
    let explained = |stage: &StageComparison| {
        stage.explained_by.as_ref().and_then(|by| ranks.get(by)).is_some_and(|by| *by >= wanted)
    };
    let is_open = |stage: &StageComparison| rank(stage) == wanted && stage.decision.is_none();
    let flagged: Vec<usize> = (0..stages.len()).filter(|i| is_open(&stages[*i])).collect();
    let open: Vec<usize> = flagged.iter().copied().filter(|i| !explained(&stages[*i])).collect();
    let is_reported_elsewhere =
        || stages.iter().any(|s| rank(s) > wanted || (rank(s) == wanted && s.decision.is_some()));
    if open.is_empty() && !is_reported_elsewhere() { flagged } else { open }
}

fn most_important_first(a: &StageComparison, b: &StageComparison) -> Ordering {
    let change = |s: &StageComparison| s.increase_s.filter(|x| x.is_finite()).unwrap_or(0.0).abs();
    b.critical
        .cmp(&a.critical)
        .then_with(|| change(b).total_cmp(&change(a)))
        .then_with(|| a.path.cmp(&b.path))
        .then_with(|| a.key.cmp(&b.key))
}

#[cfg(test)]
mod tests;
