//! Repositories: their rows, installations, changes of name and owner, and deletion.

pub mod forgetting;
mod installations;
mod ownership;

use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{InstallationId, RepoId, RepoName};
use pacegate_engine::model::time::Timestamp;

pub use installations::InstallationRow;

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryRow {
    pub id: RepoId,
    /// In the last known spelling.
    pub name: RepoName,
    /// None until GitHub reported it, as for a repository made for a token.
    pub github_id: Option<i64>,
    /// The installation that may act on it; none in local mode or after its removal.
    pub installation: Option<InstallationId>,
    /// The branch that baselines come from by default.
    pub default_branch: Option<String>,
    /// Whether only its members may see it; true until GitHub reports that it is public.
    pub private: bool,
    /// Nothing is posted to an archived repository.
    pub archived: bool,
}

/// A repository as GitHub reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryFacts {
    pub github_id: i64,
    pub name: RepoName,
    /// None where the payload does not have it.
    pub default_branch: Option<String>,
    pub private: bool,
}

/// A row of the page of repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryOverview {
    pub repository: RepositoryRow,
    /// Number of stored runs.
    pub runs: i64,
    /// When the newest run began.
    pub last_run_at: Option<Timestamp>,
    /// The verdict of the newest comparison.
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
    /// A repository by its name, in any case. Removed ones are not found.
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

    /// A repository by its row number, unless it was removed.
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

    /// Locks a repository until this transaction ends.
    pub async fn lock_repository(&mut self, id: RepoId) -> Result<(), StoreError> {
        on_db!(self, conn => {
            // A write that changes nothing: both databases lock the row.
            sqlx::query("UPDATE repositories SET repo_id = repo_id WHERE repo_id = $1")
                .bind(id.0)
                .execute(&mut *conn)
                .await?;
        });
        Ok(())
    }

    /// A repository by GitHub's number, unless it was removed.
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

    /// The repository of this name, created if there is none: for tokens, before or without an
    /// installation.
    pub async fn ensure_repository(
        &mut self,
        name: &RepoName,
        now: Timestamp,
    ) -> Result<RepositoryRow, StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                // A removed name that comes back is the same repository.
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

    /// Repositories, those with the newest runs first.
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
