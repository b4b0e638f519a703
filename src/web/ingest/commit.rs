//! Commits the spans of requests. Requests that wait at the same time share one transaction, and
//! so one wait for the disk. Each is answered after its own spans are committed, and none fails
//! because of another.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::prepare::Batch;
use crate::tasks::{CollectRun, Task, WorkerContext};
use crate::web::error::WebError;
use pacegate_engine::model::ids::{RepoId, TraceId};
use pacegate_ingest::Rejected;
use pacegate_store::{NewTask, OpenTrace, Priority, SpanBatch, StoreError, TraceBounds, Tx};

/// The largest trace. More spans are not a pipeline's, and measuring a run loads all of its bytes.
const TRACE_BOUNDS: TraceBounds = TraceBounds { spans: 200_000, bytes: 128 << 20 };
/// Traces of one repository that wait for their root. Above this, the sender is probably not a CI
/// system.
const OPEN_TRACES: i64 = 10_000;
/// Above this number of open traces, a repository's runs are collected with low priority, so that
/// the checks of other repositories do not wait for them.
const MANY_OPEN_TRACES: i64 = 500;
const REQUESTS_PER_TRANSACTION: usize = 64;
/// A transaction with more bytes gets no further request.
const BYTES_PER_TRANSACTION: usize = 16 << 20;
/// Concurrent transactions. SQLite has one writer; PostgreSQL shares one wait for the disk among
/// several.
const TRANSACTIONS_ON_SQLITE: usize = 1;
const TRANSACTIONS_ON_POSTGRES: usize = 3;

/// A request that waits to be committed.
struct Waiting {
    repo: RepoId,
    batches: Vec<Batch>,
    answer: oneshot::Sender<Result<Rejected, WebError>>,
}

impl Waiting {
    fn bytes(&self) -> usize {
        let size = |batch: &Batch| batch.stored.len() + batch.manifest.as_ref().map_or(0, |m| m.len());
        self.batches.iter().map(size).sum()
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Tokio tasks that work off the queue. Each ends when the queue is empty.
    committing: usize,
}

/// Commits requests in groups. Cheap to clone; clones share one queue. Admission bounds the queue.
#[derive(Clone)]
pub(crate) struct Committer {
    context: WorkerContext,
    queue: Arc<Mutex<Queue>>,
}

impl std::fmt::Debug for Committer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Committer")
    }
}

impl Committer {
    #[must_use]
    pub(crate) fn new(context: WorkerContext) -> Self {
        Self { context, queue: Arc::default() }
    }

    /// Commits a request's batches. Returns the spans that were rejected because their trace is
    /// full. The commit happens even if the caller stops waiting.
    pub(super) async fn commit(&self, repo: RepoId, batches: Vec<Batch>) -> Result<Rejected, WebError> {
        if batches.is_empty() {
            return Ok(Rejected::default());
        }
        let (answer, answered) = oneshot::channel();
        let begin = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.waiting.push_back(Waiting { repo, batches, answer });
            let limit = if self.context.db.has_one_writer() {
                TRANSACTIONS_ON_SQLITE
            } else {
                TRANSACTIONS_ON_POSTGRES
            };
            let begin = queue.committing < limit;
            queue.committing += usize::from(begin);
            begin
        };
        if begin {
            tokio::spawn(self.clone().commit_all());
        }
        answered.await.map_err(|e| WebError::Internal(e.into()))?
    }

    /// Commits group after group until the queue is empty.
    async fn commit_all(self) {
        loop {
            {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                if queue.waiting.is_empty() {
                    queue.committing -= 1;
                    return;
                }
            }
            // Requests that arrive while this waits for the writer join the group.
            let tx = self.context.db.write().await;
            let group = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                take_group(&mut queue.waiting)
            };
            if group.is_empty() {
                continue; // another task took it
            }
            let done = match tx {
                Ok(tx) => store(&self.context, tx, &group).await,
                Err(error) => Err(error.into()),
            };
            match done {
                Ok(results) => {
                    for (waiting, result) in group.into_iter().zip(results) {
                        // Fails if the sender has left; its spans are stored anyway.
                        let _sender_left = waiting.answer.send(result);
                    }
                }
                Err(error) if group.len() == 1 => answer_all(group, error),
                Err(error) => {
                    tracing::debug!(
                        error = %error, requests = group.len(),
                        "a group of requests failed and is committed one by one"
                    );
                    for waiting in group {
                        self.commit_alone(waiting).await;
                    }
                }
            }
        }
    }

    async fn commit_alone(&self, waiting: Waiting) {
        let group = [waiting];
        let done = match self.context.db.write().await {
            Ok(tx) => store(&self.context, tx, &group).await,
            Err(error) => Err(error.into()),
        };
        let [waiting] = group;
        let result = done.and_then(|mut results| results.pop().unwrap_or(Err(WebError::Busy)));
        let _sender_left = waiting.answer.send(result);
    }
}

fn answer_all(group: Vec<Waiting>, error: WebError) {
    let mut error = Some(error);
    for waiting in group {
        let _sender_left = waiting.answer.send(Err(error.take().unwrap_or(WebError::Busy)));
    }
}

