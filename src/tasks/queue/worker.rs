//! The worker loop: claims tasks, runs several at once under leases that it renews, and settles them.
//! On stop it lets running tasks finish, then releases the rest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{periodic, registry};
use crate::metrics::Metrics;
use crate::tasks::retention::forget_repositories::forget_repositories;
use crate::tasks::retention::retain::retain;
use crate::tasks::{TaskError, WorkerContext, error_chain};
use pacegate_engine::model::time::Timestamp;
use pacegate_store::{Attempt, ClaimedTask, LeaseToken, Settlement};

/// Interval of the poll, which finds tasks that no notification announced.
const POLL: Duration = Duration::from_secs(1);
/// Interval between two sweeps of old data.
const SWEEP: Duration = Duration::from_mins(10);
/// Time that running tasks have to finish after the stop.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(20);

type Running = Arc<Mutex<HashMap<Attempt, AbortHandle>>>;

/// Runs tasks, at most `slots` at once, until `stop` is cancelled. Then waits for the running ones and
/// releases the leases.
pub async fn run_tasks(context: WorkerContext, slots: usize, stop: CancellationToken) {
    let token = LeaseToken::new(&context.rng);
    let running = Running::default();
    let background = [
        tokio::spawn(renew_leases(context.clone(), token.clone(), running.clone())),
        tokio::spawn({
            let db = context.db.clone();
            async move { db.listen_for_tasks().await }
        }),
        tokio::spawn(sweep(context.clone())),
        tokio::spawn(periodic::push_periodic_tasks(context.clone())),
    ];
    let mut attempts = JoinSet::new();
    while !stop.is_cancelled() {
        while attempts.try_join_next().is_some() {}
        let free = slots.saturating_sub(attempts.len());
        let claimed = if free == 0 { Vec::new() } else { claim(&context, &token, free).await };
        if claimed.is_empty() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = context.db.task_pushed.notified() => {}
                Some(_) = attempts.join_next(), if !attempts.is_empty() => {}
                () = tokio::time::sleep(POLL) => {}
            }
            continue;
        }
        for task in claimed {
            attempts.spawn(attempt(context.clone(), token.clone(), task, running.clone()));
        }
    }
    let finished =
        tokio::time::timeout(SHUTDOWN_GRACE, async { while attempts.join_next().await.is_some() {} }).await;
    if finished.is_err() {
        tracing::warn!(
            tasks = attempts.len(),
            "tasks still ran at the end of the grace time; they are aborted and released"
        );
        attempts.shutdown().await;
    }
    for handle in background {
        handle.abort();
    }
    if let Err(error) = release(&context, &token).await {
        tracing::warn!(error = %error_chain(&error), "leases could not be released; they expire");
    }
}

async fn sweep(context: WorkerContext) {
    loop {
        if let Err(error) = retain(&context).await {
            tracing::warn!(error = %error_chain(&error), "old rows could not be swept");
        }
        if let Err(error) = forget_repositories(&context).await {
            tracing::warn!(error = %error_chain(&error), "data of removed repositories could not be deleted");
        }
        tokio::time::sleep(SWEEP).await;
    }
}

async fn claim(context: &WorkerContext, token: &LeaseToken, slots: usize) -> Vec<ClaimedTask> {
    match context.db.claim_tasks(token, context.clock.now(), context.lease, slots).await {
        Ok(tasks) => tasks,
        Err(error) => {
            tracing::error!(error = %error_chain(&error), "tasks could not be claimed; trying again");
            tokio::time::sleep(POLL).await;
            Vec::new()
        }
    }
}

async fn release(context: &WorkerContext, token: &LeaseToken) -> Result<(), TaskError> {
    let mut tx = context.db.write().await?;
    tx.release_tasks(token, context.clock.now()).await?;
    tx.commit().await?;
    Ok(())
}

