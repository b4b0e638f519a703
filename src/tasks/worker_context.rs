//! What every job may use, handed down from where the process is put together. Nothing here decides.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::metrics::Metrics;
use pacegate_clock::{Clock, Randomness};
use pacegate_engine::model::ids::{ComparisonId, RepoName, TraceId};
use pacegate_engine::model::trace_link::TraceLink;
use pacegate_github::app_auth::App;
use pacegate_ingest::redact::Redactor;
use pacegate_ingest::sampling::Sampling;
use pacegate_report::{Report, ReportContext};
use pacegate_store::traces::TraceStore;
use pacegate_store::{ComparisonRow, Db};

/// What becomes of raw traces.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// Cleans spans before anything else sees them.
    pub redactor: Redactor,
    /// Who keeps a trace beyond the first days.
    pub sampling: Arc<Sampling>,
    /// How long every trace is kept.
    pub kept_whole: Duration,
    /// Where people look at a trace.
    pub link: Option<TraceLink>,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self {
            redactor: Redactor::default(),
            sampling: Arc::default(),
            kept_whole: Duration::from_hours(7 * 24),
            link: None,
        }
    }
}

/// Mebibytes of stored spans that one process makes runs of at once: decoded they take several
/// times as much.
pub const COLLECTING_MIB: u32 = 128;

/// Everything a job may use.
#[derive(Debug, Clone)]
pub struct WorkerContext {
    /// The database.
    pub db: Db,
    /// Raw traces.
    pub traces: TraceStore,
    /// What becomes of them.
    pub trace_settings: TraceSettings,
    /// GitHub; none in local mode.
    pub app: Option<App>,
    /// The time.
    pub clock: Clock,
    /// Chance.
    pub rng: Randomness,
    /// Counters.
    pub metrics: Metrics,
    /// How long a run has to be quiet after its root span.
    pub settle: Duration,
    /// How long a check waits for a trace.
    pub check_timeout: Duration,
    /// How long the data of a repository without an installation is kept.
    pub grace: Duration,
    /// How long a job is a process's own without a sign of life.
    pub lease: Duration,
    /// How often GitHub is asked for what its deliveries did not tell; zero: never.
    pub reconcile_interval: Duration,
    /// Branch of the baseline where GitHub does not say it.
    pub base_branch: Option<String>,
    /// Mebibytes of stored spans that are made runs of at once.
    pub collecting: Arc<Semaphore>,
    /// Where people reach the pages.
    pub public_url: Option<String>,
}

impl WorkerContext {
    /// The absolute address of a comparison's page, when people can reach it.
    #[must_use]
    pub fn page_url(&self, repo: &RepoName, id: &ComparisonId) -> Option<String> {
        let base = self.public_url.as_deref()?.trim_end_matches('/');
        Some(format!("{base}/{repo}/comparisons/{id}"))
    }

    /// The absolute address of a repository's page, when people can reach it.
    #[must_use]
    pub fn repository_url(&self, repo: &RepoName) -> Option<String> {
        Some(format!("{}/{repo}", self.public_url.as_deref()?.trim_end_matches('/')))
    }

    /// Where people look at a trace outside of these pages.
    #[must_use]
    pub fn trace_url(&self, trace: Option<TraceId>) -> Option<String> {
        Some(self.trace_settings.link.as_ref()?.of(trace?))
    }

    /// The report of a stored comparison: the one that is published, shown and handed out.
    #[must_use]
    pub fn report(&self, repo: &RepoName, row: ComparisonRow) -> Report {
        let policy = &row.comparison.policy;
        let context = ReportContext {
            mode: policy.mode,
            comment: policy.comment,
            pull_request: row.pull_request,
            page_url: self.page_url(repo, &row.id),
            trace_url: self.trace_url(row.trace),
        };
        Report::new(row.comparison, context)
    }
}
