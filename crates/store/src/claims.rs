//! Taking jobs and keeping them: the side of the queue that a worker's loop calls.

use std::time::Duration;

use super::queue::{Attempt, ClaimedTask, LeaseToken, Priority};
use super::{Db, StoreError, Tx, TxInner};
use pacegate_engine::model::time::Timestamp;

/// Of one priority: a job with equal `visible_at` and an earlier id goes first; one that waits for
/// a retry lets later ones of its serial key pass.
macro_rules! claim_sql {
    ($lock:literal) => {
        concat!(
            "WITH ready AS MATERIALIZED (
                SELECT j.job_id FROM jobs j
                WHERE j.state = 0 AND j.priority = $5 AND j.visible_at <= $1 AND j.attempts < j.max_attempts
                  AND (j.serial_key IS NULL OR j.token IS NOT NULL OR NOT EXISTS (
                    SELECT 1 FROM jobs b
                    WHERE b.state = 0 AND b.serial_key = j.serial_key AND b.job_id <> j.job_id
                      AND (b.token IS NOT NULL OR (b.visible_at, b.job_id) < (j.visible_at, j.job_id))))
                ORDER BY j.visible_at, j.job_id LIMIT $4 ",
            $lock,
            ")
             UPDATE jobs SET visible_at = $2, token = $3, running_key = serial_key, attempts = attempts + 1
             WHERE job_id IN (SELECT job_id FROM ready)
             RETURNING job_id, kind, payload, attempts, max_attempts, created_at"
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
    /// Takes up to `slots` jobs that are due, those of low priority last, under a lease of this
    /// length.
    pub async fn claim_tasks(
        &self,
        token: &LeaseToken,
        now: Timestamp,
        lease: Duration,
        slots: usize,
    ) -> Result<Vec<ClaimedTask>, StoreError> {
        let mut tx = self.write().await?;
        let mut jobs = Vec::new();
        for priority in [Priority::Usual, Priority::Low] {
            let free = i64::try_from(slots - jobs.len()).unwrap_or(i64::MAX);
            if free == 0 {
                break;
            }
            match tx.claim_of(priority, token, (now, now.after(lease)), free).await {
                Ok(claimed) => jobs.extend(claimed),
                // Two jobs of one serial key were about to run at once: the unique running_key
                // stopped it. Nothing was claimed; the next look finds the one that may run.
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            }
        }
        tx.commit().await?;
        Ok(jobs)
    }

    /// Keeps the leases of the attempts this process runs alive, buries jobs whose last attempt
    /// died, and returns the attempts that are still held: any other it runs, it has lost. A
    /// job it holds but does not run (a claim or settlement whose outcome it never heard) is
    /// left to the end of its lease, and then free for anyone.
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
            tracing::error!(jobs = buried, "jobs were given up: their process ended at every attempt");
        }
        Ok(held)
    }

    /// Waits until another process of a PostgreSQL database says it pushed a job. On SQLite,
    /// and when listening fails, it never returns: polling goes on regardless.
    pub async fn listen_for_tasks(&self) {
        if let super::Pools::Postgres(pool) = &self.pools {
            match sqlx::postgres::PgListener::connect_with(pool).await {
                Ok(mut listener) => {
                    if listener.listen("pacegate_jobs").await.is_ok() {
                        while listener.recv().await.is_ok() {
                            self.task_pushed.notify_one();
                        }
                    }
                }
                Err(error) => tracing::warn!(error = %error, "can't listen for jobs; polling goes on"),
            }
        }
        std::future::pending::<()>().await;
    }
}
