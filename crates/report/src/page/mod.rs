//! HTML pages, rendered on the server from plain values. They contain no script. askama escapes all
//! values; only our own SVG is marked safe. Callers pass all addresses: this module knows no routes.

mod comparison;
mod run;
mod runs;
mod setup;

pub use comparison::{ComparisonPage, Posting};
pub use run::{RawTrace, RunPage};
pub use runs::{HistoryProgress, RunRow, RunsPage};
pub use setup::{AppGrant, CreatedApp, SetupDonePage, SetupManifestPage, SetupPage};

use askama::Template;

use pacegate_engine::model::comparison::RunVerdict;
use pacegate_engine::model::run::Lineage;
use pacegate_engine::model::time::Timestamp;

use super::{escape, headline, number_format};

/// Values for the frame of every page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Site {
    /// There are no GitHub credentials, so nothing is posted.
    pub local_mode: bool,
}

/// Values for the first steps, which are shown while there are no runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The repository, or the text `OWNER/NAME` when none is chosen.
    pub repo: String,
    /// Address for OTLP over HTTP: `http://127.0.0.1:8080`.
    pub otlp_http: String,
}

/// One repository in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryRow {
    /// `OWNER/NAME`.
    pub name: String,
    /// Page of its runs.
    pub href: String,
    /// Number of stored runs.
    pub runs: usize,
    /// Start of the newest run.
    pub last_run: Option<Timestamp>,
    /// Verdict of the newest comparison.
    pub last_verdict: Option<RunVerdict>,
}

/// The repositories that the reader may see.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "repositories.html")]
pub struct RepositoriesPage {
    pub site: Site,
    /// In the order to be shown.
    pub repositories: Vec<RepositoryRow>,
    /// Shown when the list is empty.
    pub start: Start,
}

/// The page of an error: the status and one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "error.html")]
pub struct ErrorPage {
    pub site: Site,
    pub status: u16,
    /// For the reader. Contains no internal details.
    pub sentence: String,
}

macro_rules! rendered {
    ($($page:ty),+) => {$(
        impl $page {
            /// The page as HTML.
            ///
            /// # Errors
            /// None in practice: the template engine's signature has an error, but writing to a `String` can't fail.
            pub fn render(&self) -> Result<String, askama::Error> {
                Template::render(self)
            }
        }
    )+};
}

rendered!(
    RepositoriesPage,
    RunsPage,
    RunPage,
    ComparisonPage,
    ErrorPage,
    SetupPage,
    SetupManifestPage,
    SetupDonePage
);

/// A verdict as a label.
struct Badge {
    class: &'static str,
    text: &'static str,
}

impl From<RunVerdict> for Badge {
    fn from(verdict: RunVerdict) -> Self {
        Self { class: verdict.as_str(), text: headline::badge(verdict) }
    }
}

impl RepositoryRow {
    fn badge(&self) -> Option<Badge> {
        self.last_verdict.map(Badge::from)
    }

    fn count(&self) -> String {
        number_format::number(self.runs)
    }

    fn last(&self) -> String {
        self.last_run.map_or_else(|| "-".to_owned(), when)
    }
}

/// `2026-11-22 12:05`, in UTC. The column's heading says UTC.
fn when(time: Timestamp) -> String {
    let text = number_format::minute(time);
    text.strip_suffix(" UTC").unwrap_or(&text).to_owned()
}

/// The branch or the pull request of a run.
fn lineage(lineage: &Lineage) -> String {
    match lineage {
        Lineage::Branch { name } => escape::readable(name),
        Lineage::PullRequest { number } => format!("PR {number}"),
        Lineage::Unknown => "-".to_owned(),
    }
}
