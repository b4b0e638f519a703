//! Deletes the data of repositories that had no installation for the grace period. A deletion goes
//! in bounded steps and can be continued after each. A repository that gets an installation in
//! time keeps everything.

use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{RepoId, RunId, TraceId};
use pacegate_engine::model::time::Timestamp;

/// Tables with rows of a repository, apart from its runs, and the column by which a step selects
/// some of them. Tables that others refer to come last.
pub const TABLES: [(&str, &str); 23] = [
    ("tokens", "token_id"),
    ("upload_grants", "grant_id"),
    ("artifact_quotas", "head_repository"),
    ("counted_artifacts", "artifact_id"),
    ("span_batches", "trace_id"),
    ("open_traces", "trace_id"),
    ("trace_links", "trace_id"),
    ("pipeline_traces", "trace_id"),
    ("comparisons", "comparison_id"),
    ("checks", "head_sha"),
    ("comments", "pull_request"),
    ("decisions", "decision_id"),
    ("reruns", "head_sha"),
    ("backfills", "workflow_id"),
    ("policies", "branch"),
    ("workflow_files", "path"),
    ("workflow_run_traces", "trace_id"),
    ("workflow_runs", "github_run_id"),
    ("merge_groups", "head_sha"),
    ("pull_request_heads", "number"),
    ("pull_requests", "number"),
    ("stages", "stage_id"),
    ("repository_names", "lookup_name"),
];
/// Tables with rows of a run.
pub const TABLES_OF_RUNS: [&str; 3] = ["samples", "stage_errors", "runs"];

impl Tx {
    /// Starts the grace period of repositories that lost their installation.
    pub async fn mark_detached(&mut self, now: Timestamp) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                // A repository without a number never had an installation: it belongs to a token.
                "UPDATE repositories SET detached_at = $1
                 WHERE installation_id IS NULL AND github_id IS NOT NULL AND detached_at IS NULL",
            )
            .bind(now.0)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// Some of the repositories whose grace period began before a time.
    pub async fn repositories_to_forget(&mut self, before: Timestamp) -> Result<Vec<RepoId>, StoreError> {
        let ids: Vec<i64> = on_db!(self, conn => {
            sqlx::query_scalar(
                "SELECT repo_id FROM repositories WHERE installation_id IS NULL AND detached_at <= $1
                 ORDER BY detached_at LIMIT 20",
            )
            .bind(before.0)
            .fetch_all(&mut *conn)
            .await?
        });
        Ok(ids.into_iter().map(RepoId).collect())
    }

    /// Locks a repository for a step of its deletion. `false`: it has an installation again.
    pub async fn hold_for_forgetting(
        &mut self,
        repo: RepoId,
        before: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query(
                // Removed at once, so that nothing is added during the deletion.
                "UPDATE repositories SET removed_at = $1
                 WHERE repo_id = $2 AND installation_id IS NULL AND detached_at <= $3",
            )
            .bind(now.0)
            .bind(repo.0)
            .bind(before.0)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }) > 0)
    }

    /// Some runs of a repository with their traces, whose raw spans are in the object store.
    pub async fn runs_to_forget(
        &mut self,
        repo: RepoId,
        limit: i64,
    ) -> Result<Vec<(RunId, Option<TraceId>)>, StoreError> {
        let rows: Vec<(String, Option<String>)> = on_db!(self, conn => {
            sqlx::query_as("SELECT run_id, trace_id FROM runs WHERE repo_id = $1 LIMIT $2")
                .bind(repo.0)
                .bind(limit)
                .fetch_all(&mut *conn)
                .await?
        });
        Ok(rows.into_iter().map(|(run, trace)| (RunId(run), trace.and_then(|id| id.parse().ok()))).collect())
    }

    /// Deletes runs with their samples and errors.
    pub async fn forget_runs(&mut self, repo: RepoId, runs: &[RunId]) -> Result<(), StoreError> {
        for table in TABLES_OF_RUNS {
            let text = format!("DELETE FROM {table} WHERE repo_id = $1 AND run_id = $2");
            for run in runs {
                on_db!(self, conn => {
                    sqlx::query(sqlx::AssertSqlSafe(text.as_str()))
                        .bind(repo.0)
                        .bind(&run.0)
                        .execute(&mut *conn)
                        .await?;
                });
            }
        }
        Ok(())
    }

    /// Deletes at most `limit` keys of one of [`TABLES`]. `false`: no rows are left.
    pub async fn forget_rows(&mut self, repo: RepoId, limit: i64) -> Result<bool, StoreError> {
        for (table, key) in TABLES {
            let text = format!(
                "DELETE FROM {table} WHERE repo_id = $1
                    AND {key} IN (SELECT {key} FROM {table} WHERE repo_id = $1 LIMIT $2)"
            );
            let deleted = on_db!(self, conn => {
                sqlx::query(sqlx::AssertSqlSafe(text.as_str()))
                    .bind(repo.0)
                    .bind(limit)
                    .execute(&mut *conn)
                    .await?
                    .rows_affected()
            });
            if deleted > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes a repository's own row. All other rows must be deleted before.
    pub async fn forget_repository(&mut self, repo: RepoId) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query("DELETE FROM repositories WHERE repo_id = $1").bind(repo.0).execute(&mut *conn).await?;
        });
        Ok(())
    }
}
