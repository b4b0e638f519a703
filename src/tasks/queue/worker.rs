//! The loop that takes jobs and runs them: several at once, under leases that are kept alive,
//! until it is told to stop.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::metrics::Metrics;
use crate::tasks::{Task, TaskError, WorkerContext, error_chain};
use pacegate_store::{Attempt, ClaimedTask, LeaseToken, Settlement};

/// How often the table is looked at when nothing rings.
const POLL: Duration = Duration::from_secs(1);
/// How often old rows are swept.
const SWEEP: Duration = Duration::from_mins(10);
/// How long running jobs may take to end after the stop.
const GRACE: Duration = Duration::from_secs(20);

type Running = Arc<Mutex<HashMap<Attempt, AbortHandle>>>;

/// Runs jobs until `stop`, then lets those that run end and gives back what they held.
pub async fn run_tasks(work: WorkerContext, slots: usize, stop: CancellationToken) {
    let token = LeaseToken::new(&work.rng);
    let running = Running::default();
    let heartbeat = tokio::spawn(keep_alive(work.clone(), token.clone(), running.clone()));
    let listener = tokio::spawn({
        let db = work.db.clone();
        async move { db.listen_for_tasks().await }
    });
    let sweeper = tokio::spawn({
        let work = work.clone();
        async move {
            loop {
                if let Err(error) = crate::tasks::retention::retain::retain(&work).await {
                    tracing::warn!(error = %error_chain(&error), "old rows could not be swept");
                }
                if let Err(error) =
                    crate::tasks::retention::forget_repositories::forget_repositories(&work).await
                {
                    tracing::warn!(error = %error_chain(&error), "data of removed repositories could not be deleted");
                }
                tokio::time::sleep(SWEEP).await;
            }
        }
    });
    let periodic = tokio::spawn(super::periodic::keep_time(work.clone()));
    let mut attempts = JoinSet::new();
    while !stop.is_cancelled() {
        while attempts.try_join_next().is_some() {}
        let free = slots.saturating_sub(attempts.len());
        let claimed = if free == 0 { Vec::new() } else { claim(&work, &token, free).await };
        if claimed.is_empty() {
            // A slot that becomes free, a pushed job, a poll or the stop: whatever is first.
            tokio::select! {
                () = stop.cancelled() => {}
                () = work.db.task_pushed.notified() => {}
                Some(_) = attempts.join_next(), if !attempts.is_empty() => {}
                () = tokio::time::sleep(POLL) => {}
            }
            continue;
        }
        for job in claimed {
            attempts.spawn(attempt(work.clone(), token.clone(), job, running.clone()));
        }
    }
    let ended = tokio::time::timeout(GRACE, async { while attempts.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::warn!(
            jobs = attempts.len(),
            "jobs still ran at the end of the grace time; they are given back"
        );
        attempts.shutdown().await;
    }
    heartbeat.abort();
    listener.abort();
    sweeper.abort();
    periodic.abort();
    if let Err(error) = give_back(&work, &token).await {
        tracing::warn!(error = %error_chain(&error), "leases could not be given back; they end by themselves");
    }
}

async fn claim(work: &WorkerContext, token: &LeaseToken, slots: usize) -> Vec<ClaimedTask> {
    match work.db.claim_tasks(token, work.clock.now(), work.lease, slots).await {
        Ok(jobs) => jobs,
        Err(error) => {
            tracing::error!(error = %error_chain(&error), "jobs could not be taken; trying again");
            tokio::time::sleep(POLL).await;
            Vec::new()
        }
    }
}

async fn give_back(work: &WorkerContext, token: &LeaseToken) -> Result<(), TaskError> {
    let mut tx = work.db.write().await?;
    tx.release_tasks(token, work.clock.now()).await?;
    tx.commit().await?;
    Ok(())
}

/// One attempt of one job: run it, settle it. A panic is an error like any other.
async fn attempt(work: WorkerContext, token: LeaseToken, job: ClaimedTask, running: Running) {
    // Dropped with this attempt, the handler ends too: nothing goes on after its job was given back.
    let handler = AbortOnDropHandle::new(tokio::spawn({
        let (work, payload) = (work.clone(), job.payload.clone());
        async move {
            let job: Task = serde_json::from_str(&payload).map_err(|e| TaskError::Unreadable(e.into()))?;
            crate::tasks::run(&work, job).await
        }
    }));
    let lock = || running.lock().unwrap_or_else(PoisonError::into_inner);
    lock().insert(job.attempt(), handler.abort_handle());
    let result = handler.await;
    lock().remove(&job.attempt());
    let error = match result {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error),
        Err(cancelled) if cancelled.is_cancelled() => {
            tracing::warn!(
                job = job.kind,
                id = job.job_id,
                "another process took this job; this attempt was ended"
            );
            return;
        }
        Err(panicked) => Some(TaskError::Computation(panicked)),
    };
    let now = work.clock.now();
    let settlement = error.as_ref().map_or(Settlement::Done, |e| e.settlement(&job, &work.rng, now));
    report(&work, &job, &settlement);
    settle(&work, &token, &job, &settlement).await;
}

