//! The demo's pipeline: checkout, build, test and deploy with their operations. It has the noise of
//! shared runners: machines of different speed, heavy tails, a flaky upload, failed runs and reruns.

use std::sync::Arc;

use pacegate_clock::Randomness;
use pacegate_engine::model::ids::{CommitSha, PrNumber, RepoName, SpanId, TraceId};
use pacegate_engine::model::span::{
    AttributeValue, Attributes, Dropped, Resource, Span, SpanEvent, SpanKind, SpanStatus,
};
use pacegate_engine::model::time::Timestamp;

/// The change in a run's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    None,
    /// The integration tests wait for a slow service and record an exception.
    SlowIntegrationTests,
}

/// A run to generate.
#[derive(Debug, Clone)]
pub(super) struct RunPlan {
    /// Counts the runs.
    pub number: u32,
    pub started_at: Timestamp,
    pub head_sha: CommitSha,
    pub change: Change,
    /// None for a run of main.
    pub pull_request: Option<PrNumber>,
}

/// Name, usual seconds, and the share of them that depends on the machine instead of the network.
type Operation = (&'static str, f64, f64);

/// Name and type of a stage, and its operations.
const STAGES: [(&str, &str, &[Operation]); 4] = [
    ("checkout", "git", &[("git-clone", 9.0, 0.2), ("code-validation", 14.0, 1.0)]),
    ("build", "build", &[("compile", 148.0, 1.0), ("package", 31.0, 1.0), ("artifact-upload", 12.0, 0.2)]),
    (
        "test",
        "test",
        &[("unit-tests", 64.0, 1.0), ("integration-tests", 92.0, 0.9), ("security-scans", 38.0, 0.8)],
    ),
    (
        "deploy",
        "deploy",
        &[("environment-setup", 11.0, 0.3), ("deployment", 43.0, 0.3), ("health-check", 16.0, 0.2)],
    ),
];

/// Factor on the duration of the changed integration tests.
const SLOWER: f64 = 1.58;

const NANOS: f64 = 1e9;

struct Recorder<'a> {
    rng: &'a Randomness,
    trace_id: TraceId,
    resource: Arc<Resource>,
    spans: Vec<Span>,
}

/// The spans of one run, the root last, as a batching exporter sends them.
pub(super) fn spans(plan: &RunPlan, repo: &RepoName, rng: &Randomness) -> Vec<Span> {
    let mut trace = Recorder {
        rng,
        trace_id: TraceId::from_bytes(&rng.bytes::<16>()).unwrap_or_else(|_| unreachable!("not all zero")),
        resource: resource(plan, repo),
        spans: Vec::new(),
    };
    let root = trace.id();
    // Three kinds of machine share one label: usual, a tenth slower, a quarter slower.
    let machine = [0.0, 0.0, 0.0, 0.1, 0.1, 0.25][usize::from(rng.bytes::<1>()[0]) % 6] + 0.03 * normal(rng);
    let fails = plan.number % 17 == 11;
    let mut now = plan.started_at.0 * 1_000;
    let began = now;
    for (stage, kind, operations) in STAGES {
        let failed = fails && stage == "deploy";
        now = trace.stage(root, plan, (stage, kind), operations, machine, failed, now);
    }
    let status = if fails { SpanStatus::Error("deploy failed".into()) } else { SpanStatus::Ok };
    let attributes = [
        ("pipeline.name", "my-app".to_owned()),
        ("pipeline.id", format!("pipeline-{}", 8_800 + plan.number)),
        ("pipeline.trigger", if plan.pull_request.is_some() { "pull_request" } else { "push" }.to_owned()),
    ];
    trace.push(root, None, "pipeline-execution", began..now, &attributes, status);
    let mut spans = trace.spans;
    if let Some(span) = spans.last_mut() {
        span.kind = SpanKind::Server;
    }
    spans
}

fn resource(plan: &RunPlan, repo: &RepoName) -> Arc<Resource> {
    let mut pairs = vec![
        ("service.name", "pipeline-engine".to_owned()),
        ("vcs.repository.name", repo.to_string()),
        ("vcs.ref.head.revision", plan.head_sha.to_string()),
        ("os.type", "linux".to_owned()),
        ("host.arch", "amd64".to_owned()),
    ];
    match plan.pull_request {
        None => pairs.push(("vcs.ref.head.name", "main".to_owned())),
        Some(number) => {
            pairs.push(("vcs.ref.head.name", "orders-retry".to_owned()));
            pairs.push(("vcs.change.id", number.0.to_string()));
        }
    }
    if plan.number % 13 == 5 {
        pairs.push(("cicd.pipeline.run.attempt", "2".to_owned()));
    }
    Arc::new(Resource { attributes: attributes(&pairs), dropped_attributes: 0 })
}

