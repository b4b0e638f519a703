//! Jobs into the queue, as part of the transaction of what made them necessary, and the bell that
//! tells workers of them. What becomes of a job is `queue.rs` and `claims.rs`.

use std::time::Duration;

use super::chunks::chunks;
use super::{NewTask, StoreError, Tx, TxInner, on_db};
use pacegate_clock::Randomness;
use pacegate_engine::model::time::Timestamp;

impl Tx {
    /// Pushes a job as part of this transaction. `false`: one with this kind and dedupe key is
    /// there already, nothing was pushed, and the transaction is still good.
    pub async fn push_task(
        &mut self,
        job: &NewTask,
        rng: &Randomness,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let job_id = rng.ulid(now);
        let pushed = on_db!(self, conn => {
            // The conflict target is named: a bare one would hide a clash of ids.
            sqlx::query(
                "INSERT INTO jobs (job_id, kind, payload, dedupe_key, serial_key, visible_at, max_attempts, created_at,
                    priority)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (kind, dedupe_key) DO NOTHING",
            )
            .bind(job_id)
            .bind(job.kind)
            .bind(&job.payload)
            .bind(&job.dedupe_key)
            .bind(&job.serial_key)
            .bind(job.run_at.0)
            .bind(job.max_attempts)
            .bind(now.0)
            .bind(job.priority.number())
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }) > 0;
        if pushed {
            self.announce_tasks(Some(job.run_at.since(now))).await?;
        }
        Ok(pushed)
    }

    /// Pushes several jobs as part of this transaction; those whose kind and dedupe key are there
    /// already are passed over.
    pub async fn push_tasks(
        &mut self,
        jobs: &[NewTask],
        rng: &Randomness,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut pushed = 0;
        for chunk in chunks(jobs) {
            pushed += on_db!(self, conn => {
                let mut insert = sqlx::QueryBuilder::new(
                    "INSERT INTO jobs (job_id, kind, payload, dedupe_key, serial_key, visible_at, max_attempts, created_at,
                        priority) ",
                );
                insert.push_values(chunk, |mut row, job| {
                    row.push_bind(rng.ulid(now))
                        .push_bind(job.kind)
                        .push_bind(&job.payload)
                        .push_bind(&job.dedupe_key)
                        .push_bind(&job.serial_key)
                        .push_bind(job.run_at.0)
                        .push_bind(job.max_attempts)
                        .push_bind(now.0)
                        .push_bind(job.priority.number());
                });
                insert.push(" ON CONFLICT (kind, dedupe_key) DO NOTHING");
                insert.build().execute(&mut *conn).await?.rows_affected()
            });
        }
        if pushed > 0 {
            self.announce_tasks(jobs.iter().map(|job| job.run_at.since(now)).min()).await?;
        }
        Ok(())
    }

    /// Has workers look, in other processes too, for a job that is due in so long.
    async fn announce_tasks(&mut self, due_in: Option<Duration>) -> Result<(), StoreError> {
        if let TxInner::Postgres(transaction) = &mut self.inner {
            sqlx::query("NOTIFY pacegate_jobs").execute(&mut **transaction).await?;
        }
        if let Some(due_in) = due_in {
            self.task_due(due_in);
        }
        Ok(())
    }
}