/// Runs one attempt of a task and settles it. A panic is settled like an error.
async fn attempt(context: WorkerContext, token: LeaseToken, task: ClaimedTask, running: Running) {
    // Aborted together with this attempt: a released task must not go on running.
    let handler = AbortOnDropHandle::new(tokio::spawn({
        let (context, kind, payload) = (context.clone(), task.kind.clone(), task.payload.clone());
        async move { registry::of_kind(&kind)?.run(&context, &payload).await }
    }));
    let lock = || running.lock().unwrap_or_else(PoisonError::into_inner);
    lock().insert(task.attempt(), handler.abort_handle());
    let result = handler.await;
    lock().remove(&task.attempt());
    let error = match result {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error),
        Err(cancelled) if cancelled.is_cancelled() => {
            tracing::warn!(
                kind = task.kind,
                id = task.task_id,
                "another process holds this task now; this attempt was aborted"
            );
            return;
        }
        Err(panicked) => Some(TaskError::Computation(panicked)),
    };
    let now = context.clock.now();
    let settlement = error.as_ref().map_or(Settlement::Done, |error| {
        error.settlement(task.attempts, Timestamp(task.created_at), &context.rng, now)
    });
    report(&context, &task, &settlement);
    settle(&context, &token, &task, &settlement).await;
}

fn report(context: &WorkerContext, task: &ClaimedTask, settlement: &Settlement) {
    let (kind, id, attempt) = (task.kind.as_str(), task.task_id.as_str(), task.attempts);
    let outcome = match settlement {
        Settlement::Done => {
            tracing::debug!(kind, id, attempt, "task done");
            "done"
        }
        Settlement::Postpone(_) => "postponed",
        Settlement::PutOff(until, reason) => {
            tracing::info!(kind, id, attempt, until = %until, reason, "task put off");
            "postponed"
        }
        Settlement::Retry(after, error) if attempt < task.max_attempts => {
            tracing::warn!(kind, id, attempt, retry_in = ?after, error, "task failed and will be retried");
            "retried"
        }
        Settlement::Retry(_, error) | Settlement::Dead(error) => {
            tracing::error!(kind, id, attempt, error, "task dead-lettered; see `pacegate doctor`");
            "dead"
        }
    };
    // A label of a metric must come from a fixed set.
    let label = registry::of_kind(&task.kind).map_or("unknown", |entry| entry.kind);
    Metrics::count(&context.metrics.jobs, label, outcome);
}

/// Stores a settlement. It retries for about four seconds: if the settlement is lost, the task runs again.
async fn settle(context: &WorkerContext, token: &LeaseToken, task: &ClaimedTask, settlement: &Settlement) {
    for pause in [50, 200, 1_000, 3_000, 0] {
        let settled = async {
            let mut tx = context.db.write().await?;
            let settled = tx.settle_task(token, task, settlement, context.clock.now()).await?;
            tx.commit().await?;
            Ok::<bool, TaskError>(settled)
        };
        match settled.await {
            Ok(true) => return,
            Ok(false) => {
                tracing::warn!(
                    kind = task.kind,
                    id = task.task_id,
                    "the lease was lost before the task was settled"
                );
                return;
            }
            Err(error) => {
                tracing::warn!(kind = task.kind, id = task.task_id, error = %error_chain(&error), "a task could not be settled");
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
    }
}

/// Renews the leases, and aborts attempts whose lease was lost.
async fn renew_leases(context: WorkerContext, token: LeaseToken, running: Running) {
    let mut renewed_at = context.clock.now();
    loop {
        tokio::time::sleep(context.lease / 3).await;
        // Read before the leases: a task that is claimed after this line is not in the list.
        let (attempts, handles): (Vec<Attempt>, Vec<AbortHandle>) = {
            let running = running.lock().unwrap_or_else(PoisonError::into_inner);
            running.iter().map(|(attempt, handle)| (attempt.clone(), handle.clone())).unzip()
        };
        let now = context.clock.now();
        let held = match context.db.keep_leases(&token, &attempts, now, context.lease).await {
            Ok(held) => {
                renewed_at = now;
                held
            }
            Err(error) => {
                tracing::error!(error = %error_chain(&error), "leases could not be renewed");
                if now.since(renewed_at) < context.lease {
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
