//! Comparisons: the gate's results. Their content is never changed.

use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::comparison::RunComparison;
use pacegate_engine::model::ids::{CommitSha, ComparisonId, PrNumber, RepoId, RunId, TraceId};
use pacegate_engine::model::time::Timestamp;

/// A comparison to keep.
#[derive(Debug, Clone)]
pub struct NewComparison<'a> {
    /// The commit that is judged.
    pub head_sha: &'a CommitSha,
    /// The number of the head's evaluation, from 1.
    pub evaluation: i64,
    /// Digest of the runs and the policy that the comparison was made from.
    pub inputs_digest: &'a str,
    /// The newest run of the candidate.
    pub run: &'a RunId,
    /// The run that represents the baseline.
    pub baseline_run: Option<&'a RunId>,
    pub pull_request: Option<PrNumber>,
    pub comparison: &'a RunComparison,
}

/// A stored comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparisonRow {
    pub id: ComparisonId,
    /// The number of the head's evaluation, from 1.
    pub evaluation: i64,
    /// The newest run of the candidate.
    pub run: RunId,
    /// The trace of that run.
    pub trace: Option<TraceId>,
    /// The run that represents the baseline.
    pub baseline_run: Option<RunId>,
    pub pull_request: Option<PrNumber>,
    pub comparison: RunComparison,
    pub created_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct Row {
    comparison_id: String,
    evaluation: i64,
    run_id: String,
    pull_request: Option<i64>,
    body: String,
    created_at: i64,
    baseline_run_id: Option<String>,
    trace_id: Option<String>,
}

impl TryFrom<Row> for ComparisonRow {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: ComparisonId(row.comparison_id),
            evaluation: row.evaluation,
            run: RunId(row.run_id),
            trace: row.trace_id.and_then(|id| id.parse().ok()),
            baseline_run: row.baseline_run_id.map(RunId),
            pull_request: row.pull_request.map(PrNumber),
            comparison: serde_json::from_str(&row.body)
                .map_err(|e| StoreError::unreadable("a comparison", e))?,
            created_at: Timestamp(row.created_at),
        })
    }
}

impl Tx {
    /// Stores a comparison under a new identifier. If there is one of the same inputs, it becomes
    /// the newest again instead, and its identifier is returned.
    pub async fn record_comparison(
        &mut self,
        repo: RepoId,
        id: &ComparisonId,
        new: &NewComparison<'_>,
        now: Timestamp,
    ) -> Result<ComparisonId, StoreError> {
        let body =
            serde_json::to_string(new.comparison).map_err(|e| StoreError::unreadable("a comparison", e))?;
        let id: String = on_db!(self, conn => {
            sqlx::query_scalar(
                "INSERT INTO comparisons (repo_id, comparison_id, head_sha, evaluation, inputs_digest, run_id,
                    pull_request, verdict, body, created_at, baseline_run_id)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
                 ON CONFLICT (repo_id, head_sha, evaluation, inputs_digest)
                    DO UPDATE SET created_at = excluded.created_at
                 RETURNING comparison_id",
            )
            .bind(repo.0)
            .bind(&id.0)
            .bind(new.head_sha.as_str())
            .bind(new.evaluation)
            .bind(new.inputs_digest)
            .bind(&new.run.0)
            .bind(new.pull_request.map(|n| n.0))
            .bind(new.comparison.verdict.as_str())
            .bind(body)
            .bind(now.0)
            .bind(new.baseline_run.map(|run| &run.0))
            .fetch_one(&mut *conn)
            .await?
        });
        Ok(ComparisonId(id))
    }

    /// A comparison of a repository by its identifier.
    pub async fn comparison(
        &mut self,
        repo: RepoId,
        id: &ComparisonId,
    ) -> Result<Option<ComparisonRow>, StoreError> {
        let row: Option<Row> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT comparison_id, evaluation, run_id, pull_request, body, created_at, baseline_run_id,
                    (SELECT r.trace_id FROM runs r
                     WHERE r.repo_id = comparisons.repo_id AND r.run_id = comparisons.run_id) AS trace_id
                 FROM comparisons
                 WHERE repo_id = $1 AND comparison_id = $2",
            )
            .bind(repo.0)
            .bind(&id.0)
            .fetch_optional(&mut *conn)
            .await?
        });
        row.map(TryInto::try_into).transpose()
    }

    /// The repository of a comparison, for a link that has only the comparison's identifier.
    pub async fn repository_of_comparison(
        &mut self,
        id: &ComparisonId,
    ) -> Result<Option<RepoId>, StoreError> {
        let row: Option<i64> = on_db!(self, conn => {
            sqlx::query_scalar("SELECT repo_id FROM comparisons WHERE comparison_id = $1")
                .bind(&id.0)
                .fetch_optional(&mut *conn)
                .await?
        });
        Ok(row.map(RepoId))
    }

    /// The newest comparison of the newest evaluation of a head.
    pub async fn newest_comparison(
        &mut self,
        repo: RepoId,
        head_sha: &CommitSha,
    ) -> Result<Option<ComparisonRow>, StoreError> {
        let row: Option<Row> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT comparison_id, evaluation, run_id, pull_request, body, created_at, baseline_run_id,
                    (SELECT r.trace_id FROM runs r
                     WHERE r.repo_id = comparisons.repo_id AND r.run_id = comparisons.run_id) AS trace_id
                 FROM comparisons
                 WHERE repo_id = $1 AND head_sha = $2 ORDER BY evaluation DESC, created_at DESC, comparison_id DESC LIMIT 1",
            )
            .bind(repo.0)
            .bind(head_sha.as_str())
            .fetch_optional(&mut *conn)
            .await?
        });
        row.map(TryInto::try_into).transpose()
    }

    /// Up to two commits with a comparison whose identifiers begin with this prefix.
    pub async fn commits_like(
        &mut self,
        repo: RepoId,
        beginning: &CommitSha,
    ) -> Result<Vec<CommitSha>, StoreError> {
        let rows: Vec<String> = on_db!(self, conn => {
            // Hexadecimal digits contain no pattern of LIKE.
            sqlx::query_scalar(
                "SELECT DISTINCT head_sha FROM comparisons WHERE repo_id = $1 AND head_sha LIKE $2 LIMIT 2",
            )
            .bind(repo.0)
            .bind(format!("{beginning}%"))
            .fetch_all(&mut *conn)
            .await?
        });
        rows.into_iter()
            .map(|sha| sha.parse().map_err(|e| StoreError::unreadable("a comparison's commit", e)))
            .collect()
    }

    /// Comparisons of a repository, newest first: the candidate's newest run, the identifier and
    /// the verdict.
    pub async fn comparisons_of_runs(
        &mut self,
        repo: RepoId,
        limit: i64,
    ) -> Result<Vec<(RunId, ComparisonId, String)>, StoreError> {
        let rows: Vec<(String, String, String)> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT run_id, comparison_id, verdict FROM comparisons WHERE repo_id = $1
                 ORDER BY created_at DESC, comparison_id DESC LIMIT $2",
            )
            .bind(repo.0)
            .bind(limit)
            .fetch_all(&mut *conn)
            .await?
        });
        Ok(rows.into_iter().map(|(run, id, verdict)| (RunId(run), ComparisonId(id), verdict)).collect())
    }
}
