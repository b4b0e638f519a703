//! Requests' spans into the store. What waits together is committed together: one transaction,
//! one wait for the disk, for every request that came meanwhile. Nothing is answered before its
//! own spans are committed, and no request fails because of another's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::prepare::Batch;
use crate::tasks::{CollectRun, Task, WorkerContext};
use crate::web::error::WebError;
use pacegate_engine::model::ids::{RepoId, TraceId};
use pacegate_ingest::Rejected;
use pacegate_store::{NewTask, OpenTrace, Priority, SpanBatch, StoreError, TraceBounds, Tx};

/// What is kept of one trace: a pipeline with more spans is not a pipeline, and a run is made of
/// all of its bytes at once.
const OF_A_TRACE: TraceBounds = TraceBounds { spans: 200_000, bytes: 128 << 20 };
/// Traces of one repository that are not a run yet. More at once is no CI.
const OPEN_TRACES: i64 = 10_000;
/// Beyond so many, they become runs after everything else: others' checks do not wait for them.
const MASS: i64 = 500;
/// Requests in one transaction, and bytes beyond which no further one is added.
const REQUESTS_TOGETHER: usize = 64;
const BYTES_TOGETHER: usize = 16 << 20;
/// Transactions at once: SQLite has one writer, PostgreSQL shares its own waits among more.
const AT_ONCE_ON_SQLITE: usize = 1;
const AT_ONCE_ON_POSTGRES: usize = 3;

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
    /// Tasks that take from it. Each goes on until it finds nothing.
    committing: usize,
}

/// Commits requests in groups. Cheap to clone; clones share their groups. How much may wait is
/// bounded by who admits requests.
#[derive(Clone)]
pub(crate) struct Committer {
    work: WorkerContext,
    queue: Arc<Mutex<Queue>>,
}

impl std::fmt::Debug for Committer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Committer")
    }
}

impl Committer {
    /// A committer into a process's store.
    #[must_use]
    pub(crate) fn new(work: WorkerContext) -> Self {
        Self { work, queue: Arc::default() }
    }

    /// Keeps a request's batches. Returns, once that is committed, the spans of traces that take no
    /// more. The commit happens even when the caller no longer waits for it.
    pub(super) async fn commit(&self, repo: RepoId, batches: Vec<Batch>) -> Result<Rejected, WebError> {
        if batches.is_empty() {
            return Ok(Rejected::default());
        }
        let (answer, answered) = oneshot::channel();
        let begin = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.waiting.push_back(Waiting { repo, batches, answer });
            let most = if self.work.db.has_one_writer() { AT_ONCE_ON_SQLITE } else { AT_ONCE_ON_POSTGRES };
            let begin = queue.committing < most;
            queue.committing += usize::from(begin);
            begin
        };
        if begin {
            tokio::spawn(self.clone().commit_all());
        }
        answered.await.map_err(|e| WebError::Internal(e.into()))?
    }

    /// Commits group after group until nothing waits.
    async fn commit_all(self) {
        loop {
            {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                if queue.waiting.is_empty() {
                    queue.committing -= 1;
                    return;
                }
            }
            // First the place among the writers, then the group: what comes meanwhile joins it.
            let tx = self.work.db.write().await;
            let group = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                take_group(&mut queue.waiting)
            };
            if group.is_empty() {
                continue; // another task took it
            }
            let done = match tx {
                Ok(tx) => keep(&self.work, tx, &group).await,
                Err(error) => Err(error.into()),
            };
            match done {
                Ok(results) => {
                    for (waiting, result) in group.into_iter().zip(results) {
                        // Nobody there: the sender went away, its spans are kept all the same.
                        let _gone = waiting.answer.send(result);
                    }
                }
                Err(error) if group.len() == 1 => answer_all(group, error),
                Err(error) => {
                    tracing::debug!(error = %error, requests = group.len(), "a group is committed one by one");
                    for waiting in group {
                        self.commit_alone(waiting).await;
                    }
                }
            }
        }
    }

    async fn commit_alone(&self, waiting: Waiting) {
        let group = [waiting];
        let done = match self.work.db.write().await {
            Ok(tx) => keep(&self.work, tx, &group).await,
            Err(error) => Err(error.into()),
        };
        let [waiting] = group;
        let result = done.and_then(|mut results| results.pop().unwrap_or(Err(WebError::Busy)));
        let _gone = waiting.answer.send(result);
    }
}

