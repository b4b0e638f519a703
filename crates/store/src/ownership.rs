//! How a repository changes: its name, its owner, who may see it. News come late and in any
//! order; what GitHub answered when it was asked (`confirm_repository`) settles what they left.

use super::repositories::lookup_name;
use super::{RepositoryFacts, RepositoryRow, StoreError, Tx, on_db};
use pacegate_engine::model::ids::{InstallationId, RepoId, RepoName};
use pacegate_engine::model::time::Timestamp;

/// Who had a number before.
#[derive(Debug, sqlx::FromRow)]
struct Holder {
    repo_id: i64,
    owner: String,
    name: String,
    lookup_name: String,
    installation_id: Option<i64>,
}

impl Holder {
    fn name(&self) -> Result<RepoName, StoreError> {
        let name = format!("{}/{}", self.owner, self.name);
        name.parse().map_err(|e| StoreError::unreadable("a repository's name", e))
    }
}

impl Tx {
    /// Records what GitHub says of a repository of an installation: by its number, so that a
    /// renamed one keeps its history; a name that was known before GitHub told its number
    /// (a token made in advance) is the same repository.
    pub async fn record_repository(
        &mut self,
        facts: &RepositoryFacts,
        installation: InstallationId,
        now: Timestamp,
    ) -> Result<RepositoryRow, StoreError> {
        let before = self.holder(facts.github_id).await?;
        // A delivery from before a rename, come late: the name is one it had.
        let late = match &before {
            Some(before) => self.had_name(before, facts).await?,
            None => false,
        };
        let facts = &match &before {
            Some(before) if late => RepositoryFacts { name: before.name()?, ..facts.clone() },
            _ => facts.clone(),
        };
        let parked = self.park_other_holders(facts, now).await?;
        on_db!(self, conn => {
            // Also one that lost its name to another: now we know where it went.
            sqlx::query(
                "UPDATE repositories SET owner = $1, name = $2, lookup_name = $3, removed_at = NULL
                 WHERE github_id = $4",
            )
            .bind(facts.name.owner())
            .bind(facts.name.name())
            .bind(lookup_name(&facts.name))
            .bind(facts.github_id)
            .execute(&mut *conn)
            .await?;
        });
        let row = self.ensure_repository(&facts.name, now).await?;
        on_db!(self, conn => {
            sqlx::query(
                "UPDATE repositories SET owner = $1, name = $2, github_id = $3, installation_id = $4,
                    private = CASE WHEN closed_at IS NULL THEN $5 ELSE 1 END, detached_at = NULL,
                    default_branch = COALESCE($6, default_branch) WHERE repo_id = $7",
            )
            .bind(facts.name.owner())
            .bind(facts.name.name())
            .bind(facts.github_id)
            .bind(installation.0)
            .bind(i64::from(facts.private))
            .bind(&facts.default_branch)
            .bind(row.id.0)
            .execute(&mut *conn)
            .await?;
            for made_in_advance in parked {
                // Their makers meant the repository of this name, whatever its row.
                sqlx::query("UPDATE tokens SET repo_id = $1 WHERE repo_id = $2")
                    .bind(row.id.0)
                    .bind(made_in_advance)
                    .execute(&mut *conn)
                    .await?;
            }
        });
        if let Some(before) = before {
            self.remember_change(row.id, &before, facts, installation, now).await?;
        }
        Ok(self.repository(row.id).await?.unwrap_or(row))
    }

    /// Takes a name from whoever holds it and is another repository than the one GitHub gave
    /// it to: one with another number, or, when that one has its row already, one without any.
    /// Returns the latter: rows that were made for tokens.
    async fn park_other_holders(
        &mut self,
        facts: &RepositoryFacts,
        now: Timestamp,
    ) -> Result<Vec<i64>, StoreError> {
        let parked: Vec<(i64, Option<i64>)> = on_db!(self, conn => {
            sqlx::query_as(
                // No name has a `#`, and a row number makes it unique.
                "UPDATE repositories SET lookup_name = lookup_name || '#' || repo_id, removed_at = $1
                 WHERE lookup_name = $2 AND (github_id <> $3 OR (github_id IS NULL
                    AND EXISTS (SELECT 1 FROM repositories known WHERE known.github_id = $3)))
                 RETURNING repo_id, github_id",
            )
            .bind(now.0)
            .bind(lookup_name(&facts.name))
            .bind(facts.github_id)
            .fetch_all(&mut *conn)
            .await?
        });
        Ok(parked.into_iter().filter(|(_, number)| number.is_none()).map(|(id, _)| id).collect())
    }

