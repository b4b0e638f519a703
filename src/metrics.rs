//! The metrics of the service, in Prometheus' text format. Labels have fixed sets of values: no text
//! from a sender becomes a label.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The labels of every counter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// Subject of the count, such as a protocol or a task.
    pub kind: &'static str,
    /// How it ended.
    pub outcome: &'static str,
}

/// Counters and gauges. Cheap to clone; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Spans by protocol, `accepted` or `rejected`.
    pub spans: Family<Outcome, Counter>,
    /// Spans that were forwarded to another endpoint or dropped, by outcome.
    pub forwarded_spans: Family<Outcome, Counter>,
    /// Refused requests by protocol and reason.
    pub refused_requests: Family<Outcome, Counter>,
    /// Attempts of background tasks by kind and outcome.
    pub jobs: Family<Outcome, Counter>,
    /// Webhook deliveries by outcome.
    pub deliveries: Family<Outcome, Counter>,
    /// Comparisons by verdict.
    pub comparisons: Family<Outcome, Counter>,
    open_jobs: Gauge<i64, AtomicI64>,
    dead_jobs: Gauge<i64, AtomicI64>,
    closed_installations: Gauge<i64, AtomicI64>,
    least_calls_left: Gauge<i64, AtomicI64>,
    most_writes: Gauge<i64, AtomicI64>,
    registry: Arc<Registry>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("pacegate");
        let spans = Family::default();
        registry.register("spans", "Spans pushed to the service", spans.clone());
        let forwarded_spans = Family::default();
        registry.register(
            "forwarded_spans",
            "Accepted spans that were forwarded, or dropped instead",
            forwarded_spans.clone(),
        );
        let refused_requests = Family::default();
        registry.register(
            "refused_requests",
            "Requests with spans that were refused completely",
            refused_requests.clone(),
        );
        let jobs = Family::default();
        registry.register("job_attempts", "Attempts of background tasks", jobs.clone());
        let deliveries = Family::default();
        registry.register("deliveries", "Webhook deliveries", deliveries.clone());
        let comparisons = Family::default();
        registry.register("comparisons", "Comparisons made", comparisons.clone());
        let open_jobs = Gauge::default();
        registry.register("open_jobs", "Background tasks that wait or run", open_jobs.clone());
        let dead_jobs = Gauge::default();
        registry.register(
            "dead_jobs",
            "Background tasks that failed for good and need an operator",
            dead_jobs.clone(),
        );
        let gauge = |registry: &mut Registry, name: &str, help: &str| {
            let gauge = Gauge::<i64, AtomicI64>::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let closed_installations = gauge(
            &mut registry,
            "github_closed_installations",
            "Installations that GitHub asked not to call for now",
        );
        let least_calls_left = gauge(
            &mut registry,
            "github_least_calls_left_percent",
            "Share of the hour's calls left to the installation with the smallest share",
        );
        let most_writes = gauge(
            &mut registry,
            "github_most_writes",
            "Writes of the last hour to the installation with the most",
        );
        Self {
            spans,
            forwarded_spans,
            refused_requests,
            jobs,
            deliveries,
            comparisons,
            open_jobs,
            dead_jobs,
            closed_installations,
            least_calls_left,
            most_writes,
            registry: Arc::new(registry),
        }
    }
}

impl Metrics {
    /// Counts one.
    pub fn count(family: &Family<Outcome, Counter>, kind: &'static str, outcome: &'static str) {
        Self::count_many(family, kind, outcome, 1);
    }

    /// Counts several.
    pub fn count_many(family: &Family<Outcome, Counter>, kind: &'static str, outcome: &'static str, by: u64) {
        family.get_or_create(&Outcome { kind, outcome }).inc_by(by);
    }

    /// Sets the gauges of GitHub's rate limits:
    ///
    /// - `closed`: installations that may not be called now
    /// - `least_calls_percent`: the smallest share of calls that an installation has left this hour
    /// - `most_writes`: the most writes to one installation in the last hour
    pub fn set_github_limits(&self, closed: i64, least_calls_percent: i64, most_writes: i64) {
        self.closed_installations.set(closed);
        self.least_calls_left.set(least_calls_percent);
        self.most_writes.set(most_writes);
    }

    /// All metrics as text. Writing to memory does not fail in practice.
    pub fn encode(&self, open_jobs: i64, dead_jobs: i64) -> Result<String, std::fmt::Error> {
        self.open_jobs.set(open_jobs);
        self.dead_jobs.set(dead_jobs);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
