//! The check when there is no comparison. It is neutral: missing data never blocks and never passes a
//! change. Each reason is a sentence that says what the reader can do.

use std::time::Duration;

use crate::{Conclusion, escape, number_format};
use pacegate_engine::model::ids::CommitSha;

use super::waiting::listed;
use super::{CheckAction, CheckOutput};

/// Runs that are named at most.
const NAMED: usize = 5;

/// Why there is no verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotJudged {
    /// No trace arrived.
    NoTrace {
        /// The waiting time.
        within: Duration,
    },
    /// Workflow runs have not ended.
    StillRunning {
        /// Their names on GitHub.
        runs: Vec<String>,
        /// The waiting time.
        within: Duration,
    },
    /// No workflow ran for the commit.
    NothingRan,
    /// GitHub did not answer.
    GitHubUnavailable {
        /// For this long.
        within: Duration,
    },
    /// The pull request has a newer commit.
    Superseded {
        /// The newer commit.
        by: CommitSha,
    },
    /// The App's installation lacks a permission.
    NoPermission {
        /// Name and level as GitHub writes them: `actions: read`.
        permission: &'static str,
    },
}

impl NotJudged {
    fn title(&self, head: &CommitSha) -> String {
        match self {
            Self::NoTrace { .. } => format!("Not judged: no trace of {} arrived", head.short()),
            Self::StillRunning { runs, .. } => {
                let runs = number_format::count(runs.len(), "workflow run", "workflow runs");
                format!("Not judged: {runs} of {} did not end in time", head.short())
            }
            Self::NothingRan => format!("Not judged: no workflow ran for {}", head.short()),
            Self::GitHubUnavailable { .. } => "Not judged: GitHub did not answer".to_owned(),
            Self::Superseded { by } => format!("Superseded by {}", by.short()),
            Self::NoPermission { permission } => {
                format!("Not judged: the App lacks the permission {permission}")
            }
        }
    }

    fn explanation(&self) -> String {
        let waited = |within: &Duration| number_format::duration(within.as_secs_f64());
        match self {
            Self::NoTrace { within } => format!(
                "No complete trace of this commit arrived within {}. Does its pipeline send spans here, with \
                 `vcs.ref.head.revision` set to this commit?",
                waited(within)
            ),
            Self::StillRunning { runs, within } => {
                let mut names: Vec<String> = runs.iter().take(NAMED).map(|name| escape::code(name)).collect();
                if runs.len() > NAMED {
                    names.push(format!("{} more", number_format::number(runs.len() - NAMED)));
                }
                let had = if runs.len() == 1 { "has" } else { "have" };
                format!("After {}, {} {had} not ended.", waited(within), listed(&names))
            }
            Self::NothingRan => {
                "GitHub lists no workflow run of this commit, and no trace of it arrived. Its \
                                 changes may touch no path that a workflow listens to."
                    .to_owned()
            }
            Self::GitHubUnavailable { within } => format!(
                "GitHub did not answer for {}, so the runs of this commit could not be read.",
                waited(within)
            ),
            Self::Superseded { by } => {
                format!(
                    "The pull request has a newer commit, `{}`. The verdict is on the check of that commit.",
                    by.short()
                )
            }
            Self::NoPermission { permission } => format!(
                "The runs of this commit can't be read without the permission `{permission}`. An owner \
                 grants it where the App is installed, under \"Review request\"."
            ),
        }
    }

    fn next_step(&self) -> &'static str {
        match self {
            Self::Superseded { .. } => "This blocks nothing.",
            _ => "This blocks nothing. Re-run the check, or push again, for another try.",
        }
    }
}

/// The completed check of a commit that was not judged.
#[must_use]
pub fn gave_up(head: &CommitSha, why: &NotJudged) -> CheckOutput {
    let again = !matches!(why, NotJudged::Superseded { .. });
    CheckOutput {
        title: why.title(head),
        summary: format!("{}\n\n{}", why.explanation(), why.next_step()),
        text: String::new(),
        conclusion: Conclusion::Neutral,
        annotations: Vec::new(),
        actions: again.then_some(CheckAction::REEVALUATE).into_iter().collect(),
    }
}