    async fn holder(&mut self, github_id: i64) -> Result<Option<Holder>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as(
                "SELECT repo_id, owner, name, lookup_name, installation_id FROM repositories WHERE github_id = $1",
            )
            .bind(github_id)
            .fetch_optional(&mut *conn)
            .await?
        }))
    }

    /// Whether the name in these facts is one the repository had before its present one.
    async fn had_name(&mut self, before: &Holder, facts: &RepositoryFacts) -> Result<bool, StoreError> {
        let found: Option<i64> = on_db!(self, conn => {
            sqlx::query_scalar("SELECT repo_id FROM repository_names WHERE lookup_name = $1 AND repo_id = $2")
                .bind(lookup_name(&facts.name))
                .bind(before.repo_id)
                .fetch_optional(&mut *conn)
                .await?
        });
        // One whose name was taken by another has none to keep.
        Ok(found.is_some() && !before.lookup_name.contains('#'))
    }

    /// Remembers the name a repository had, and ends the tokens of an owner it left: they were
    /// made by people who may have no say any more.
    async fn remember_change(
        &mut self,
        repo: RepoId,
        before: &Holder,
        facts: &RepositoryFacts,
        installation: InstallationId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let renamed = before.lookup_name != lookup_name(&facts.name) && !before.lookup_name.contains('#');
        // An account that was renamed has the same installation as before.
        let left = !before.owner.eq_ignore_ascii_case(facts.name.owner())
            && before.installation_id != Some(installation.0);
        on_db!(self, conn => {
            if renamed {
                sqlx::query(
                    "INSERT INTO repository_names (lookup_name, repo_id, until_at) VALUES ($1, $2, $3)
                     ON CONFLICT (lookup_name) DO UPDATE SET repo_id = excluded.repo_id, until_at = excluded.until_at",
                )
                .bind(&before.lookup_name)
                .bind(repo.0)
                .bind(now.0)
                .execute(&mut *conn)
                .await?;
            }
            if left {
                sqlx::query("UPDATE tokens SET revoked_at = $1 WHERE repo_id = $2 AND revoked_at IS NULL")
                    .bind(now.0)
                    .bind(repo.0)
                    .execute(&mut *conn)
                    .await?;
            }
        });
        Ok(())
    }

    /// Records what GitHub answered when it was asked: the last word about name, visibility and
    /// whether the repository is read-only.
    pub async fn confirm_repository(
        &mut self,
        facts: &RepositoryFacts,
        archived: bool,
        installation: InstallationId,
        now: Timestamp,
    ) -> Result<RepositoryRow, StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "DELETE FROM repository_names WHERE lookup_name = $1
                    AND repo_id = (SELECT repo_id FROM repositories WHERE github_id = $2)",
            )
            .bind(lookup_name(&facts.name))
            .bind(facts.github_id)
            .execute(&mut *conn)
            .await?;
        });
        let row = self.record_repository(facts, installation, now).await?;
        on_db!(self, conn => {
            sqlx::query("UPDATE repositories SET private = $1, closed_at = $2, archived = $3 WHERE repo_id = $4")
                .bind(i64::from(facts.private))
                .bind(facts.private.then_some(now.0))
                .bind(i64::from(archived))
                .bind(row.id.0)
                .execute(&mut *conn)
                .await?;
        });
        Ok(self.repository(row.id).await?.unwrap_or(row))
    }

    /// Closes a repository's pages at once; only GitHub's own answer opens them again.
    pub async fn close_repository(&mut self, repo: RepoId, now: Timestamp) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query("UPDATE repositories SET private = 1, closed_at = $1 WHERE repo_id = $2")
                .bind(now.0)
                .bind(repo.0)
                .execute(&mut *conn)
                .await?;
        });
        Ok(())
    }

    /// GitHub refuses writes because the repository is read-only.
    pub async fn archive_repository(&mut self, repo: RepoId) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query("UPDATE repositories SET archived = 1 WHERE repo_id = $1")
                .bind(repo.0)
                .execute(&mut *conn)
                .await?;
        });
        Ok(())
    }

    /// The repository that had this name once.
    pub async fn find_repository_by_old_name(
        &mut self,
        name: &RepoName,
    ) -> Result<Option<RepositoryRow>, StoreError> {
        let id: Option<i64> = on_db!(self, conn => {
            sqlx::query_scalar("SELECT repo_id FROM repository_names WHERE lookup_name = $1")
                .bind(lookup_name(name))
                .fetch_optional(&mut *conn)
                .await?
        });
        match id {
            Some(id) => self.repository(RepoId(id)).await,
            None => Ok(None),
        }
    }

    /// Another installation covers a repository, as GitHub said when it was asked.
    pub async fn move_repository(&mut self, repo: RepoId, to: InstallationId) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query("UPDATE repositories SET installation_id = $1, detached_at = NULL WHERE repo_id = $2")
                .bind(to.0)
                .bind(repo.0)
                .execute(&mut *conn)
                .await?;
        });
        Ok(())
    }
}
