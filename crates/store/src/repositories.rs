//! Repositories and the App's installations.

use super::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{InstallationId, RepoId, RepoName};
use pacegate_engine::model::time::Timestamp;

/// A repository as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryRow {
    /// Row number.
    pub id: RepoId,
    /// `OWNER/NAME` as last written.
    pub name: RepoName,
    /// GitHub's number, once GitHub told it.
    pub github_id: Option<i64>,
    /// The installation that may act on it; none in local mode or after it was removed.
    pub installation: Option<InstallationId>,
    /// The branch that baselines come from.
    pub default_branch: Option<String>,
    /// Whether only its members may see it; true until GitHub says otherwise.
    pub private: bool,
    /// Read-only: nothing is posted.
    pub archived: bool,
}

/// What GitHub says of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryFacts {
    /// GitHub's number.
    pub github_id: i64,
    /// Its present name.
    pub name: RepoName,
    /// Its default branch, where the payload has it.
    pub default_branch: Option<String>,
    /// Whether only members may see it.
    pub private: bool,
}

/// An installation of the App.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallationRow {
    /// GitHub's number.
    pub id: InstallationId,
    /// The account it is on.
    pub account: String,
    /// Suspended: nothing may be called.
    pub suspended: bool,
}

/// A line of the list of repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryOverview {
    /// The repository.
    pub repository: RepositoryRow,
    /// How many runs are stored.
    pub runs: i64,
    /// When the newest began.
    pub last_run_at: Option<Timestamp>,
    /// The verdict made last.
    pub last_verdict: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    repo_id: i64,
    owner: String,
    name: String,
    github_id: Option<i64>,
    installation_id: Option<i64>,
    default_branch: Option<String>,
    private: i64,
    archived: i64,
}

impl TryFrom<Row> for RepositoryRow {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: RepoId(row.repo_id),
            name: format!("{}/{}", row.owner, row.name)
                .parse()
                .map_err(|e| StoreError::unreadable("a repository's name", e))?,
            github_id: row.github_id,
            installation: row.installation_id.map(InstallationId),
            default_branch: row.default_branch,
            private: row.private != 0,
            archived: row.archived != 0,
        })
    }
}

pub(super) fn lookup_name(name: &RepoName) -> String {
    name.to_string().to_ascii_lowercase()
}

impl Tx {
    /// The repository of this name, in any case.
    pub async fn find_repository(&mut self, name: &RepoName) -> Result<Option<RepositoryRow>, StoreError> {
        let row: Option<Row> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT repo_id, owner, name, github_id, installation_id, default_branch, private, archived
                 FROM repositories WHERE lookup_name = $1 AND removed_at IS NULL",
            )
            .bind(lookup_name(name))
            .fetch_optional(&mut *conn)
            .await?
        });
        row.map(TryInto::try_into).transpose()
    }

    /// The repository of this row number.
    pub async fn repository(&mut self, id: RepoId) -> Result<Option<RepositoryRow>, StoreError> {
        let row: Option<Row> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT repo_id, owner, name, github_id, installation_id, default_branch, private, archived
                 FROM repositories WHERE repo_id = $1 AND removed_at IS NULL",
            )
            .bind(id.0)
            .fetch_optional(&mut *conn)
            .await?
        });
        row.map(TryInto::try_into).transpose()
    }

    /// Makes other transactions that lock this repository wait until this one ends.
    pub async fn lock_repository(&mut self, id: RepoId) -> Result<(), StoreError> {
        on_db!(self, conn => {
            // A write that changes nothing: both databases lock the row for it.
            sqlx::query("UPDATE repositories SET repo_id = repo_id WHERE repo_id = $1")
                .bind(id.0)
                .execute(&mut *conn)
                .await?;
        });
        Ok(())
    }

    /// The repository GitHub numbers so.
    pub async fn find_repository_by_github_id(
        &mut self,
        github_id: i64,
    ) -> Result<Option<RepositoryRow>, StoreError> {
        let row: Option<Row> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT repo_id, owner, name, github_id, installation_id, default_branch, private, archived
                 FROM repositories WHERE github_id = $1 AND removed_at IS NULL",
            )
            .bind(github_id)
            .fetch_optional(&mut *conn)
            .await?
        });
        row.map(TryInto::try_into).transpose()
    }

    /// The repository of this name, made if it is not there: for tokens, before or without
    /// any installation.
    pub async fn ensure_repository(
        &mut self,
        name: &RepoName,
        now: Timestamp,
    ) -> Result<RepositoryRow, StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                // A name that was removed and comes back is the same repository again.
                "INSERT INTO repositories (owner, name, lookup_name, created_at) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (lookup_name) DO UPDATE SET removed_at = NULL",
            )
            .bind(name.owner())
            .bind(name.name())
            .bind(lookup_name(name))
            .bind(now.0)
            .execute(&mut *conn)
            .await?;
        });
        self.find_repository(name).await?.ok_or(StoreError::Database(sqlx::Error::RowNotFound))
    }

    /// The installation may no longer act on a repository. Its data stays. Of a repository
    /// that went to another installation, the news from the old one may come last: it changes
    /// nothing.
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

    /// Records an installation, new or changed.
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

    /// An installation that was not removed.
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

    /// Repositories an installation may act on.
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

    /// Whether an installation was here and has been removed.
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

    /// An installation was removed: nothing may be called for its repositories any more, and
    /// nobody says any longer that they are public.
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

    /// All repositories, those with the newest runs first.
    pub async fn list_repositories(&mut self, limit: i64) -> Result<Vec<RepositoryOverview>, StoreError> {
        #[derive(sqlx::FromRow)]
        struct Line {
            #[sqlx(flatten)]
            row: Row,
            runs: i64,
            last_run_at: Option<i64>,
            last_verdict: Option<String>,
        }
        let lines: Vec<Line> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT r.repo_id, r.owner, r.name, r.github_id, r.installation_id, r.default_branch, r.private, r.archived,
                    (SELECT COUNT(*) FROM runs WHERE runs.repo_id = r.repo_id) AS runs,
                    (SELECT MAX(started_at) FROM runs WHERE runs.repo_id = r.repo_id) AS last_run_at,
                    (SELECT verdict FROM comparisons c WHERE c.repo_id = r.repo_id
                     ORDER BY c.created_at DESC, c.comparison_id DESC LIMIT 1) AS last_verdict
                 FROM repositories r WHERE r.removed_at IS NULL
                 ORDER BY COALESCE((SELECT MAX(started_at) FROM runs WHERE runs.repo_id = r.repo_id), 0) DESC, r.lookup_name
                 LIMIT $1",
            )
            .bind(limit)
            .fetch_all(&mut *conn)
            .await?
        });
        lines
            .into_iter()
            .map(|line| {
                Ok(RepositoryOverview {
                    repository: line.row.try_into()?,
                    runs: line.runs,
                    last_run_at: line.last_run_at.map(Timestamp),
                    last_verdict: line.last_verdict,
                })
            })
            .collect()
    }
}