fn answer_all(group: Vec<Waiting>, error: WebError) {
    let mut error = Some(error);
    for waiting in group {
        let _gone = waiting.answer.send(Err(error.take().unwrap_or(WebError::Busy)));
    }
}

fn take_group(waiting: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let (mut group, mut bytes) = (Vec::new(), 0);
    while group.len() < REQUESTS_TOGETHER && bytes < BYTES_TOGETHER {
        let Some(next) = waiting.pop_front() else { break };
        bytes += next.bytes();
        group.push(next);
    }
    group
}

/// One transaction: every batch, and a job for each trace that has its root. Returns what became
/// of each request.
async fn keep(
    work: &WorkerContext,
    mut tx: Tx,
    group: &[Waiting],
) -> Result<Vec<Result<Rejected, WebError>>, WebError> {
    let now = work.clock.now();
    let Flood { refused, masses } = flood(&mut tx, group).await?;
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
    let states = tx.add_span_batches(&batches, OF_A_TRACE, &work.rng, now).await?;
    let mut results: Vec<Result<Rejected, WebError>> = refused
        .iter()
        .map(|refused| if *refused { Err(WebError::TooManyOpenTraces) } else { Ok(Rejected::default()) })
        .collect();
    let mut jobs = Vec::new();
    for ((batch, state), at) in batches.iter().zip(states).zip(of_request) {
        match state {
            Some(open) if open.has_root == 1 => {
                let (repo, trace, collections) = (batch.repo, batch.trace, open.collections);
                let job = CollectRun { repo, trace, collections }.to_new_task(now.after(work.settle))?;
                let priority = if masses.contains(&repo) { Priority::Low } else { Priority::Usual };
                jobs.push(NewTask { priority, ..job });
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
    tx.push_tasks(&jobs, &work.rng, now).await?;
    tx.commit().await?;
    Ok(results)
}

/// Repositories with many traces that are not a run yet.
struct Flood {
    /// The requests of a group that would add to the traces of one that has too many.
    refused: Vec<bool>,
    /// Those that have many.
    masses: Vec<RepoId>,
}

async fn flood(tx: &mut Tx, group: &[Waiting]) -> Result<Flood, StoreError> {
    let mut refused = vec![false; group.len()];
    let mut masses = Vec::new();
    let mut repos: Vec<RepoId> = group.iter().map(|waiting| waiting.repo).collect();
    repos.sort_unstable();
    repos.dedup();
    for repo in repos {
        // What brings its root is a run soon, however many others are none.
        let rootless = |waiting: &Waiting| waiting.batches.iter().filter(|batch| !batch.has_root).count();
        let of_repo = || group.iter().enumerate().filter(|(_, waiting)| waiting.repo == repo);
        let more = i64::try_from(of_repo().map(|(_, waiting)| rootless(waiting)).sum::<usize>());
        // Counted once for all: it takes as long as there are traces.
        let mut open = tx.count_open_traces(repo, OPEN_TRACES).await?;
        if open > MASS {
            masses.push(repo);
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
    Ok(Flood { refused, masses })
}

/// Why a trace takes no more.
fn reason(trace: TraceId, open: Option<&OpenTrace>) -> String {
    if open.is_some_and(|open| open.swept_at.is_some()) {
        return format!("trace {trace} was completed long ago");
    }
    let (spans, bytes) = (OF_A_TRACE.spans, OF_A_TRACE.bytes >> 20);
    format!("trace {trace} holds more than {spans} spans or {bytes} MiB")
}