fn take_group(waiting: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let (mut group, mut bytes) = (Vec::new(), 0);
    while group.len() < REQUESTS_PER_TRANSACTION && bytes < BYTES_PER_TRANSACTION {
        let Some(next) = waiting.pop_front() else { break };
        bytes += next.bytes();
        group.push(next);
    }
    group
}

/// One transaction: every batch, and a task for each trace that has its root. Returns one result
/// for each request.
async fn store(
    context: &WorkerContext,
    mut tx: Tx,
    group: &[Waiting],
) -> Result<Vec<Result<Rejected, WebError>>, WebError> {
    let now = context.clock.now();
    let OpenTraces { refused, low_priority } = check_open_traces(&mut tx, group).await?;
    let mut batches = Vec::new();
    let mut of_request = Vec::new();
    for (at, waiting) in group.iter().enumerate().filter(|(at, _)| !refused[*at]) {
        for batch in &waiting.batches {
            of_request.push(at);
            batches.push(SpanBatch {
                repo: waiting.repo,
                trace: batch.trace,
                body: &batch.stored,
                bytes: batch.bytes,
                spans: batch.spans,
                has_root: batch.has_root,
                head_sha: batch.head_sha.as_ref(),
                manifest: batch.manifest.as_deref(),
            });
        }
    }
    let states = tx.add_span_batches(&batches, TRACE_BOUNDS, &context.rng, now).await?;
    let mut results: Vec<Result<Rejected, WebError>> = refused
        .iter()
        .map(|refused| if *refused { Err(WebError::TooManyOpenTraces) } else { Ok(Rejected::default()) })
        .collect();
    let mut tasks = Vec::new();
    for ((batch, state), at) in batches.iter().zip(states).zip(of_request) {
        match state {
            Some(open) if open.has_root == 1 => {
                let (repo, trace, collections) = (batch.repo, batch.trace, open.collections);
                let task = CollectRun { repo, trace, collections }.to_new_task(now.after(context.settle))?;
                let priority = if low_priority.contains(&repo) { Priority::Low } else { Priority::Usual };
                tasks.push(NewTask { priority, ..task });
            }
            Some(_) => {}
            None => {
                let open = tx.open_trace(batch.repo, batch.trace).await?;
                if let Ok(rejected) = &mut results[at] {
                    let count = usize::try_from(batch.spans).unwrap_or(usize::MAX);
                    rejected.add_many(count, || reason(batch.trace, open.as_ref()));
                }
            }
        }
    }
    tx.push_tasks(&tasks, &context.rng, now).await?;
    tx.commit().await?;
    Ok(results)
}

/// Limits on traces that wait for their root.
struct OpenTraces {
    /// For each request of the group: whether it would exceed `OPEN_TRACES`.
    refused: Vec<bool>,
    /// Repositories with more than `MANY_OPEN_TRACES`.
    low_priority: Vec<RepoId>,
}

async fn check_open_traces(tx: &mut Tx, group: &[Waiting]) -> Result<OpenTraces, StoreError> {
    let mut refused = vec![false; group.len()];
    let mut low_priority = Vec::new();
    let mut repos: Vec<RepoId> = group.iter().map(|waiting| waiting.repo).collect();
    repos.sort_unstable();
    repos.dedup();
    for repo in repos {
        // A trace with its root becomes a run soon, so it does not count.
        let rootless = |waiting: &Waiting| waiting.batches.iter().filter(|batch| !batch.has_root).count();
        let of_repo = || group.iter().enumerate().filter(|(_, waiting)| waiting.repo == repo);
        let more = i64::try_from(of_repo().map(|(_, waiting)| rootless(waiting)).sum::<usize>());
        // Counted once for each group: the time grows with the number of traces.
        let mut open = tx.count_open_traces(repo, OPEN_TRACES).await?;
        if open > MANY_OPEN_TRACES {
            low_priority.push(repo);
        }
        if open.saturating_add(more.unwrap_or(i64::MAX)) <= OPEN_TRACES {
            continue;
        }
        for (at, waiting) in of_repo() {
            let mut with_these = open;
            for batch in waiting.batches.iter().filter(|batch| !batch.has_root) {
                with_these += i64::from(tx.open_trace(repo, batch.trace).await?.is_none());
                if with_these > OPEN_TRACES {
                    break;
                }
            }
            if with_these > OPEN_TRACES {
                tracing::warn!(repo = repo.0, limit = OPEN_TRACES, "too many traces are open at once");
                refused[at] = true;
            } else {
                open = with_these;
            }
        }
    }
    Ok(OpenTraces { refused, low_priority })
}

/// Why a trace accepts no more spans.
fn reason(trace: TraceId, open: Option<&OpenTrace>) -> String {
    if open.is_some_and(|open| open.swept_at.is_some()) {
        return format!("trace {trace} was completed long ago");
    }
    let (spans, bytes) = (TRACE_BOUNDS.spans, TRACE_BOUNDS.bytes >> 20);
    format!("trace {trace} holds more than {spans} spans or {bytes} MiB")
}
