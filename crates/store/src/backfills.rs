//! How far the history of each workflow has been read from GitHub: where to go on after a kill,
//! and what is told of it.

use super::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::RepoId;
use pacegate_engine::model::time::Timestamp;

/// A workflow whose history is read.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct BackfillRow {
    /// GitHub's number of the workflow.
    pub workflow_id: i64,
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: String,
    /// The branch whose runs are read.
    pub branch: String,
    /// So many runs are wanted; fewer when GitHub has no more.
    pub wanted: i64,
    /// Runs that GitHub listed so far.
    pub listed: i64,
    /// Those of them that are stored.
    pub collected: i64,
    /// The page of the list that is read next, from 1.
    pub next_page: i64,
    /// When the last page was read, in microseconds.
    pub done_at: Option<i64>,
    /// Why it can't go on.
    pub last_error: Option<String>,
}

impl BackfillRow {
    /// Whether all of it was read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done_at.is_some()
    }
}

/// What one page brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRead {
    /// Which page, from 1.
    pub page: i64,
    /// Runs it listed.
    pub listed: i64,
    /// Those that are stored now.
    pub collected: i64,
    /// How many there will be at most.
    pub wanted: i64,
    /// It was the last one.
    pub is_last: bool,
}

impl Tx {
    /// Begins to read the history of a workflow, from its newest run on. What is stored already
    /// is not fetched again.
    pub async fn begin_backfill(
        &mut self,
        repo: RepoId,
        row: &BackfillRow,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO backfills (repo_id, workflow_id, name, path, branch, wanted, listed, collected,
                    next_page, updated_at) VALUES ($1, $2, $3, $4, $5, $6, 0, 0, 1, $7)
                 ON CONFLICT (repo_id, workflow_id) DO UPDATE SET name = excluded.name, path = excluded.path,
                    branch = excluded.branch, wanted = excluded.wanted, listed = 0, collected = 0, next_page = 1,
                    done_at = NULL, last_error = NULL, updated_at = excluded.updated_at",
            )
            .bind(repo.0)
            .bind(row.workflow_id)
            .bind(&row.name)
            .bind(&row.path)
            .bind(&row.branch)
            .bind(row.wanted)
            .bind(now.0)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// The history of one workflow.
    pub async fn backfill(
        &mut self,
        repo: RepoId,
        workflow_id: i64,
    ) -> Result<Option<BackfillRow>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as(
                "SELECT workflow_id, name, path, branch, wanted, listed, collected, next_page, done_at, last_error
                 FROM backfills WHERE repo_id = $1 AND workflow_id = $2",
            )
            .bind(repo.0)
            .bind(workflow_id)
            .fetch_optional(&mut *conn)
            .await?
        }))
    }

    /// Of each workflow of a repository, by name.
    pub async fn backfills(&mut self, repo: RepoId) -> Result<Vec<BackfillRow>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as(
                "SELECT workflow_id, name, path, branch, wanted, listed, collected, next_page, done_at, last_error
                 FROM backfills WHERE repo_id = $1 ORDER BY name, workflow_id",
            )
            .bind(repo.0)
            .fetch_all(&mut *conn)
            .await?
        }))
    }

    /// Notes that a page was read. `false`: it had been noted before.
    pub async fn advance_backfill(
        &mut self,
        repo: RepoId,
        workflow_id: i64,
        read: PageRead,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query(
                "UPDATE backfills SET listed = listed + $1, collected = collected + $2, wanted = $3,
                    next_page = next_page + 1, done_at = $4, last_error = NULL, updated_at = $5
                 WHERE repo_id = $6 AND workflow_id = $7 AND next_page = $8 AND done_at IS NULL",
            )
            .bind(read.listed)
            .bind(read.collected)
            .bind(read.wanted)
            .bind(read.is_last.then_some(now.0))
            .bind(now.0)
            .bind(repo.0)
            .bind(workflow_id)
            .bind(read.page)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }) > 0)
    }

    /// Notes why it can't go on.
    pub async fn fail_backfill(
        &mut self,
        repo: RepoId,
        workflow_id: i64,
        error: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "UPDATE backfills SET last_error = $1, updated_at = $2 WHERE repo_id = $3 AND workflow_id = $4",
            )
            // An error may quote anything; a text of PostgreSQL holds no zero byte.
            .bind(error.replace('\0', "\u{fffd}"))
            .bind(now.0)
            .bind(repo.0)
            .bind(workflow_id)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// Records what GitHub says of a repository that no installation may cover: its default
    /// branch, and who may see it.
    pub async fn describe_repository(
        &mut self,
        id: RepoId,
        default_branch: &str,
        private: bool,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query("UPDATE repositories SET default_branch = $1, private = $2 WHERE repo_id = $3")
                .bind(default_branch)
                .bind(i64::from(private))
                .bind(id.0)
                .execute(&mut *conn)
                .await?;
        });
        Ok(())
    }
}
