//! How far the history of each workflow has been read from GitHub. A restarted process continues
//! from here, and pages show it.

use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::RepoId;
use pacegate_engine::model::time::Timestamp;

/// The progress of reading a workflow's history.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct BackfillRow {
    pub workflow_id: i64,
    pub name: String,
    pub path: String,
    /// The branch whose runs are read: the default branch.
    pub branch: String,
    /// Number of runs to read; fewer if GitHub has fewer.
    pub wanted: i64,
    /// Number of runs that GitHub listed so far.
    pub listed: i64,
    /// Number of listed runs that are stored.
    pub collected: i64,
    /// The next page of GitHub's list, from 1.
    pub next_page: i64,
    /// When the last page was read, microseconds since the epoch.
    pub done_at: Option<i64>,
    /// Why reading stopped.
    pub last_error: Option<String>,
}

impl BackfillRow {
    /// Whether the last page was read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done_at.is_some()
    }
}

/// The result of reading one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRead {
    /// From 1.
    pub page: i64,
    /// Number of runs on the page.
    pub listed: i64,
    /// Number of these runs that are stored now.
    pub collected: i64,
    /// Number of runs to read in all.
    pub wanted: i64,
    pub is_last: bool,
}

impl Tx {
    /// Begins to read the history of a workflow, from its newest run on. Stored runs are not
    /// fetched again.
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

    /// The progress of one workflow.
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

    /// The progress of each workflow of a repository, by name.
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

    /// Records that a page was read. `false`: it was recorded before.
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

    /// Records why reading stopped.
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
            // An error may quote anything, and a text of PostgreSQL holds no zero byte.
            .bind(error.replace('\0', "\u{fffd}"))
            .bind(now.0)
            .bind(repo.0)
            .bind(workflow_id)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }
}
