//! Accepted spans go on to another OTLP endpoint, if the operator names one: from a queue in memory,
//! bounded in bytes, that nobody waits for. What does not fit, is refused or can't be delivered in
//! time is dropped and counted; what is stored here does not depend on it.

mod target;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use http::{StatusCode, header};
use reqwest::redirect;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::target::ForwardTarget;
use crate::metrics::Metrics;

/// Marks what was forwarded: it is not forwarded once more.
pub const FORWARDED: &str = "x-pacegate-forwarded";
/// Bytes that wait or are on their way.
const QUEUE_BYTES: usize = 64 << 20;
/// What a batch takes beside its bytes.
const BATCH_BYTES: usize = 64;
/// A request is filled up to this.
const REQUEST_BYTES: usize = 2 << 20;
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How long a request is tried again, pauses summed up.
const PATIENCE: Duration = Duration::from_mins(5);
/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The shortest and the longest pause, whoever asks for it.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a stop waits for what is in the queue.
const DRAIN: Duration = Duration::from_secs(5);
/// Losses are logged at most so often.
const BETWEEN_LOGS: Duration = Duration::from_mins(1);
/// How the counters call it.
const KIND: &str = "otlp_http";

/// The near end of the queue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Forwarder {
    queue: mpsc::UnboundedSender<Batch>,
    account: Arc<Account>,
}

/// A queue that is worked off.
#[derive(Debug)]
pub struct Forwarding {
    worker: JoinHandle<()>,
    stop: CancellationToken,
}

/// Spans as they were stored: OTLP protobuf, of which two, one after the other, are one request.
#[derive(Debug)]
struct Batch {
    body: Bytes,
    spans: u64,
}

/// What is held, and what was lost since it was last told.
#[derive(Debug)]
struct Account {
    held: AtomicUsize,
    lost: AtomicU64,
    was_lost: Notify,
    metrics: Metrics,
}

impl Account {
    fn forwarded(&self, spans: u64) {
        Metrics::count_many(&self.metrics.forwarded_spans, KIND, "forwarded", spans);
    }

    fn lost(&self, spans: u64, outcome: &'static str) {
        Metrics::count_many(&self.metrics.forwarded_spans, KIND, outcome, spans);
        self.lost.fetch_add(spans, Ordering::Relaxed);
        self.was_lost.notify_one();
    }
}

impl Forwarder {
    /// Starts to forward.
    ///
    /// # Errors
    /// When TLS can't be set up.
    pub fn start(target: ForwardTarget, metrics: Metrics) -> Result<(Self, Forwarding), reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(ATTEMPT)
            .redirect(redirect::Policy::none())
            .user_agent("pacegate")
            .build()?;
        let (queue, batches) = mpsc::unbounded_channel();
        let account = Arc::new(Account {
            held: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            was_lost: Notify::new(),
            metrics,
        });
        let stop = CancellationToken::new();
        let worker = Worker { client, target, account: account.clone(), stop: stop.clone() };
        let worker = tokio::spawn(worker.run(batches));
        Ok((Self { queue, account }, Forwarding { worker, stop }))
    }

    /// Passes spans on, or drops them when the queue is full. Never waits.
    pub fn offer(&self, body: Bytes, spans: u64) {
        let size = body.len() + BATCH_BYTES;
        let hold = |held: usize| held.checked_add(size).filter(|held| *held <= QUEUE_BYTES);
        if self.account.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, hold).is_err() {
            return self.account.lost(spans, "full");
        }
        if self.queue.send(Batch { body, spans }).is_err() {
            self.account.lost(spans, "unsent");
        }
    }
}

impl Forwarding {
    /// Sends what waits, for a few seconds, and ends.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ended = self.worker.await;
    }
}

/// What an attempt came to.
enum Attempt {
    Taken,
    /// Sending it again can't help.
    Refused(String),
    /// It can, after this pause if the endpoint named one.
    Later(Option<Duration>, String),
}

