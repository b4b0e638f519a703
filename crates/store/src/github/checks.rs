//! Check runs and comments that were written to GitHub, with the numbers that GitHub gave them.

use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{CommitSha, ComparisonId, PrNumber, RepoId};
use pacegate_engine::model::time::Timestamp;

/// An evaluation of a head and its check run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRow {
    /// From 1. A rerequest starts the next evaluation of a head.
    pub evaluation: i64,
    /// When the evaluation began.
    pub begun_at: Timestamp,
    /// None until GitHub created the check run.
    pub github_check_run_id: Option<i64>,
    pub concluded_at: Option<Timestamp>,
    /// The comparison that the check run shows.
    pub comparison: Option<ComparisonId>,
    /// SHA-256 of the output that the waiting check run shows; none before the first output.
    pub shown_digest: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    evaluation: i64,
    created_at: i64,
    github_check_run_id: Option<i64>,
    concluded_at: Option<i64>,
    comparison_id: Option<String>,
    shown_digest: Option<String>,
}

impl From<Row> for CheckRow {
    fn from(row: Row) -> Self {
        Self {
            evaluation: row.evaluation,
            begun_at: Timestamp(row.created_at),
            github_check_run_id: row.github_check_run_id,
            concluded_at: row.concluded_at.map(Timestamp),
            comparison: row.comparison_id.map(ComparisonId),
            shown_digest: row.shown_digest,
        }
    }
}

impl Tx {
    /// The newest evaluation of a head.
    pub async fn newest_check(
        &mut self,
        repo: RepoId,
        head_sha: &CommitSha,
    ) -> Result<Option<CheckRow>, StoreError> {
        let row: Option<Row> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT evaluation, created_at, github_check_run_id, concluded_at, comparison_id, shown_digest FROM checks
                 WHERE repo_id = $1 AND head_sha = $2 ORDER BY evaluation DESC LIMIT 1",
            )
            .bind(repo.0)
            .bind(head_sha.as_str())
            .fetch_optional(&mut *conn)
            .await?
        });
        Ok(row.map(Into::into))
    }

    /// An evaluation of a head by its number.
    pub async fn check(
        &mut self,
        repo: RepoId,
        head_sha: &CommitSha,
        evaluation: i64,
    ) -> Result<Option<CheckRow>, StoreError> {
        let row: Option<Row> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT evaluation, created_at, github_check_run_id, concluded_at, comparison_id, shown_digest FROM checks
                 WHERE repo_id = $1 AND head_sha = $2 AND evaluation = $3",
            )
            .bind(repo.0)
            .bind(head_sha.as_str())
            .bind(evaluation)
            .fetch_optional(&mut *conn)
            .await?
        });
        Ok(row.map(Into::into))
    }

    /// Newest evaluations of heads that began before a time and are not concluded, oldest first.
    pub async fn unconcluded_checks(
        &mut self,
        repo: RepoId,
        before: Timestamp,
        limit: i64,
    ) -> Result<Vec<(CommitSha, i64)>, StoreError> {
        let rows: Vec<(String, i64)> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT head_sha, evaluation FROM checks c
                 WHERE repo_id = $1 AND concluded_at IS NULL AND created_at < $2
                   AND NOT EXISTS (SELECT 1 FROM checks n WHERE n.repo_id = c.repo_id
                                   AND n.head_sha = c.head_sha AND n.evaluation > c.evaluation)
                 ORDER BY created_at LIMIT $3",
            )
            .bind(repo.0)
            .bind(before.0)
            .bind(limit)
            .fetch_all(&mut *conn)
            .await?
        });
        let read = |(sha, evaluation): (String, i64)| Ok((sha.parse()?, evaluation));
        rows.into_iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map_err(|e: <CommitSha as std::str::FromStr>::Err| StoreError::unreadable("a check's head", e))
    }

    /// Begins an evaluation of a head. `false`: it began before.
    pub async fn begin_check(
        &mut self,
        repo: RepoId,
        head_sha: &CommitSha,
        evaluation: i64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO checks (repo_id, head_sha, evaluation, created_at) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (repo_id, head_sha, evaluation) DO NOTHING",
            )
            .bind(repo.0)
            .bind(head_sha.as_str())
            .bind(evaluation)
            .bind(now.0)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }) > 0)
    }

    /// Records GitHub's number of the check run of an evaluation.
    pub async fn record_check_run(
        &mut self,
        repo: RepoId,
        head_sha: &CommitSha,
        evaluation: i64,
        github_check_run_id: i64,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "UPDATE checks SET github_check_run_id = $1
                 WHERE repo_id = $2 AND head_sha = $3 AND evaluation = $4",
            )
            .bind(github_check_run_id)
            .bind(repo.0)
            .bind(head_sha.as_str())
            .bind(evaluation)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// Records that an evaluation was concluded, and the comparison that its check run shows.
    pub async fn conclude_check(
        &mut self,
        repo: RepoId,
        head_sha: &CommitSha,
        evaluation: i64,
        comparison: Option<&ComparisonId>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "UPDATE checks SET concluded_at = $1, comparison_id = $2
                 WHERE repo_id = $3 AND head_sha = $4 AND evaluation = $5",
            )
            .bind(now.0)
            .bind(comparison.map(|c| c.0.as_str()))
            .bind(repo.0)
            .bind(head_sha.as_str())
            .bind(evaluation)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// Records the digest of the output that a waiting check run shows.
    pub async fn record_shown(
        &mut self,
        repo: RepoId,
        head_sha: &CommitSha,
        evaluation: i64,
        digest: &str,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "UPDATE checks SET shown_digest = $1 WHERE repo_id = $2 AND head_sha = $3 AND evaluation = $4",
            )
            .bind(digest)
            .bind(repo.0)
            .bind(head_sha.as_str())
            .bind(evaluation)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// Pacegate's comment on a pull request: GitHub's number and the comparison it shows.
    pub async fn comment(
        &mut self,
        repo: RepoId,
        number: PrNumber,
    ) -> Result<Option<(i64, ComparisonId)>, StoreError> {
        let row: Option<(i64, String)> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT github_comment_id, comparison_id FROM comments WHERE repo_id = $1 AND pull_request = $2",
            )
            .bind(repo.0)
            .bind(number.0)
            .fetch_optional(&mut *conn)
            .await?
        });
        Ok(row.map(|(id, comparison)| (id, ComparisonId(comparison))))
    }

    /// Records Pacegate's comment on a pull request, in place of an earlier one.
    pub async fn record_comment(
        &mut self,
        repo: RepoId,
        number: PrNumber,
        github_comment_id: i64,
        comparison: &ComparisonId,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO comments (repo_id, pull_request, github_comment_id, comparison_id) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (repo_id, pull_request) DO UPDATE SET
                    github_comment_id = excluded.github_comment_id, comparison_id = excluded.comparison_id",
            )
            .bind(repo.0)
            .bind(number.0)
            .bind(github_comment_id)
            .bind(&comparison.0)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }
}
