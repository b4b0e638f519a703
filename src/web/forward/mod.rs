//! Forwards accepted spans to another OTLP endpoint, if one is configured. They wait in a queue in
//! memory, bounded in bytes. Spans that do not fit, are refused or can't be delivered in time are
//! dropped and counted. Storing spans never waits for it.

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

pub(crate) use self::target::ForwardTarget;
use crate::metrics::Metrics;

/// The header of forwarded requests, whose spans are not forwarded again.
pub(super) const FORWARDED: &str = "x-pacegate-forwarded";
/// Bytes that wait or are being sent.
const QUEUE_BYTES: usize = 64 << 20;
/// Memory of a batch beside its bytes.
const BATCH_OVERHEAD: usize = 64;
/// A request gets further batches until it has this size.
const REQUEST_BYTES: usize = 2 << 20;
/// Timeout of one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// A request is given up when its pauses add up to this.
const LONGEST_RETRY: Duration = Duration::from_mins(5);
/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Bounds on a pause, also when the endpoint asks for another.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a stop waits for the queue.
const DRAIN: Duration = Duration::from_secs(5);
/// The shortest time between two warnings about lost spans.
const BETWEEN_WARNINGS: Duration = Duration::from_mins(1);
/// Label in the metrics.
const KIND: &str = "otlp_http";

/// The sending end of the queue. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Forwarder {
    queue: mpsc::UnboundedSender<Batch>,
    account: Arc<Account>,
}

/// The running worker of the queue.
#[derive(Debug)]
pub(crate) struct Forwarding {
    worker: JoinHandle<()>,
    stop: CancellationToken,
}

/// Spans as OTLP protobuf. Concatenated batches are one request.
#[derive(Debug)]
struct Batch {
    body: Bytes,
    spans: u64,
}

/// Counts of the queue.
#[derive(Debug)]
struct Account {
    /// Bytes that wait or are being sent.
    held: AtomicUsize,
    /// Spans lost since the last warning.
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
    /// Starts the worker. Fails when TLS can't be set up.
    pub(crate) fn start(
        target: ForwardTarget,
        metrics: Metrics,
    ) -> Result<(Self, Forwarding), reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(ATTEMPT_TIMEOUT)
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

    /// Puts spans into the queue, or drops them when it is full. Never waits.
    pub(super) fn offer(&self, body: Bytes, spans: u64) {
        let size = body.len() + BATCH_OVERHEAD;
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
    /// Sends the rest of the queue for at most `DRAIN`, then ends.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let _ended = self.worker.await;
    }
}

/// The result of one attempt to send.
enum Attempt {
    Accepted,
    /// A retry can't help.
    Refused(String),
    /// A retry may help, after the pause that the endpoint asked for, if any.
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
                tracing::warn!(
                    spans,
                    "spans were not forwarded; pacegate_forwarded_spans_total counts the reasons"
                );
                tokio::time::sleep(BETWEEN_WARNINGS).await;
            }
        });
        tokio::select! {
            () = self.send_all(&mut batches) => {}
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
            tracing::warn!(bytes = held, "the service stops before all spans are forwarded");
        }
        reporter.abort();
    }

    /// Sends batches until the stop, then until the queue is empty.
    async fn send_all(&self, batches: &mut mpsc::UnboundedReceiver<Batch>) {
        loop {
            let first = tokio::select! {
                biased;
                batch = batches.recv() => batch,
                () = self.stop.cancelled() => batches.try_recv().ok(),
            };
            let Some(first) = first else { return };
            let (mut bytes, mut spans, mut held) = (first.body.len(), first.spans, 0);
            held += bytes + BATCH_OVERHEAD;
            let mut bodies = vec![first.body];
            while bytes < REQUEST_BYTES
                && let Ok(next) = batches.try_recv()
            {
                bytes += next.body.len();
                held += next.body.len() + BATCH_OVERHEAD;
                spans += next.spans;
                bodies.push(next.body);
            }
            self.deliver(bodies.concat().into(), spans).await;
            self.account.held.fetch_sub(held, Ordering::AcqRel);
        }
    }

    /// Sends a request until it is accepted, refused or too late.
    async fn deliver(&self, body: Bytes, spans: u64) {
        let (mut pause, mut waited) = (FIRST_PAUSE, Duration::ZERO);
        loop {
            match self.attempt(body.clone()).await {
                Attempt::Accepted => return self.account.forwarded(spans),
                Attempt::Refused(why) => {
                    tracing::debug!(spans, why, "the forwarding endpoint refused spans");
                    return self.account.lost(spans, "refused");
                }
                Attempt::Later(after, why) => {
                    tracing::debug!(spans, why, "forwarding is tried again later");
                    let this = after.unwrap_or(pause).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
                    waited += this;
                    if waited > LONGEST_RETRY || self.stop.is_cancelled() {
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
            // The address may hold a token, which must not get into the log.
            Err(error) => return Attempt::Later(None, error.without_url().to_string()),
        };
        let status = answer.status();
        if status.is_success() {
            return Attempt::Accepted;
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
