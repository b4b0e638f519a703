//! The worker's loop in local mode, in this process: pushed spans become a run, its samples and a
//! comparison. Stopping a loop or sharing a database loses nothing and repeats nothing.

mod collecting;
mod linking;
mod stopping;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use pacegate::metrics::{Metrics, Outcome as Label};
use pacegate::tasks::run_tasks;
use pacegate::tasks::{COLLECTING_MIB, CollectRun, Task, TraceSettings, WorkerContext};
use pacegate_clock::Clock;
use pacegate_engine::gate::measure::identity::SHA_KEYS;
use pacegate_engine::model::ids::{RepoId, SpanId, TraceId};
use pacegate_engine::model::span::{
    AttributeValue, Attributes, Dropped, Resource, Span, SpanKind, SpanStatus,
};
use pacegate_engine::model::time::Timestamp;
use pacegate_ingest::otlp::encode_protobuf;
use pacegate_ingest::redact::redact;
use pacegate_ingest::span_batch::compress;
use pacegate_store::traces::TraceStore;
use pacegate_store::{SpanBatch, StoreError, TraceBounds};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Outcome, Store, at, seconds, store_test};
use crate::time::eventually;

/// The time for which a trace has to be quiet in these tests.
const SETTLE: Duration = Duration::from_secs(30);
/// The time after which a test fails.
const DEADLINE: Duration = Duration::from_secs(30);

/// The context of a worker, with a clock that only the test moves.
pub(super) struct Bench {
    pub(super) work: WorkerContext,
    time: Arc<AtomicI64>,
    traces: TempDir,
}

impl Bench {
    pub(super) fn new(store: &Store) -> Self {
        let time = Arc::new(AtomicI64::new(at(0).0));
        let clock = Clock::from_fn({
            let time = Arc::clone(&time);
            move || Timestamp(time.load(Ordering::SeqCst))
        });
        Self::with_clock(store, clock, time)
    }

    fn with_clock(store: &Store, clock: Clock, time: Arc<AtomicI64>) -> Self {
        let traces = TempDir::new().expect("a temporary folder");
        let url = format!("file:{}", traces.path().display());
        let work = WorkerContext {
            db: store.db.clone(),
            traces: TraceStore::open(&url).expect("a folder for traces"),
            trace_settings: TraceSettings::default(),
            app: None,
            clock,
            rng: store.rng.clone(),
            metrics: Metrics::default(),
            settle: SETTLE,
            collecting: std::sync::Arc::new(tokio::sync::Semaphore::new(COLLECTING_MIB as usize)),
            check_timeout: Duration::from_hours(1),
            grace: Duration::from_hours(720),
            lease: Duration::from_mins(1),
            reconcile_interval: Duration::ZERO,
            base_branch: None,
            public_url: None,
        };
        Self { work, time, traces }
    }

    /// Moves the clock and notifies the workers, as a poll would.
    fn pass(&self, duration: Duration) {
        let micros = i64::try_from(duration.as_micros()).expect("a short while");
        self.time.fetch_add(micros, Ordering::SeqCst);
        self.work.db.task_pushed.notify_one();
    }

    /// Accepts a batch of spans as the service does: redacted, stored, and with its task.
    async fn push(&self, repo: RepoId, mut spans: Vec<Span>) -> Outcome {
        redact(&mut spans);
        let trace = spans[0].trace_id;
        let head_sha = spans[0].text(&SHA_KEYS).and_then(|text| text.parse().ok());
        let plain = encode_protobuf(&spans);
        let batch = SpanBatch {
            repo,
            trace,
            body: &compress(&plain),
            bytes: i64::try_from(plain.len()).expect("a small batch"),
            spans: i64::try_from(spans.len()).expect("few spans"),
            has_root: spans.iter().any(|span| span.parent_span_id.is_none()),
            head_sha: head_sha.as_ref(),
            manifest: None,
        };
        let (rng, now) = (&self.work.rng, self.work.clock.now());
        let mut tx = self.work.db.write().await?;
        let bounds = TraceBounds { spans: 100_000, bytes: 1 << 30 };
        let open = tx.add_span_batches(&[batch], bounds, rng, now).await?[0].expect("a trace that takes it");
        if open.has_root == 1 {
            let collect = CollectRun { repo, trace, collections: open.collections };
            collect.push(&mut tx, now.after(SETTLE), rng, now).await?;
        }
        tx.commit().await
    }

    /// Waits until no task is open.
    async fn drained(&self) -> Outcome {
        let db = &self.work.db;
        eventually("the queue to be empty", DEADLINE, || async {
            let counted = async { db.read().await?.count_tasks().await };
            let counts = counted.await.expect("the database answers");
            assert_eq!(counts.dead, 0, "nothing was given up");
            (counts.open == 0).then_some(())
        })
        .await;
        Ok(())
    }

    /// Number of attempts of a kind of task with this outcome.
    fn ended(&self, kind: &'static str, outcome: &'static str) -> u64 {
        self.work.metrics.jobs.get_or_create(&Label { kind, outcome }).get()
    }
}

/// A running worker loop.
struct Loop {
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Loop {
    fn start(work: WorkerContext, slots: usize) -> Self {
        let stop = CancellationToken::new();
        Self { running: tokio::spawn(run_tasks(work, slots, stop.clone())), stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.await.expect("no panic");
    }
}

fn texts(pairs: &[(&str, &str)]) -> Attributes {
    let text = |value: &str| AttributeValue::String(value.to_owned());
    Attributes(pairs.iter().map(|(key, value)| ((*key).to_owned(), text(value))).collect())
}

fn trace(n: u8) -> TraceId {
    super::runs::trace(n)
}

/// A span of one second on commit `a…a` of the main branch. Parent 0 stands for none.
fn span(trace_id: TraceId, id: u8, parent: u8, name: &str) -> Span {
    let span_id = |n: u8| SpanId::from_bytes(&[0, 0, 0, 0, 0, 0, 0, n]).ok();
    let resource = [
        ("vcs.ref.head.revision", super::sha('a').as_str().to_owned()),
        ("vcs.ref.head.name", "main".to_owned()),
        ("cicd.pipeline.name", "build".to_owned()),
    ];
    let resource = resource.each_ref().map(|(key, value)| (*key, value.as_str()));
    Span {
        trace_id,
        span_id: span_id(id).expect("not zero"),
        parent_span_id: span_id(parent),
        name: name.to_owned(),
        kind: SpanKind::Internal,
        start_ns: at(0).0 * 1_000 + i64::from(id),
        end_ns: at(1).0 * 1_000,
        status: SpanStatus::Unset,
        attributes: Attributes::default(),
        events: Vec::new(),
        links: Vec::new(),
        dropped: Dropped::default(),
        trace_state: String::new(),
        scope: Arc::default(),
        resource: Arc::new(Resource { attributes: texts(&resource), dropped_attributes: 0 }),
    }
}

/// A whole trace: a pipeline with two tasks.
fn whole(trace_id: TraceId) -> Vec<Span> {
    vec![span(trace_id, 1, 0, "build"), span(trace_id, 2, 1, "compile"), span(trace_id, 3, 1, "test")]
}
