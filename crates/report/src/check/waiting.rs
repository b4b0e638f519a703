//! The check before there is a verdict: the workflow runs that it waits for, those that were read, the
//! next step and the time limit. Tasks pass the runs and conclude the check.

use crate::{escape, number_format};
use pacegate_engine::model::ids::CommitSha;
use pacegate_engine::model::time::Timestamp;

use super::title;

/// Runs that a title names at most.
const NAMED: usize = 2;
/// Runs that the list shows at most.
const LISTED: usize = 20;

/// The state of a check that waits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Waiting {
    /// Runs of the commit that are not read yet, in the order to be shown.
    pub runs: Vec<WaitedRun>,
    /// Names of the runs whose trace is read.
    pub collected: Vec<String>,
    /// The waiting ends at this time, even if runs are missing.
    pub until: Option<Timestamp>,
    /// Absolute address of a page that shows more.
    pub details_url: Option<String>,
}

/// A workflow run that is not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitedRun {
    /// The workflow's name on GitHub.
    pub name: String,
    pub state: WaitedState,
}

/// Progress of a run that a check waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitedState {
    /// It has no runner yet.
    Queued,
    InProgress,
    /// It has ended; its jobs are not read yet.
    NotRead,
}

impl WaitedState {
    fn phrase(self) -> &'static str {
        match self {
            Self::Queued => "waits for a runner",
            Self::InProgress => "is running",
            Self::NotRead => "has ended and will be read next",
        }
    }
}

/// Output of a check in progress. It has no conclusion yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCheck {
    /// Plain text: names of the runs.
    pub title: String,
    /// Markdown: the runs and the next step.
    pub summary: String,
    /// Target of the link "Details".
    pub details_url: Option<String>,
}

/// The check of a known commit without a verdict.
#[must_use]
pub fn pending(head: &CommitSha, waiting: &Waiting) -> PendingCheck {
    PendingCheck {
        title: title(&waiting.title(head)),
        summary: waiting.summary(head),
        details_url: waiting.details_url.clone(),
    }
}

impl Waiting {
    fn total(&self) -> usize {
        self.runs.len() + self.collected.len()
    }

    fn title(&self, head: &CommitSha) -> String {
        let (read, total) = (self.collected.len(), self.total());
        if total == 0 {
            return format!("Waiting for the trace of {}", head.short());
        }
        if self.runs.is_empty() {
            return format!(
                "Comparing: {} read",
                number_format::count(read, "workflow run", "workflow runs")
            );
        }
        // Long names are cut, so that two of them fit into a title.
        let names = self.runs.iter().take(NAMED).map(|run| escape::plain_within(&run.name, 60));
        let mut names: Vec<String> = names.collect();
        if self.runs.len() > NAMED {
            names.push(format!("{} more", number_format::number(self.runs.len() - NAMED)));
        }
        let all = listed(&names);
        format!(
            "Waiting for {all} ({} of {} read)",
            number_format::number(read),
            number_format::number(total)
        )
    }

    fn summary(&self, head: &CommitSha) -> String {
        let head = format!("`{}`", head.short());
        let until = self.until.map(number_format::minute);
        if self.total() == 0 {
            let none = until.map_or("none arrives".to_owned(), |at| format!("none has arrived by {at}"));
            return format!(
                "The comparison starts when the pipeline of {head} has ended and its trace has arrived. \
                 If {none}, this check ends neutral and says so."
            );
        }
        let waited = self.runs.iter().map(|run| (&run.name, run.state.phrase()));
        let read = self.collected.iter().map(|name| (name, "is read"));
        let mut lines = vec![format!("The runs of {head}:"), String::new()];
        lines.extend(
            waited
                .chain(read)
                .take(LISTED)
                .map(|(name, phrase)| format!("- {} {phrase}", escape::code(name))),
        );
        if self.total() > LISTED {
            let rest = number_format::count(self.total() - LISTED, "run", "runs");
            lines.extend([String::new(), format!("_Left out here: {rest}._")]);
        }
        let next = if self.runs.is_empty() {
            "All of them are read. The comparison is in progress.".to_owned()
        } else {
            let late =
                until.map_or("one never ends".to_owned(), |at| format!("one is still missing at {at}"));
            format!(
                "The comparison is made when all of them have ended and are read. If {late}, this check \
                 ends neutral and says so."
            )
        };
        lines.extend([String::new(), next]);
        lines.join("\n")
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
