//! The runs of a head's workflows as GitHub told of them: what its check waits for. Also the
//! heads of merge queues.

use super::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_engine::model::time::Timestamp;

/// A workflow run.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct WorkflowRunRow {
    /// GitHub's number.
    pub github_run_id: i64,
    /// The newest attempt that is known.
    pub attempt: i64,
    /// GitHub's number of the workflow.
    pub workflow_id: i64,
    /// The workflow's name.
    pub name: String,
    /// The workflow's file.
    pub path: String,
    /// What started it.
    pub event: String,
    /// The commit it is shown on.
    pub head_sha: String,
    /// 0 queued, 1 in progress, 2 completed.
    pub progress: i64,
    /// The newest attempt that was read; 0 for none.
    pub collected_attempt: i64,
}

impl WorkflowRunRow {
    /// [`Self::progress`] of a run that ended.
    pub const COMPLETED: i64 = 2;

    /// Whether there is something of it that has not been read.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.collected_attempt < self.attempt
    }
}

/// A group of a merge queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeGroupRow {
    /// The commit that would become the branch's newest.
    pub head_sha: CommitSha,
    /// The branch.
    pub base_branch: String,
    /// Its newest commit when the group was made.
    pub base_sha: CommitSha,
    /// Whether somebody still wants to know.
    pub is_open: bool,
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
    /// Records what is known of a workflow run. Of an older attempt, or an earlier state of the same
    /// one, nothing is kept: deliveries come late and out of order.
    pub async fn record_workflow_run(
        &mut self,
        repo: RepoId,
        row: &WorkflowRunRow,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO workflow_runs (repo_id, github_run_id, attempt, workflow_id, name, path, event, head_sha,
                    progress, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                 ON CONFLICT (repo_id, github_run_id) DO UPDATE SET attempt = excluded.attempt,
                    name = excluded.name, path = excluded.path, progress = excluded.progress,
                    updated_at = excluded.updated_at
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
            .await?;
        });
        Ok(())
    }

    /// An attempt of a workflow run was read, or there is nothing in it to be read: no check waits
    /// for it any more.
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

    /// The workflow runs of a head, by name.
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

    /// One workflow run.
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

    /// Records a group of a merge queue, or that nobody wants to know about it any more.
    pub async fn record_merge_group(
        &mut self,
        repo: RepoId,
        row: &MergeGroupRow,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO merge_groups (repo_id, head_sha, base_branch, base_sha, is_open, updated_at)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (repo_id, head_sha) DO UPDATE SET
                    -- `destroyed` is final, whichever delivery comes first
                    is_open = CASE WHEN merge_groups.is_open = 0 THEN 0 ELSE excluded.is_open END,
                    updated_at = excluded.updated_at",
            )
            .bind(repo.0)
            .bind(row.head_sha.as_str())
            .bind(&row.base_branch)
            .bind(row.base_sha.as_str())
            .bind(i64::from(row.is_open))
            .bind(now.0)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// The group of a merge queue with this head.
    pub async fn merge_group(
        &mut self,
        repo: RepoId,
        head_sha: &CommitSha,
    ) -> Result<Option<MergeGroupRow>, StoreError> {
        let row: Option<(String, String, i64)> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT base_branch, base_sha, is_open FROM merge_groups WHERE repo_id = $1 AND head_sha = $2",
            )
            .bind(repo.0)
            .bind(head_sha.as_str())
            .fetch_optional(&mut *conn)
            .await?
        });
        row.map(|(base_branch, base_sha, is_open)| {
            Ok(MergeGroupRow {
                head_sha: head_sha.clone(),
                base_branch,
                base_sha: base_sha.parse().map_err(|e| StoreError::unreadable("a merge group's base", e))?,
                is_open: is_open != 0,
            })
        })
        .transpose()
    }

    /// A merge queue's commit became a branch's newest: its runs are that branch's, and so part of
    /// the baseline. Returns how many there are.
    pub async fn assign_runs_to_branch(
        &mut self,
        repo: RepoId,
        head_sha: &CommitSha,
        branch: &str,
    ) -> Result<u64, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query(
                "UPDATE runs SET branch = $1 WHERE repo_id = $2 AND head_sha = $3 AND pull_request IS NULL
                    AND (branch IS NULL OR branch LIKE 'gh-readonly-queue/%')
                    AND EXISTS (SELECT 1 FROM merge_groups g
                                WHERE g.repo_id = runs.repo_id AND g.head_sha = runs.head_sha
                                  AND g.base_branch = $1)",
            )
            .bind(branch)
            .bind(repo.0)
            .bind(head_sha.as_str())
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }))
    }
}
