//! Pushes tasks as part of the transaction that made them necessary, and notifies the workers.
//! `claim.rs` and `settle.rs` run them.

use std::time::Duration;

use super::NewTask;
use crate::chunks::chunks;
use crate::{StoreError, Tx, TxInner, on_db};
use pacegate_clock::Randomness;
use pacegate_engine::model::time::Timestamp;

impl Tx {
    /// Pushes a task as part of this transaction. `false`: a task of this kind and dedupe key
    /// exists, nothing was pushed, and the transaction is still good.
    pub async fn push_task(
        &mut self,
        task: &NewTask,
        rng: &Randomness,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let pushed = on_db!(self, conn => {
            // The conflict target is named: a bare one would hide a clash of identifiers.
            sqlx::query(
                "INSERT INTO jobs (job_id, kind, payload, dedupe_key, serial_key, visible_at, max_attempts, created_at,
                    priority, repo_id)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (kind, dedupe_key) DO NOTHING",
            )
            .bind(rng.ulid(now))
            .bind(task.kind)
            .bind(&task.payload)
            .bind(&task.dedupe_key)
            .bind(&task.serial_key)
            .bind(task.run_at.0)
            .bind(task.max_attempts)
            .bind(now.0)
            .bind(task.priority.number())
            .bind(task.repo.map(|repo| repo.0))
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }) > 0;
        if pushed {
            self.announce_tasks(Some(task.run_at.since(now))).await?;
        }
        Ok(pushed)
    }

    /// Pushes several tasks as part of this transaction. Those whose kind and dedupe key exist
    /// are skipped.
    pub async fn push_tasks(
        &mut self,
        tasks: &[NewTask],
        rng: &Randomness,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut pushed = 0;
        for chunk in chunks(tasks) {
            pushed += on_db!(self, conn => {
                let mut insert = sqlx::QueryBuilder::new(
                    "INSERT INTO jobs (job_id, kind, payload, dedupe_key, serial_key, visible_at, max_attempts, created_at,
                        priority, repo_id) ",
                );
                insert.push_values(chunk, |mut row, task| {
                    row.push_bind(rng.ulid(now))
                        .push_bind(task.kind)
                        .push_bind(&task.payload)
                        .push_bind(&task.dedupe_key)
                        .push_bind(&task.serial_key)
                        .push_bind(task.run_at.0)
                        .push_bind(task.max_attempts)
                        .push_bind(now.0)
                        .push_bind(task.priority.number())
                        .push_bind(task.repo.map(|repo| repo.0));
                });
                insert.push(" ON CONFLICT (kind, dedupe_key) DO NOTHING");
                insert.build().execute(&mut *conn).await?.rows_affected()
            });
        }
        if pushed > 0 {
            self.announce_tasks(tasks.iter().map(|task| task.run_at.since(now)).min()).await?;
        }
        Ok(())
    }

    /// Notifies the workers of all processes of a task that is due after this time.
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
