//! From a comparison to what people read. [`Report`] decides once what is a finding, what the
//! headline says and how a check concludes; check, comment, page, JSON and terminal only
//! render it, so they can't disagree. No clock, no randomness, no input or output.

pub mod annotations;
pub mod chart;
pub mod check;
pub mod comment;
pub mod escape;
pub mod headline;
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

/// What a report has to know besides the comparison.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReportContext {
    /// Whether a regression fails the check.
    pub mode: Mode,
    /// When a comment is posted.
    pub comment: CommentRule,
    /// Where a comment would go; without one there is none.
    pub pull_request: Option<PrNumber>,
    /// Absolute address of the comparison's page.
    pub page_url: Option<String>,
    /// Where the candidate's newest trace can be looked at, as the operator says.
    pub trace_url: Option<String>,
}

impl ReportContext {
    /// Links to the page and to the trace, as Markdown; what is no plain address is left out.
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
    /// Nothing got slower.
    Success,
    /// A confirmed regression, in gate mode.
    Failure,
    /// Something to know that blocks nobody.
    Neutral,
}

impl Conclusion {
    /// GitHub's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Neutral => "neutral",
        }
    }
}

/// One comparison, ready to be shown anywhere.
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
    /// Sorts out what a reader has to know first.
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

    /// What the gate said.
    #[must_use]
    pub fn comparison(&self) -> &RunComparison {
        &self.comparison
    }

    /// What the report was made for.
    #[must_use]
    pub fn context(&self) -> &ReportContext {
        &self.context
    }

    /// Stages that are confirmed slower and not explained by a deeper one: the critical path
    /// first, then the largest increase.
    #[must_use]
    pub fn regressed(&self) -> impl ExactSizeIterator<Item = &StageComparison> + Clone {
        self.regressed.iter().map(|i| &self.comparison.stages[*i])
    }

    /// Stages that one sample says are slower, in the order of [`Self::regressed`].
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

    /// Slower stages that somebody accepted or muted, with the decision: they count for nothing.
    pub fn decided(&self) -> impl Iterator<Item = (&StageComparison, &Decision)> + Clone {
        let stages = self.decided.iter().map(|i| &self.comparison.stages[*i]);
        stages.filter_map(|stage| Some((stage, stage.decision.as_ref()?)))
    }

    /// Errors that would be findings if nobody had accepted or muted them.
    pub fn decided_errors(&self) -> impl Iterator<Item = (&ErrorComparison, &Decision)> + Clone {
        let is_finding =
            |e: &&ErrorComparison| matches!(e.verdict, ErrorVerdict::New | ErrorVerdict::Suspect);
        self.comparison.errors.iter().filter(is_finding).filter_map(|e| Some((e, e.decision.as_ref()?)))
    }

    /// Errors with this verdict, and no finding that somebody decided about, as the gate ordered them.
    pub fn errors(&self, verdict: ErrorVerdict) -> impl Iterator<Item = &ErrorComparison> + Clone {
        let is_open = |e: &ErrorComparison| e.decision.is_none() || !is_finding(e);
        self.comparison.errors.iter().filter(move |e| e.verdict == verdict && is_open(e))
    }

    /// Errors a reader has to know: new ones, then suspected ones.
    pub fn unfamiliar_errors(&self) -> impl Iterator<Item = &ErrorComparison> + Clone {
        self.errors(ErrorVerdict::New).chain(self.errors(ErrorVerdict::Suspect))
    }

    /// True when somebody has something to look at.
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

/// 2 for confirmed slower, 1 for suspected, 0 for the rest.
fn rank(stage: &StageComparison) -> u8 {
    match stage.verdict {
        StageVerdict::Regressed => 2,
        StageVerdict::Suspect => 1,
        _ => 0,
    }
}

/// The stages of this rank that nobody decided about and no equally certain finding explains,
/// whether or not somebody decided about that one. If every one of them points at another (the
/// gate never says so, a stored comparison might), all are told.
fn unexplained(stages: &[StageComparison], wanted: u8) -> Vec<usize> {
    let ranks: HashMap<&StageKey, u8> = stages.iter().map(|s| (&s.key, rank(s))).collect();
    let explained = |stage: &StageComparison| {
        stage.explained_by.as_ref().and_then(|by| ranks.get(by)).is_some_and(|by| *by >= wanted)
    };
    let is_open = |stage: &StageComparison| rank(stage) == wanted && stage.decision.is_none();
    let flagged: Vec<usize> = (0..stages.len()).filter(|i| is_open(&stages[*i])).collect();
    let open: Vec<usize> = flagged.iter().copied().filter(|i| !explained(&stages[*i])).collect();
    let told_elsewhere =
        || stages.iter().any(|s| rank(s) > wanted || (rank(s) == wanted && s.decision.is_some()));
    if open.is_empty() && !told_elsewhere() { flagged } else { open }
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
