//! The server-rendered pages: plain values in, HTML out, no script. askama escapes everything
//! a template shows; only our own SVG is marked safe. Addresses are the caller's: no route is
//! known here.

mod comparison;
mod run;
mod runs;
mod setup;

pub use comparison::{ComparisonPage, Posting};
pub use run::{RawTrace, RunPage};
pub use runs::{HistoryProgress, RunRow, RunsPage};
pub use setup::{Asked, MadeApp, SetupDonePage, SetupManifestPage, SetupPage};

use askama::Template;

use pacegate_engine::model::comparison::RunVerdict;
use pacegate_engine::model::run::Lineage;
use pacegate_engine::model::time::Timestamp;

use super::{escape, headline, number_format};

/// What every page shows around its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Site {
    /// No GitHub credentials: nothing is posted.
    pub local_mode: bool,
}

/// The next steps of somebody who has nothing measured yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// `OWNER/NAME`, or the word itself when none is chosen.
    pub repo: String,
    /// Where OTLP over HTTP is received: `http://127.0.0.1:8080`.
    pub otlp_http: String,
}

/// One repository in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryRow {
    /// `OWNER/NAME`.
    pub name: String,
    /// Its runs.
    pub href: String,
    /// How many are stored.
    pub runs: usize,
    /// When the newest began.
    pub last_run: Option<Timestamp>,
    /// Of the newest comparison.
    pub last_verdict: Option<RunVerdict>,
}

/// Every repository the reader may see.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "repositories.html")]
pub struct RepositoriesPage {
    /// Around it.
    pub site: Site,
    /// In the order to be shown.
    pub repositories: Vec<RepositoryRow>,
    /// Shown when there is none.
    pub start: Start,
}

/// A request that was not answered: the status and one fixed sentence.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "error.html")]
pub struct ErrorPage {
    /// Around it.
    pub site: Site,
    /// HTTP status.
    pub status: u16,
    /// For the reader; never an internal.
    pub sentence: String,
}

macro_rules! rendered {
    ($($page:ty),+) => {$(
        impl $page {
            /// The page as HTML.
            ///
            /// # Errors
            /// Only what the template engine's writer reports; a `String` reports nothing.
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

/// A verdict as a label: its class and its words.
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

/// `2026-11-22 12:05`, UTC; the column's heading says so.
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
