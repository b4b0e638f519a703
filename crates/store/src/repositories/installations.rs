//! Installations of the App, and which repositories each may act on.

use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{InstallationId, RepoId};
use pacegate_engine::model::time::Timestamp;

/// An installation of the App.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallationRow {
    pub id: InstallationId,
    /// The account that the App is installed on.
    pub account: String,
    /// GitHub may not be called for a suspended installation.
    pub suspended: bool,
}

impl Tx {
    /// Records a new or changed installation. A removed one is active again.
    pub async fn record_installation(
        &mut self,
        row: &InstallationRow,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO installations (installation_id, account, suspended, updated_at) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (installation_id) DO UPDATE SET account = excluded.account,
                    suspended = excluded.suspended, removed_at = NULL, updated_at = excluded.updated_at",
            )
            .bind(row.id.0)
            .bind(&row.account)
            .bind(i64::from(row.suspended))
            .bind(now.0)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// An installation by GitHub's number, unless it was removed.
    pub async fn installation(&mut self, id: InstallationId) -> Result<Option<InstallationRow>, StoreError> {
        let row: Option<(i64, String, i64)> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT installation_id, account, suspended FROM installations
                 WHERE installation_id = $1 AND removed_at IS NULL",
            )
            .bind(id.0)
            .fetch_optional(&mut *conn)
            .await?
        });
        Ok(row.map(|(id, account, suspended)| InstallationRow {
            id: InstallationId(id),
            account,
            suspended: suspended != 0,
        }))
    }

    /// The repositories that an installation may act on.
    pub async fn repositories_of_installation(
        &mut self,
        id: InstallationId,
    ) -> Result<Vec<RepoId>, StoreError> {
        let ids: Vec<i64> = on_db!(self, conn => {
            sqlx::query_scalar(
                "SELECT repo_id FROM repositories WHERE installation_id = $1 AND removed_at IS NULL ORDER BY repo_id",
            )
            .bind(id.0)
            .fetch_all(&mut *conn)
            .await?
        });
        Ok(ids.into_iter().map(RepoId).collect())
    }

    /// Whether an installation is known and was removed.
    pub async fn was_removed(&mut self, id: InstallationId) -> Result<bool, StoreError> {
        let found: Option<i64> = on_db!(self, conn => {
            sqlx::query_scalar(
                "SELECT installation_id FROM installations WHERE installation_id = $1 AND removed_at IS NOT NULL",
            )
            .bind(id.0)
            .fetch_optional(&mut *conn)
            .await?
        });
        Ok(found.is_some())
    }

    /// Removes an installation. GitHub may no longer be called for its repositories. They count
    /// as private from now on, because no delivery reports their visibility.
    pub async fn remove_installation(
        &mut self,
        id: InstallationId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query("UPDATE installations SET removed_at = $1, updated_at = $1 WHERE installation_id = $2")
                .bind(now.0)
                .bind(id.0)
                .execute(&mut *conn)
                .await?;
            sqlx::query("UPDATE repositories SET installation_id = NULL, private = 1 WHERE installation_id = $1")
                .bind(id.0)
                .execute(&mut *conn)
                .await?;
        });
        Ok(())
    }

    /// Detaches a repository from an installation. Its data stays. Deliveries of the old
    /// installation of a moved repository may come last: they change nothing.
    pub async fn detach_repository(
        &mut self,
        github_id: i64,
        installation: InstallationId,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "UPDATE repositories SET installation_id = NULL, private = 1
                 WHERE github_id = $1 AND installation_id = $2",
            )
            .bind(github_id)
            .bind(installation.0)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// All repositories that an active installation may act on.
    pub async fn installed_repositories(&mut self) -> Result<Vec<RepoId>, StoreError> {
        let rows: Vec<i64> = on_db!(self, conn => {
            sqlx::query_scalar(
                "SELECT r.repo_id FROM repositories r
                 JOIN installations i ON i.installation_id = r.installation_id
                 WHERE r.removed_at IS NULL AND i.removed_at IS NULL AND i.suspended = 0
                 ORDER BY r.repo_id",
            )
            .fetch_all(&mut *conn)
            .await?
        });
        Ok(rows.into_iter().map(RepoId).collect())
    }
}
