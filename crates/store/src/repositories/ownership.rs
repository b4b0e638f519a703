//! Changes of a repository: its name, its owner and who may see it. Deliveries come late and in
//! any order. GitHub's answer to a request (`confirm_repository`) overrides them.

use super::lookup_name;
use super::{RepositoryFacts, RepositoryRow};
use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{InstallationId, RepoId, RepoName};
use pacegate_engine::model::time::Timestamp;

/// The repository that has GitHub's number, as it was before a change.
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
    /// Records a delivery's facts about a repository of an installation. It is found by GitHub's
    /// number, so a renamed repository keeps its history. A repository of that name without a
    /// number, made for a token in advance, is the same repository.
    pub async fn record_repository(
        &mut self,
        facts: &RepositoryFacts,
        installation: InstallationId,
        now: Timestamp,
    ) -> Result<RepositoryRow, StoreError> {
        let before = self.holder(facts.github_id).await?;
        // A late delivery from before a rename carries a former name.
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
            // This finds a parked repository, too: its new name is known now.
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
                // The tokens were made for the repository of this name.
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

    /// Parks the rows that have a name without being the repository that GitHub reports: a `#` and
    /// the row number are appended to the lookup name. Such a row has another number of GitHub. If
    /// the reported repository has a row already, a row without a number is another one, too.
    /// Returns the rows without a number: they were made for tokens.
    async fn park_other_holders(
        &mut self,
        facts: &RepositoryFacts,
        now: Timestamp,
    ) -> Result<Vec<i64>, StoreError> {
        let parked: Vec<(i64, Option<i64>)> = on_db!(self, conn => {
            sqlx::query_as(
                // A name never has a `#`, and the row number makes this unique.
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

    /// Whether the name in these facts is a former name of the repository.
    async fn had_name(&mut self, before: &Holder, facts: &RepositoryFacts) -> Result<bool, StoreError> {
        let found: Option<i64> = on_db!(self, conn => {
            sqlx::query_scalar("SELECT repo_id FROM repository_names WHERE lookup_name = $1 AND repo_id = $2")
                .bind(lookup_name(&facts.name))
                .bind(before.repo_id)
                .fetch_optional(&mut *conn)
                .await?
        });
        // A parked repository has no present name that could be kept.
        Ok(found.is_some() && !before.lookup_name.contains('#'))
    }

    /// Remembers a repository's former name. If it left its owner, its tokens are revoked: the
    /// people who made them may have no access any more.
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

    /// Records GitHub's answer about a repository. It decides the name, the visibility and whether
    /// the repository is archived.
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

    /// Makes a repository private at once. Only [`Tx::confirm_repository`] makes it public again.
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

    /// Marks a repository as archived, after GitHub refused a write for that reason.
    pub async fn archive_repository(&mut self, repo: RepoId) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query("UPDATE repositories SET archived = 1 WHERE repo_id = $1")
                .bind(repo.0)
                .execute(&mut *conn)
                .await?;
        });
        Ok(())
    }

    /// The repository that had this name formerly.
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

    /// Assigns a repository to another installation, after GitHub's answer.
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

    /// Records the default branch and visibility of a repository that need not have an
    /// installation.
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
