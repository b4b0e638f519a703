//! The heads of merge queues: each needs a check, like a pull request, and has no comment.

use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_engine::model::time::Timestamp;

/// A group of a merge queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeGroupRow {
    /// The commit that becomes the newest of the branch if its check passes.
    pub head_sha: CommitSha,
    pub base_branch: String,
    /// The newest commit of the branch when the group was made.
    pub base_sha: CommitSha,
    /// Whether the merge queue still waits for the group's check.
    pub is_open: bool,
}

impl Tx {
    /// Records a group of a merge queue. A closed group is never opened again.
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
                    -- `destroyed` is final, in any order of deliveries
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

    /// The group of a merge queue by its head.
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
}
