//! The daily quota of artifacts of each fork: how many artifacts, and how many bytes, its runs may
//! use. An artifact counts once, even if it is read again.

use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::RepoId;

/// Daily limit of the artifacts from one head repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArtifactQuota {
    pub artifacts: i64,
    pub bytes: i64,
}

/// An artifact that uses the quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentArtifact {
    /// The artifact's number in GitHub's API.
    pub id: i64,
    pub bytes: i64,
}

impl Tx {
    /// Charges an artifact to the quota of a head repository on a day (days since the epoch). An
    /// artifact that was charged before is free. Returns `false`, and charges nothing, if the quota does
    /// not suffice.
    pub async fn take_artifact_quota(
        &mut self,
        repo: RepoId,
        (head_repository, day): (i64, i64),
        artifact: SentArtifact,
        quota: ArtifactQuota,
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
        let is_allowed = artifact.bytes <= quota.bytes
            && quota.artifacts >= 1
            && self.add_to_artifact_quota(repo, (head_repository, day), artifact.bytes, quota).await?;
        if !is_allowed {
            on_db!(self, conn => {
                sqlx::query("DELETE FROM counted_artifacts WHERE repo_id = $1 AND artifact_id = $2")
                    .bind(repo.0)
                    .bind(artifact.id)
                    .execute(&mut *conn)
                    .await?;
            });
        }
        Ok(is_allowed)
    }

    async fn add_to_artifact_quota(
        &mut self,
        repo: RepoId,
        (head_repository, day): (i64, i64),
        bytes: i64,
        quota: ArtifactQuota,
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
            .bind(quota.artifacts)
            .bind(quota.bytes)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }) == 1)
    }

    /// Deletes the counts of the days before `before_day`.
    pub async fn sweep_artifact_quotas(&mut self, before_day: i64) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query("DELETE FROM artifact_quotas WHERE day < $1").bind(before_day).execute(&mut *conn).await?;
            sqlx::query("DELETE FROM counted_artifacts WHERE day < $1").bind(before_day).execute(&mut *conn).await?;
        });
        Ok(())
    }
}
