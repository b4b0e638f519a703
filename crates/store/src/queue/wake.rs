//! Tasks that run again or sooner: dead tasks are revived, ended tasks are reopened, and waiting
//! tasks become due early because their condition is met.

use std::time::Duration;

use super::state::state;
use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::RepoId;
use pacegate_engine::model::time::Timestamp;

/// Makes a task wait again, due at `$1`, with all its attempts.
macro_rules! reopen_sql {
    ($condition:expr) => {
        concat!(
            "UPDATE jobs SET state = ",
            state!(Waiting),
            ", attempts = 0, visible_at = $1 WHERE ",
            $condition
        )
    };
}

/// Makes tasks that wait for a time after `$1` due then. A task that runs keeps its lease.
macro_rules! wake_sql {
    ($condition:literal) => {
        concat!(
            "UPDATE jobs SET visible_at = $1
             WHERE state = ",
            state!(Waiting),
            " AND token IS NULL AND visible_at > $1 AND ",
            $condition
        )
    };
}

impl Tx {
    /// Lets every dead task run again, with all its attempts.
    pub async fn revive_dead_tasks(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query(reopen_sql!(concat!("state = ", state!(Dead))))
                .bind(now.0)
                .execute(&mut *conn)
                .await?
                .rows_affected()
        }))
    }

    /// Lets a dead task of this kind and key run again. `false`: there is none.
    pub async fn revive_task(
        &mut self,
        kind: &str,
        dedupe_key: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let revived = on_db!(self, conn => {
            sqlx::query(reopen_sql!(concat!("kind = $2 AND dedupe_key = $3 AND state = ", state!(Dead))))
                .bind(now.0)
                .bind(kind)
                .bind(dedupe_key)
                .execute(&mut *conn)
                .await?
                .rows_affected()
        });
        Ok(self.due_now(revived))
    }

    /// Lets a done or dead task of this kind and key run again. `false`: there is none, or it
    /// waits or runs.
    pub async fn reopen_task(
        &mut self,
        kind: &str,
        dedupe_key: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let reopened = on_db!(self, conn => {
            sqlx::query(reopen_sql!(concat!(
                "kind = $2 AND dedupe_key = $3 AND state IN (", state!(Done), ", ", state!(Dead), ")"
            )))
            .bind(now.0)
            .bind(kind)
            .bind(dedupe_key)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        });
        Ok(self.due_now(reopened))
    }

    /// Makes the waiting tasks of a repository due now, except those of one kind.
    pub async fn wake_tasks_of_repository(
        &mut self,
        repo: RepoId,
        except_kind: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let woken = on_db!(self, conn => {
            sqlx::query(wake_sql!("repo_id = $2 AND kind <> $3"))
                .bind(now.0)
                .bind(repo.0)
                .bind(except_kind)
                .execute(&mut *conn)
                .await?
                .rows_affected()
        });
        self.due_now(woken);
        Ok(())
    }

    /// Makes the waiting tasks of a kind due now, in all repositories.
    pub async fn wake_tasks_of_kind(&mut self, kind: &str, now: Timestamp) -> Result<(), StoreError> {
        let woken = on_db!(self, conn => {
            sqlx::query(wake_sql!("kind = $2"))
                .bind(now.0)
                .bind(kind)
                .execute(&mut *conn)
                .await?
                .rows_affected()
        });
        self.due_now(woken);
        Ok(())
    }

    /// Has the commit notify the workers if any task became due.
    fn due_now(&mut self, tasks: u64) -> bool {
        if tasks > 0 {
            self.task_due(Duration::ZERO);
        }
        tasks > 0
    }
}