fn attributes(pairs: &[(&str, String)]) -> Attributes {
    Attributes(pairs.iter().map(|(k, v)| ((*k).to_owned(), AttributeValue::String(v.clone()))).collect())
}

impl Recorder<'_> {
    fn id(&self) -> SpanId {
        SpanId::from_bytes(&self.rng.bytes::<8>()).unwrap_or_else(|_| unreachable!("not all zero"))
    }

    fn push(
        &mut self,
        span_id: SpanId,
        parent_span_id: Option<SpanId>,
        name: &str,
        time: std::ops::Range<i64>,
        pairs: &[(&str, String)],
        status: SpanStatus,
    ) {
        self.spans.push(Span {
            trace_id: self.trace_id,
            span_id,
            parent_span_id,
            name: name.to_owned(),
            kind: SpanKind::Internal,
            start_ns: time.start,
            end_ns: time.end,
            status,
            attributes: attributes(pairs),
            events: Vec::new(),
            links: Vec::new(),
            dropped: Dropped::default(),
            trace_state: String::new(),
            scope: Arc::default(),
            resource: self.resource.clone(),
        });
    }

    /// Adds one stage with its operations in sequence. Returns its end in nanoseconds.
    #[expect(clippy::too_many_arguments, reason = "a made-up stage depends on all of them")]
    fn stage(
        &mut self,
        root: SpanId,
        plan: &RunPlan,
        (stage, kind): (&str, &str),
        operations: &[Operation],
        machine: f64,
        failed: bool,
        mut now: i64,
    ) -> i64 {
        let (id, began) = (self.id(), now);
        now += nanoseconds(0.4 * (0.2 * normal(self.rng)).exp());
        for (operation, usual_seconds, share_of_machine) in operations {
            let noise = 0.045 * heavy_tailed(self.rng);
            let mut seconds = usual_seconds * (machine * share_of_machine + noise).exp();
            let is_changed = plan.change == Change::SlowIntegrationTests && *operation == "integration-tests";
            if is_changed {
                seconds *= SLOWER;
            }
            let ended = now + nanoseconds(seconds);
            let key = if stage == "test" { "test.type" } else { "operation" };
            let pairs = [(key, (*operation).to_owned())];
            let operation_id = self.id();
            self.push(operation_id, Some(id), operation, now..ended, &pairs, SpanStatus::Ok);
            let event = if is_changed {
                Some(exception(
                    "OrderServiceTimeout",
                    "order-service did not answer within 5000 ms (attempt 2 of 3)",
                ))
            } else if *operation == "artifact-upload" && plan.number % 9 == 4 {
                Some(exception("ConnectionResetError", "connection reset by peer"))
            } else {
                None
            };
            if let (Some(mut event), Some(span)) = (event, self.spans.last_mut()) {
                event.time_ns = ended - 1_000_000;
                span.events.push(event);
            }
            now = ended;
        }
        let status = if failed { SpanStatus::Error("deploy failed".into()) } else { SpanStatus::Ok };
        let pairs = [("stage.name", stage.to_owned()), ("stage.type", kind.to_owned())];
        self.push(id, Some(root), &format!("{stage}-stage"), began..now, &pairs, status);
        now
    }
}

fn exception(kind: &str, message: &str) -> SpanEvent {
    SpanEvent {
        dropped_attributes: 0,
        name: "exception".to_owned(),
        time_ns: 0,
        attributes: attributes(&[
            ("exception.type", kind.to_owned()),
            ("exception.message", message.to_owned()),
        ]),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "minutes in nanoseconds")]
fn nanoseconds(seconds: f64) -> i64 {
    (seconds * NANOS) as i64
}

/// Uniform in (0, 1).
fn uniform(rng: &Randomness) -> f64 {
    (f64::from(u32::from_le_bytes(rng.bytes())) + 0.5) / (f64::from(u32::MAX) + 1.0)
}

/// Standard normal, by Box and Muller (1958).
fn normal(rng: &Randomness) -> f64 {
    (-2.0 * uniform(rng).ln()).sqrt() * (std::f64::consts::TAU * uniform(rng)).cos()
}

/// Student's t with five degrees of freedom: residuals of durations have such tails.
fn heavy_tailed(rng: &Randomness) -> f64 {
    let chi_squared: f64 = (0..5).map(|_| normal(rng).powi(2)).sum();
    normal(rng) / (chi_squared / 5.0).sqrt()
}