fn report(work: &WorkerContext, job: &ClaimedTask, settlement: &Settlement) {
    let (kind, id, attempt) = (job.kind.as_str(), job.job_id.as_str(), job.attempts);
    let outcome = match settlement {
        Settlement::Done => {
            tracing::debug!(kind, id, attempt, "job done");
            "done"
        }
        Settlement::Postpone(_) => "postponed",
        Settlement::PutOff(until, reason) => {
            tracing::info!(kind, id, attempt, until = %until, reason, "job put off");
            "postponed"
        }
        Settlement::Retry(after, error) if attempt < job.max_attempts => {
            tracing::warn!(kind, id, attempt, retry_in = ?after, error, "job failed and is tried again");
            "retried"
        }
        Settlement::Retry(_, error) | Settlement::Dead(error) => {
            tracing::error!(kind, id, attempt, error, "job given up; `pacegate doctor` lists these");
            "dead"
        }
    };
    let kind = serde_json::from_str::<Task>(&job.payload).map_or("unknown", |job| job.kind());
    Metrics::count(&work.metrics.jobs, kind, outcome);
}

/// The settlement must survive a short outage of the database: without it the job runs again.
async fn settle(work: &WorkerContext, token: &LeaseToken, job: &ClaimedTask, settlement: &Settlement) {
    for pause in [50, 200, 1_000, 3_000, 0] {
        let settled = async {
            let mut tx = work.db.write().await?;
            let settled = tx.settle_task(token, job, settlement, work.clock.now()).await?;
            tx.commit().await?;
            Ok::<bool, TaskError>(settled)
        };
        match settled.await {
            Ok(true) => return,
            Ok(false) => {
                tracing::warn!(
                    kind = job.kind,
                    id = job.job_id,
                    "the lease was lost before the job was settled"
                );
                return;
            }
            Err(error) => {
                tracing::warn!(kind = job.kind, id = job.job_id, error = %error_chain(&error), "a job could not be settled");
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
    }
}

/// Keeps the leases alive and ends what runs without one.
async fn keep_alive(work: WorkerContext, token: LeaseToken, running: Running) {
    let mut alive_at = work.clock.now();
    loop {
        tokio::time::sleep(work.lease / 3).await;
        // Looked at before the leases: a job taken after this is not in the list.
        let (attempts, handles): (Vec<Attempt>, Vec<AbortHandle>) = {
            let running = running.lock().unwrap_or_else(PoisonError::into_inner);
            running.iter().map(|(attempt, handle)| (attempt.clone(), handle.clone())).unzip()
        };
        let now = work.clock.now();
        let held = match work.db.keep_leases(&token, &attempts, now, work.lease).await {
            Ok(held) => {
                alive_at = now;
                held
            }
            Err(error) => {
                tracing::error!(error = %error_chain(&error), "leases could not be kept alive");
                if now.since(alive_at) < work.lease {
                    continue;
                }
                Vec::new()
            }
        };
        for (attempt, handle) in attempts.iter().zip(handles) {
            if !held.contains(attempt) {
                handle.abort();
            }
        }
    }
}
