//! Claims tasks and keeps their leases: the side of the queue that a worker's loop calls.

use std::time::Duration;

use super::state::state;
use super::{Attempt, ClaimedTask, LeaseToken, Priority};
use crate::{Db, Pools, StoreError, Tx, TxInner};
use pacegate_engine::model::time::Timestamp;

/// Claims tasks of one priority. Of two with equal `visible_at` the earlier identifier goes first.
/// A task that waits for a retry lets later ones of its serial key pass.
macro_rules! claim_sql {
    ($lock:literal) => {
        concat!(
            "WITH ready AS MATERIALIZED (
                SELECT j.job_id FROM jobs j
                WHERE j.state = ", state!(Waiting), " AND j.priority = $5 AND j.visible_at <= $1
                  AND j.attempts < j.max_attempts
                  AND (j.serial_key IS NULL OR j.token IS NOT NULL OR NOT EXISTS (
                    SELECT 1 FROM jobs b
                    WHERE b.state = ", state!(Waiting), " AND b.serial_key = j.serial_key AND b.job_id <> j.job_id
                      AND (b.token IS NOT NULL OR (b.visible_at, b.job_id) < (j.visible_at, j.job_id))))
                ORDER BY j.visible_at, j.job_id LIMIT $4 ",
            $lock,
            ")
             UPDATE jobs SET visible_at = $2, token = $3, running_key = serial_key, attempts = attempts + 1
             WHERE job_id IN (SELECT job_id FROM ready)
             RETURNING job_id AS task_id, kind, payload, attempts, max_attempts, created_at"
        )
    };
}

impl Tx {
    async fn claim_of(
        &mut self,
        priority: Priority,
        token: &LeaseToken,
        (now, lease_ends): (Timestamp, Timestamp),
        slots: i64,
    ) -> Result<Vec<ClaimedTask>, sqlx::Error> {
        match &mut self.inner {
            TxInner::Sqlite(transaction) => {
                let claim = sqlx::query_as::<_, ClaimedTask>(claim_sql!(""));
                let claim = claim.bind(now.0).bind(lease_ends.0).bind(&token.0);
                claim.bind(slots).bind(priority.number()).fetch_all(&mut **transaction).await
            }
            TxInner::Postgres(transaction) => {
                let claim = sqlx::query_as::<_, ClaimedTask>(claim_sql!("FOR UPDATE SKIP LOCKED"));
                let claim = claim.bind(now.0).bind(lease_ends.0).bind(&token.0);
                claim.bind(slots).bind(priority.number()).fetch_all(&mut **transaction).await
            }
        }
    }
}

impl Db {
    /// Claims up to `slots` tasks that are due, those of low priority last, under a lease of this
    /// length.
    pub async fn claim_tasks(
        &self,
        token: &LeaseToken,
        now: Timestamp,
        lease: Duration,
        slots: usize,
    ) -> Result<Vec<ClaimedTask>, StoreError> {
        let mut tx = self.write().await?;
        let mut tasks = Vec::new();
        for priority in [Priority::Usual, Priority::Low] {
            let free = i64::try_from(slots - tasks.len()).unwrap_or(i64::MAX);
            if free == 0 {
                break;
            }
            match tx.claim_of(priority, token, (now, now.after(lease)), free).await {
                Ok(claimed) => tasks.extend(claimed),
                // Two tasks of one serial key were about to run at once, and the unique
                // running_key refused it. Nothing was claimed. The next claim takes the task
                // that may run.
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            }
        }
        tx.commit().await?;
        Ok(tasks)
    }

    /// Extends the leases of the attempts that this process runs, and declares tasks dead whose
    /// last attempt ended with its process. Returns the attempts that are still held: all others
    /// in `running` are lost. The process may hold a task that it does not run, if it never
    /// received the answer to a claim or settlement. The lease of such a task is not extended,
    /// so any process can claim it afterwards.
    pub async fn keep_leases(
        &self,
        token: &LeaseToken,
        running: &[Attempt],
        now: Timestamp,
        lease: Duration,
    ) -> Result<Vec<Attempt>, StoreError> {
        let mut tx = self.write().await?;
        let mut held = Vec::with_capacity(running.len());
        for attempt in running {
            if tx.extend_lease(token, attempt, now.after(lease)).await? {
                held.push(attempt.clone());
            }
        }
        let buried = tx.bury_expired(now).await?;
        tx.commit().await?;
        if buried > 0 {
            tracing::error!(tasks = buried, "tasks are dead: their process ended at every attempt");
        }
        Ok(held)
    }

    /// Wakes this process's workers whenever another process of a PostgreSQL database pushes a
    /// task. It never returns. On SQLite and when listening fails it does nothing: polling goes on.
    pub async fn listen_for_tasks(&self) {
        if let Pools::Postgres(pool) = &self.pools {
            match sqlx::postgres::PgListener::connect_with(pool).await {
                Ok(mut listener) => {
                    if listener.listen("pacegate_jobs").await.is_ok() {
                        while listener.recv().await.is_ok() {
                            self.task_pushed.notify_one();
                        }
                    }
                }
                Err(error) => tracing::warn!(error = %error, "can't listen for tasks; polling goes on"),
            }
        }
        std::future::pending::<()>().await;
    }
}
