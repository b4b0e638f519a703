//! The dependencies of all tasks, set up once by the command that starts the process. Nothing here decides.

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

/// Settings for raw traces: redaction, retention, links.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// Removes secrets from spans before anything else reads them.
    pub redactor: Redactor,
    /// The policies that keep a trace beyond the first days.
    pub sampling: Arc<Sampling>,
    /// Every trace is kept this long.
    pub full_retention: Duration,
    /// Template for the address of a trace in another service.
    pub link: Option<TraceLink>,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self {
            redactor: Redactor::default(),
            sampling: Arc::default(),
            full_retention: Duration::from_hours(7 * 24),
            link: None,
        }
    }
}

/// Mebibytes of stored spans that one process collects at a time. Decoded, they take several times as
/// much memory.
pub const COLLECTING_MIB: u32 = 128;

/// The dependencies and settings of a task. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WorkerContext {
    /// The database.
    pub db: Db,
    /// The object store of raw traces.
    pub traces: TraceStore,
    /// Settings for raw traces.
    pub trace_settings: TraceSettings,
    /// The GitHub App. `None` in local mode.
    pub app: Option<App>,
    /// The only source of time.
    pub clock: Clock,
    /// The only source of randomness.
    pub rng: Randomness,
    /// Counters of this process.
    pub metrics: Metrics,
    /// A trace with a root span is collected this long after its newest span.
    pub settle: Duration,
    /// A check without a trace is concluded after this time.
    pub check_timeout: Duration,
    /// The data of a repository without an installation is kept this long.
    pub grace: Duration,
    /// Length of a lease. After it, another process may claim the task.
    pub lease: Duration,
    /// Interval of the reconciliation with GitHub. Zero: never.
    pub reconcile_interval: Duration,
    /// Branch of the baseline for repositories whose base branch is not known from GitHub.
    pub base_branch: Option<String>,
    /// Permits for [`COLLECTING_MIB`], one per mebibyte.
    pub collecting: Arc<Semaphore>,
    /// Address of this service's pages, if it is reachable.
    pub public_url: Option<String>,
}

impl WorkerContext {
    /// The absolute address of a comparison's page. `None` without a public URL.
    #[must_use]
    pub fn page_url(&self, repo: &RepoName, id: &ComparisonId) -> Option<String> {
        let base = self.public_url.as_deref()?.trim_end_matches('/');
        Some(format!("{base}/{repo}/comparisons/{id}"))
    }

    /// The absolute address of a repository's page. `None` without a public URL.
    #[must_use]
    pub fn repository_url(&self, repo: &RepoName) -> Option<String> {
        Some(format!("{}/{repo}", self.public_url.as_deref()?.trim_end_matches('/')))
    }

    /// The address of a trace in another service, if one is configured.
    #[must_use]
    pub fn trace_url(&self, trace: Option<TraceId>) -> Option<String> {
        Some(self.trace_settings.link.as_ref()?.of(trace?))
    }

    /// The report of a stored comparison, for GitHub, the pages and the API alike.
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
