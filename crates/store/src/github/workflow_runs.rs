//! The workflow runs of a head as GitHub reported them. The check of the head waits for them.

use super::TraceOfAttempt;
use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_engine::model::time::Timestamp;

/// A workflow run in its newest known state.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct WorkflowRunRow {
    pub github_run_id: i64,
    /// The newest known attempt, from 1.
    pub attempt: i64,
    pub workflow_id: i64,
    pub name: String,
    /// The workflow's file, from the repository's root.
    pub path: String,
    /// The event that started the run.
    pub event: String,
    /// The commit that GitHub shows the run on.
    pub head_sha: String,
    /// 0 queued, 1 in progress, 2 completed.
    pub progress: i64,
    /// The newest attempt that was collected; 0 for none.
    pub collected_attempt: i64,
}

impl WorkflowRunRow {
    /// [`Self::progress`] of a run that ended.
    pub const COMPLETED: i64 = 2;

    /// Whether an attempt was not collected yet.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.collected_attempt < self.attempt
    }
}

macro_rules! select_workflow_runs {
    ($condition:literal) => {
        concat!(
            "SELECT github_run_id, attempt, workflow_id, name, path, event, head_sha, progress, collected_attempt
             FROM workflow_runs WHERE repo_id = $1 ",
            $condition
        )
    };
}

impl Tx {
    /// Records the state of a workflow run, and the traces of its attempts. An older attempt, or an
    /// earlier state of the same attempt, changes nothing: deliveries come late and out of order.
    pub async fn record_workflow_run(
        &mut self,
        repo: RepoId,
        row: &WorkflowRunRow,
        trace_of: TraceOfAttempt,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let changed = on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO workflow_runs (repo_id, github_run_id, attempt, workflow_id, name, path, event, head_sha,
                    progress, updated_at, traced_attempt) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $3)
                 ON CONFLICT (repo_id, github_run_id) DO UPDATE SET attempt = excluded.attempt,
                    name = excluded.name, path = excluded.path, progress = excluded.progress,
                    updated_at = excluded.updated_at, traced_attempt = excluded.traced_attempt
                 WHERE excluded.attempt > workflow_runs.attempt
                    OR (excluded.attempt = workflow_runs.attempt AND excluded.progress > workflow_runs.progress)",
            )
            .bind(repo.0)
            .bind(row.github_run_id)
            .bind(row.attempt)
            .bind(row.workflow_id)
            .bind(&row.name)
            .bind(&row.path)
            .bind(&row.event)
            .bind(&row.head_sha)
            .bind(row.progress)
            .bind(now.0)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }) > 0;
        if changed {
            self.record_attempt_traces(repo, (row.github_run_id, row.attempt), trace_of).await?;
        }
        Ok(())
    }

    /// Marks an attempt of a workflow run as collected, or as having nothing to collect. Checks no
    /// longer wait for it.
    pub async fn mark_workflow_run_collected(
        &mut self,
        repo: RepoId,
        github_run_id: i64,
        attempt: i64,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "UPDATE workflow_runs SET collected_attempt = $1
                 WHERE repo_id = $2 AND github_run_id = $3 AND collected_attempt < $1",
            )
            .bind(attempt)
            .bind(repo.0)
            .bind(github_run_id)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// The workflow runs of a head by name, at most 200.
    pub async fn workflow_runs_of_head(
        &mut self,
        repo: RepoId,
        head_sha: &CommitSha,
    ) -> Result<Vec<WorkflowRunRow>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as(select_workflow_runs!("AND head_sha = $2 ORDER BY name, github_run_id LIMIT 200"))
                .bind(repo.0)
                .bind(head_sha.as_str())
                .fetch_all(&mut *conn)
                .await?
        }))
    }

    /// A workflow run by GitHub's number.
    pub async fn workflow_run(
        &mut self,
        repo: RepoId,
        github_run_id: i64,
    ) -> Result<Option<WorkflowRunRow>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as(select_workflow_runs!("AND github_run_id = $2"))
                .bind(repo.0)
                .bind(github_run_id)
                .fetch_optional(&mut *conn)
                .await?
        }))
    }
}
