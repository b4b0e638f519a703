//! Files of repositories as GitHub answered them: policies of branches, until they are outdated,
//! and files at commits, which never change. The content is not interpreted here.

use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_engine::model::time::Timestamp;

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// From the repository's root.
    pub path: String,
    pub text: String,
}

/// A branch's policy file as of the last request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPolicy {
    /// None: the branch has no policy file.
    pub file: Option<StoredFile>,
    /// When GitHub was asked. None: the branch changed afterwards.
    pub fetched_at: Option<Timestamp>,
}

impl Tx {
    /// The policy file of a branch; none if GitHub was never asked for it.
    pub async fn policy(&mut self, repo: RepoId, branch: &str) -> Result<Option<StoredPolicy>, StoreError> {
        let row: Option<(Option<String>, Option<String>, i64)> = on_db!(self, conn => {
            sqlx::query_as("SELECT path, body, fetched_at FROM policies WHERE repo_id = $1 AND branch = $2")
                .bind(repo.0)
                .bind(branch)
                .fetch_optional(&mut *conn)
                .await?
        });
        Ok(row.map(|(path, text, fetched_at)| StoredPolicy {
            file: path.zip(text).map(|(path, text)| StoredFile { path, text }),
            fetched_at: (fetched_at > 0).then_some(Timestamp(fetched_at)),
        }))
    }

    /// Records a branch's policy file, or that it has none.
    pub async fn record_policy(
        &mut self,
        repo: RepoId,
        branch: &str,
        file: Option<&StoredFile>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO policies (repo_id, branch, path, body, fetched_at) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (repo_id, branch) DO UPDATE SET
                    path = excluded.path, body = excluded.body, fetched_at = excluded.fetched_at",
            )
            .bind(repo.0)
            .bind(branch)
            .bind(file.map(|file| file.path.as_str()))
            .bind(file.map(|file| file.text.as_str()))
            .bind(now.0)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// Marks a branch's policy as outdated, after a push to the branch.
    pub async fn outdate_policy(&mut self, repo: RepoId, branch: &str) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query("UPDATE policies SET fetched_at = 0 WHERE repo_id = $1 AND branch = $2")
                .bind(repo.0)
                .bind(branch)
                .execute(&mut *conn)
                .await?;
        });
        Ok(())
    }

    /// The text of a file at a commit. `None`: GitHub was never asked for it. `Some(None)`: the
    /// commit has no such file.
    pub async fn file_at(
        &mut self,
        repo: RepoId,
        commit: &CommitSha,
        path: &str,
    ) -> Result<Option<Option<String>>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_scalar(
                "SELECT body FROM workflow_files WHERE repo_id = $1 AND commit_sha = $2 AND path = $3",
            )
            .bind(repo.0)
            .bind(commit.as_str())
            .bind(path)
            .fetch_optional(&mut *conn)
            .await?
        }))
    }

    /// Records a file at a commit, or that the commit does not have it. A recorded file stays.
    pub async fn record_file_at(
        &mut self,
        repo: RepoId,
        commit: &CommitSha,
        path: &str,
        text: Option<&str>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO workflow_files (repo_id, commit_sha, path, body, fetched_at) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (repo_id, commit_sha, path) DO NOTHING",
            )
            .bind(repo.0)
            .bind(commit.as_str())
            .bind(path)
            .bind(text)
            .bind(now.0)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// Deletes files at commits that were recorded before a time. Returns their number.
    pub async fn sweep_files(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query("DELETE FROM workflow_files WHERE fetched_at < $1")
                .bind(before.0)
                .execute(&mut *conn)
                .await?
                .rows_affected()
        }))
    }
}
