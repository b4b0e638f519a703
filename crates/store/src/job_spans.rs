//! What jobs of workflow runs send beside what GitHub tells of them: the traces that are waited
//! for under a run's own name, and how much a fork may send in a day.

use super::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{RepoId, TraceId};
use pacegate_engine::model::time::Timestamp;

/// A trace of a run that GitHub told of, once it was collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToldTrace {
    /// How often it was.
    pub collections: i64,
    /// Whether more was sent meanwhile.
    pub has_more: bool,
}

/// What the repository that a run's commit is of may send in a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArtifactQuota {
    /// Artifacts.
    pub artifacts: i64,
    /// Bytes of them.
    pub bytes: i64,
}

/// What is taken from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentArtifact {
    /// GitHub's number of it.
    pub id: i64,
    /// Its bytes.
    pub bytes: i64,
}

impl Tx {
    /// A workflow run was collected with so many batches that its jobs had sent under its trace.
    /// What comes later is added to it: its root is what GitHub told.
    pub async fn mark_told_trace_collected(
        &mut self,
        repo: RepoId,
        trace: TraceId,
        batches_read: i64,
        now: Timestamp,
    ) -> Result<ToldTrace, StoreError> {
        let (batches, collections): (i64, i64) = on_db!(self, conn => {
            sqlx::query_as(
                "INSERT INTO open_traces (repo_id, trace_id, first_at, last_at, batches, spans, has_root, bytes,
                    collections, collected_batches) VALUES ($1, $2, $3, $3, 0, 0, 1, 0, 1, $4)
                 ON CONFLICT (repo_id, trace_id) DO UPDATE SET has_root = 1, collected_batches = $4,
                    collections = open_traces.collections + 1
                 RETURNING batches, collections",
            )
            .bind(repo.0)
            .bind(trace.to_string())
            .bind(now.0)
            .bind(batches_read)
            .fetch_one(&mut *conn)
            .await?
        });
        Ok(ToldTrace { collections, has_more: batches > batches_read })
    }

    /// The newest workflow runs that GitHub told of since a time: number and newest attempt.
    pub async fn recent_workflow_runs(
        &mut self,
        repo: RepoId,
        since: Timestamp,
        limit: i64,
    ) -> Result<Vec<(i64, i64)>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as(
                "SELECT github_run_id, attempt FROM workflow_runs WHERE repo_id = $1 AND updated_at >= $2
                 ORDER BY updated_at DESC, github_run_id DESC LIMIT $3",
            )
            .bind(repo.0)
            .bind(since.0)
            .bind(limit)
            .fetch_all(&mut *conn)
            .await?
        }))
    }

    /// Takes an artifact of so many bytes from what a repository of commits may send on a day
    /// (days since the epoch). One that was taken before is free. `false`: it is spent, and nothing
    /// was taken.
    pub async fn take_artifact_quota(
        &mut self,
        repo: RepoId,
        (head_repository, day): (i64, i64),
        artifact: SentArtifact,
        most: ArtifactQuota,
    ) -> Result<bool, StoreError> {
        let is_new = on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO counted_artifacts (repo_id, artifact_id, day) VALUES ($1, $2, $3)
                 ON CONFLICT (repo_id, artifact_id) DO NOTHING",
            )
            .bind(repo.0)
            .bind(artifact.id)
            .bind(day)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }) == 1;
        if !is_new {
            return Ok(true);
        }
        let is_left = artifact.bytes <= most.bytes
            && most.artifacts >= 1
            && self.add_to_artifact_quota(repo, (head_repository, day), artifact.bytes, most).await?;
        if !is_left {
            on_db!(self, conn => {
                sqlx::query("DELETE FROM counted_artifacts WHERE repo_id = $1 AND artifact_id = $2")
                    .bind(repo.0)
                    .bind(artifact.id)
                    .execute(&mut *conn)
                    .await?;
            });
        }
        Ok(is_left)
    }

    async fn add_to_artifact_quota(
        &mut self,
        repo: RepoId,
        (head_repository, day): (i64, i64),
        bytes: i64,
        most: ArtifactQuota,
    ) -> Result<bool, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO artifact_quotas (repo_id, head_repository, day, artifacts, bytes) VALUES ($1, $2, $3, 1, $4)
                 ON CONFLICT (repo_id, head_repository, day) DO UPDATE SET
                    artifacts = artifact_quotas.artifacts + 1, bytes = artifact_quotas.bytes + excluded.bytes
                 WHERE artifact_quotas.artifacts < $5 AND artifact_quotas.bytes + excluded.bytes <= $6",
            )
            .bind(repo.0)
            .bind(head_repository)
            .bind(day)
            .bind(bytes)
            .bind(most.artifacts)
            .bind(most.bytes)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }) == 1)
    }

    /// Forgets what was taken before a day.
    pub async fn sweep_artifact_quotas(&mut self, before_day: i64) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query("DELETE FROM artifact_quotas WHERE day < $1").bind(before_day).execute(&mut *conn).await?;
            sqlx::query("DELETE FROM counted_artifacts WHERE day < $1").bind(before_day).execute(&mut *conn).await?;
        });
        Ok(())
    }
}
