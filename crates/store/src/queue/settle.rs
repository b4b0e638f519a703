//! Ends attempts: settlements, tasks that a stopping process releases, tasks whose process ended. Also
//! counts and lists tasks.

use super::state::{TaskState, state};
use super::{Attempt, ClaimedTask, DeadTask, LeaseToken, Settlement, TaskCounts};
use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::time::Timestamp;

impl Tx {
    /// Settles an attempt. `false`: the lease was lost and another process runs the task now.
    pub async fn settle_task(
        &mut self,
        token: &LeaseToken,
        task: &ClaimedTask,
        settlement: &Settlement,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        // An error may quote anything, and a text of PostgreSQL holds no zero byte.
        let kept = |error: &String| Some(error.replace('\0', "\u{fffd}"));
        let (state, visible_at, given_back, error) = match settlement {
            Settlement::Done => (TaskState::Done, now, 0_i64, None),
            Settlement::Postpone(after) => (TaskState::Waiting, now.after(*after), 1, None),
            Settlement::PutOff(until, reason) => (TaskState::Waiting, *until, 1, kept(reason)),
            Settlement::Retry(after, error) if task.attempts < task.max_attempts => {
                (TaskState::Waiting, now.after(*after), 0, kept(error))
            }
            Settlement::Retry(_, error) | Settlement::Dead(error) => (TaskState::Dead, now, 0, kept(error)),
        };
        let settled = on_db!(self, conn => {
            sqlx::query(concat!(
                "UPDATE jobs SET token = NULL, running_key = NULL, state = $1, visible_at = $2,
                    attempts = attempts - $3, last_error = COALESCE($4, last_error)
                 WHERE job_id = $5 AND token = $6 AND attempts = $7 AND state = ", state!(Waiting),
            ))
            .bind(state.number())
            .bind(visible_at.0)
            .bind(given_back)
            .bind(error)
            .bind(&task.task_id)
            .bind(&token.0)
            .bind(task.attempts)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        });
        match settlement {
            Settlement::Postpone(after) | Settlement::Retry(after, _) => self.task_due(*after),
            Settlement::PutOff(until, _) => self.task_due(until.since(now)),
            Settlement::Done | Settlement::Dead(_) => {}
        }
        Ok(settled == 1)
    }

    /// Dead tasks, newest first.
    pub async fn dead_tasks(&mut self, limit: i64) -> Result<Vec<DeadTask>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as(concat!(
                "SELECT job_id AS task_id, kind, attempts, last_error FROM jobs WHERE state = ", state!(Dead),
                " ORDER BY visible_at DESC LIMIT $1",
            ))
            .bind(limit)
            .fetch_all(&mut *conn)
            .await?
        }))
    }

    /// How many tasks are open and dead.
    pub async fn count_tasks(&mut self) -> Result<TaskCounts, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as(concat!(
                "SELECT (SELECT COUNT(*) FROM jobs WHERE state = ", state!(Waiting), ") AS open,
                        (SELECT COUNT(*) FROM jobs WHERE state = ", state!(Dead), ") AS dead",
            ))
            .fetch_one(&mut *conn)
            .await?
        }))
    }

    /// Deletes tasks that were done before a time, and their dedupe keys with them.
    pub async fn sweep_done_tasks(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query(concat!("DELETE FROM jobs WHERE state = ", state!(Done), " AND visible_at < $1"))
                .bind(before.0)
                .execute(&mut *conn)
                .await?
                .rows_affected()
        }))
    }

    pub(super) async fn extend_lease(
        &mut self,
        token: &LeaseToken,
        attempt: &Attempt,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let extended = on_db!(self, conn => {
            sqlx::query(concat!(
                "UPDATE jobs SET visible_at = $1
                 WHERE job_id = $2 AND token = $3 AND attempts = $4 AND state = ", state!(Waiting),
            ))
            .bind(until.0)
            .bind(&attempt.task_id)
            .bind(&token.0)
            .bind(attempt.number)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        });
        Ok(extended == 1)
    }

    /// Releases every task that this process holds, as if it had not been claimed. They are due
    /// at once and keep their order of age, so no later task of their serial key passes them.
    pub async fn release_tasks(&mut self, token: &LeaseToken, now: Timestamp) -> Result<u64, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query(concat!(
                "UPDATE jobs SET token = NULL, running_key = NULL, attempts = attempts - 1,
                    visible_at = CASE WHEN created_at < $1 THEN created_at ELSE $1 END
                 WHERE token = $2 AND state = ", state!(Waiting),
            ))
            .bind(now.0)
            .bind(&token.0)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }))
    }

    /// Declares tasks dead whose last lease ended without a settlement. A claim already counts as
    /// an attempt, so this ends a task that kills its process, too.
    pub(super) async fn bury_expired(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query(concat!(
                "UPDATE jobs SET state = ", state!(Dead), ", token = NULL, running_key = NULL, visible_at = $1,
                    last_error = COALESCE(last_error, 'the process ended while it ran this task for the last time')
                 WHERE state = ", state!(Waiting), " AND visible_at <= $1 AND attempts >= max_attempts",
            ))
            .bind(now.0)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }))
    }
}
