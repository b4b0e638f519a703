//! Pull requests and the heads they had, as GitHub reported them.

use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{CommitSha, PrNumber, RepoId};
use pacegate_engine::model::time::Timestamp;

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequestRow {
    pub number: PrNumber,
    /// False once merged or closed.
    pub is_open: bool,
    /// The newest head.
    pub head_sha: CommitSha,
    /// The branch that the pull request is to be merged into.
    pub base_branch: String,
    /// The newest commit of that branch as of the last request to GitHub; none before the first.
    pub base_sha: Option<CommitSha>,
    /// Whether the head is in another repository.
    pub is_from_fork: bool,
}

#[derive(sqlx::FromRow)]
struct Row {
    number: i64,
    is_open: i64,
    head_sha: String,
    base_branch: String,
    base_sha: Option<String>,
    is_from_fork: i64,
}

impl TryFrom<Row> for PullRequestRow {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            number: PrNumber(row.number),
            is_open: row.is_open != 0,
            head_sha: row.head_sha.parse().map_err(|e| StoreError::unreadable("a pull request's head", e))?,
            base_branch: row.base_branch,
            base_sha: row
                .base_sha
                .map(|sha| sha.parse())
                .transpose()
                .map_err(|e| StoreError::unreadable("a pull request's base", e))?,
            is_from_fork: row.is_from_fork != 0,
        })
    }
}