struct Worker {
    client: reqwest::Client,
    target: ForwardTarget,
    account: Arc<Account>,
    stop: CancellationToken,
}

impl Worker {
    async fn run(self, mut batches: mpsc::UnboundedReceiver<Batch>) {
        let account = self.account.clone();
        let reporter = tokio::spawn(async move {
            loop {
                account.was_lost.notified().await;
                let spans = account.lost.swap(0, Ordering::Relaxed);
                tracing::warn!(spans, "spans were not forwarded; pacegate_forwarded_spans_total says why");
                tokio::time::sleep(BETWEEN_LOGS).await;
            }
        });
        tokio::select! {
            () = self.work_off(&mut batches) => {}
            () = async { self.stop.cancelled().await; tokio::time::sleep(DRAIN).await } => {}
        }
        batches.close();
        let held = self.account.held.load(Ordering::Acquire);
        let mut unsent = 0;
        while let Ok(batch) = batches.try_recv() {
            unsent += batch.spans;
        }
        if held > 0 || unsent > 0 {
            self.account.lost(unsent, "unsent");
            tracing::warn!(bytes = held, "the stop did not wait for all spans to be forwarded");
        }
        reporter.abort();
    }

    /// Until the stop, and then until nothing waits.
    async fn work_off(&self, batches: &mut mpsc::UnboundedReceiver<Batch>) {
        loop {
            let first = tokio::select! {
                biased;
                batch = batches.recv() => batch,
                () = self.stop.cancelled() => batches.try_recv().ok(),
            };
            let Some(first) = first else { return };
            let (mut bytes, mut spans, mut held) = (first.body.len(), first.spans, 0);
            held += bytes + BATCH_BYTES;
            let mut bodies = vec![first.body];
            while bytes < REQUEST_BYTES
                && let Ok(next) = batches.try_recv()
            {
                bytes += next.body.len();
                held += next.body.len() + BATCH_BYTES;
                spans += next.spans;
                bodies.push(next.body);
            }
            self.deliver(bodies.concat().into(), spans).await;
            self.account.held.fetch_sub(held, Ordering::AcqRel);
        }
    }

    /// Until it is taken, refused or too late.
    async fn deliver(&self, body: Bytes, spans: u64) {
        let (mut pause, mut waited) = (FIRST_PAUSE, Duration::ZERO);
        loop {
            match self.attempt(body.clone()).await {
                Attempt::Taken => return self.account.forwarded(spans),
                Attempt::Refused(why) => {
                    tracing::debug!(spans, why, "spans were refused where they are forwarded to");
                    return self.account.lost(spans, "refused");
                }
                Attempt::Later(after, why) => {
                    tracing::debug!(spans, why, "spans are forwarded again later");
                    let this = after.unwrap_or(pause).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
                    waited += this;
                    if waited > PATIENCE || self.stop.is_cancelled() {
                        return self.account.lost(spans, "given_up");
                    }
                    tokio::select! {
                        () = tokio::time::sleep(this) => {}
                        // One last attempt.
                        () = self.stop.cancelled() => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn attempt(&self, body: Bytes) -> Attempt {
        let request = self
            .client
            .post(self.target.url.clone())
            .headers(self.target.headers.clone())
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .header(FORWARDED, "1")
            .body(body);
        let answer = match request.send().await {
            Ok(answer) => answer,
            // An address with a token in it must not get into the log.
            Err(error) => return Attempt::Later(None, error.without_url().to_string()),
        };
        let status = answer.status();
        if status.is_success() {
            return Attempt::Taken;
        }
        let why = format!("status {}", status.as_u16());
        match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                let after = answer.headers().get(header::RETRY_AFTER);
                let seconds = after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
                Attempt::Later(seconds.map(Duration::from_secs), why)
            }
            _ => Attempt::Refused(why),
        }
    }
}