impl Tx {
    /// Records the state of a pull request, as GitHub answered it.
    pub async fn record_pull_request(
        &mut self,
        repo: RepoId,
        row: &PullRequestRow,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO pull_requests (repo_id, number, is_open, head_sha, base_branch, base_sha, is_from_fork, updated_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                 ON CONFLICT (repo_id, number) DO UPDATE SET is_open = excluded.is_open,
                    head_sha = excluded.head_sha, base_branch = excluded.base_branch, base_sha = excluded.base_sha,
                    is_from_fork = excluded.is_from_fork, updated_at = excluded.updated_at",
            )
            .bind(repo.0)
            .bind(row.number.0)
            .bind(i64::from(row.is_open))
            .bind(row.head_sha.as_str())
            .bind(&row.base_branch)
            .bind(row.base_sha.as_ref().map(CommitSha::as_str))
            .bind(i64::from(row.is_from_fork))
            .bind(now.0)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// Records a head of a pull request. The earliest reported time stays, so that the order of
    /// heads does not depend on the order of deliveries.
    pub async fn record_head(
        &mut self,
        repo: RepoId,
        number: PrNumber,
        head_sha: &CommitSha,
        seen_at: Timestamp,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO pull_request_heads (repo_id, number, head_sha, seen_at) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (repo_id, number, head_sha) DO UPDATE SET seen_at =
                    CASE WHEN excluded.seen_at < pull_request_heads.seen_at
                         THEN excluded.seen_at ELSE pull_request_heads.seen_at END",
            )
            .bind(repo.0)
            .bind(number.0)
            .bind(head_sha.as_str())
            .bind(seen_at.0)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// A pull request by number.
    pub async fn pull_request(
        &mut self,
        repo: RepoId,
        number: PrNumber,
    ) -> Result<Option<PullRequestRow>, StoreError> {
        let row: Option<Row> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT number, is_open, head_sha, base_branch, base_sha, is_from_fork
                 FROM pull_requests WHERE repo_id = $1 AND number = $2",
            )
            .bind(repo.0)
            .bind(number.0)
            .fetch_optional(&mut *conn)
            .await?
        });
        row.map(TryInto::try_into).transpose()
    }

    /// The open pull requests by the last known state, newest first, at most 2,000.
    pub async fn open_pull_requests(&mut self, repo: RepoId) -> Result<Vec<PullRequestRow>, StoreError> {
        let rows: Vec<Row> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT number, is_open, head_sha, base_branch, base_sha, is_from_fork
                 FROM pull_requests WHERE repo_id = $1 AND is_open = 1 ORDER BY number DESC LIMIT 2000",
            )
            .bind(repo.0)
            .fetch_all(&mut *conn)
            .await?
        });
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// The pull request that has or had this head. Of several, these go first, in this order:
    /// - one whose newest head it is;
    /// - an open one;
    /// - one into the default branch, then one into another branch that was measured, so that a
    ///   second pull request elsewhere does not change the verdict;
    /// - the one with the lowest number.
    pub async fn pull_request_of_head(
        &mut self,
        repo: RepoId,
        head_sha: &CommitSha,
    ) -> Result<Option<PullRequestRow>, StoreError> {
        let row: Option<Row> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT p.number, p.is_open, p.head_sha, p.base_branch, p.base_sha, p.is_from_fork
                 FROM pull_request_heads h
                 JOIN pull_requests p ON p.repo_id = h.repo_id AND p.number = h.number
                 JOIN repositories r ON r.repo_id = h.repo_id
                 WHERE h.repo_id = $1 AND h.head_sha = $2
                 ORDER BY CASE WHEN p.head_sha = h.head_sha THEN 0 ELSE 1 END, p.is_open DESC,
                    CASE WHEN p.base_branch = r.default_branch THEN 0
                         WHEN EXISTS (SELECT 1 FROM runs b WHERE b.repo_id = p.repo_id
                                      AND b.branch = p.base_branch AND b.pull_request IS NULL) THEN 1
                         ELSE 2 END,
                    p.number
                 LIMIT 1",
            )
            .bind(repo.0)
            .bind(head_sha.as_str())
            .fetch_optional(&mut *conn)
            .await?
        });
        row.map(TryInto::try_into).transpose()
    }

    /// The heads of a pull request, oldest first.
    pub async fn heads_of(&mut self, repo: RepoId, number: PrNumber) -> Result<Vec<CommitSha>, StoreError> {
        let rows: Vec<String> = on_db!(self, conn => {
            sqlx::query_scalar(
                "SELECT head_sha FROM pull_request_heads WHERE repo_id = $1 AND number = $2 ORDER BY seen_at, head_sha",
            )
            .bind(repo.0)
            .bind(number.0)
            .fetch_all(&mut *conn)
            .await?
        });
        rows.into_iter()
            .map(|sha| sha.parse().map_err(|e| StoreError::unreadable("a pull request's head", e)))
            .collect()
    }

    /// The newest heads of the open pull requests, those that changed last first.
    pub async fn open_heads(&mut self, repo: RepoId, limit: i64) -> Result<Vec<CommitSha>, StoreError> {
        let rows: Vec<String> = on_db!(self, conn => {
            sqlx::query_scalar(
                "SELECT head_sha FROM pull_requests WHERE repo_id = $1 AND is_open = 1
                 ORDER BY updated_at DESC, number DESC LIMIT $2",
            )
            .bind(repo.0)
            .bind(limit)
            .fetch_all(&mut *conn)
            .await?
        });
        rows.into_iter()
            .map(|sha| sha.parse().map_err(|e| StoreError::unreadable("a pull request's head", e)))
            .collect()
    }

    /// Unconcluded checks on earlier heads of a pull request, unless the head is the newest of an
    /// open pull request: the head and its newest evaluation, at most 100.
    pub async fn superseded_checks(
        &mut self,
        repo: RepoId,
        number: PrNumber,
        head_sha: &CommitSha,
    ) -> Result<Vec<(CommitSha, i64)>, StoreError> {
        let rows: Vec<(String, i64)> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT c.head_sha, MAX(c.evaluation) FROM pull_request_heads h
                 JOIN checks c ON c.repo_id = h.repo_id AND c.head_sha = h.head_sha
                 WHERE h.repo_id = $1 AND h.number = $2 AND h.head_sha <> $3 AND c.concluded_at IS NULL
                   AND NOT EXISTS (SELECT 1 FROM pull_requests p
                     WHERE p.repo_id = h.repo_id AND p.head_sha = h.head_sha AND p.is_open = 1)
                 GROUP BY c.head_sha LIMIT 100",
            )
            .bind(repo.0)
            .bind(number.0)
            .bind(head_sha.as_str())
            .fetch_all(&mut *conn)
            .await?
        });
        let read = |sha: String| sha.parse().map_err(|e| StoreError::unreadable("a pull request's head", e));
        rows.into_iter().map(|(sha, evaluation)| Ok((read(sha)?, evaluation))).collect()
    }
}
