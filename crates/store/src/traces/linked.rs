//! The traces of one pipeline run: what each stated when it was collected, and the links between
//! them. Whether they become one run is decided by the caller.

use super::OpenTrace;
use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{CommitSha, PrNumber, RepoId, TraceId};
use pacegate_engine::model::run::Lineage;
use pacegate_engine::model::time::Timestamp;

/// Most traces of one pipeline run that are read, the newest first.
const MAX_TRACES: i64 = 1_000;
/// Most links between them that are read.
const MAX_LINKS: i64 = 50_000;

/// A trace's statements about its pipeline run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineTrace {
    pub trace: TraceId,
    /// The producer's identifier of the run and its attempt.
    pub run_key: String,
    pub head_sha: Option<CommitSha>,
    /// The pull request, else the branch, if the trace names one.
    pub lineage: Lineage,
    /// When the trace began, nanoseconds since the epoch by its producer's clock.
    pub started_ns: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    trace_id: String,
    run_key: String,
    head_sha: Option<String>,
    branch: Option<String>,
    pull_request: Option<i64>,
    started_ns: i64,
    #[sqlx(flatten)]
    open: OpenTrace,
}

fn trace_id(text: &str) -> Result<TraceId, StoreError> {
    text.parse().map_err(|e| StoreError::unreadable("a trace id", e))
}

impl Tx {
    /// Records the statements of a trace, in place of earlier ones, and the traces it is linked to.
    pub async fn record_pipeline_trace(
        &mut self,
        repo: RepoId,
        pipeline_trace: &PipelineTrace,
        linked: &[TraceId],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let trace = pipeline_trace.trace.to_string();
        let (branch, pull_request) = match &pipeline_trace.lineage {
            Lineage::Branch { name } => (Some(name.as_str()), None),
            Lineage::PullRequest { number } => (None, Some(number.0)),
            Lineage::Unknown => (None, None),
        };
        on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO pipeline_traces (repo_id, trace_id, run_key, head_sha, branch, pull_request,
                    started_ns, recorded_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                 ON CONFLICT (repo_id, trace_id) DO UPDATE SET run_key = excluded.run_key,
                    head_sha = excluded.head_sha, branch = excluded.branch,
                    pull_request = excluded.pull_request, started_ns = excluded.started_ns,
                    recorded_at = excluded.recorded_at",
            )
            .bind(repo.0)
            .bind(&trace)
            .bind(&pipeline_trace.run_key)
            .bind(pipeline_trace.head_sha.as_ref().map(CommitSha::as_str))
            .bind(branch)
            .bind(pull_request)
            .bind(pipeline_trace.started_ns)
            .bind(now.0)
            .execute(&mut *conn)
            .await?;
            for other in linked {
                sqlx::query(
                    "INSERT INTO trace_links (repo_id, trace_id, linked_trace_id) VALUES ($1, $2, $3)
                     ON CONFLICT DO NOTHING",
                )
                .bind(repo.0)
                .bind(&trace)
                .bind(other.to_string())
                .execute(&mut *conn)
                .await?;
            }
        });
        Ok(())
    }

    /// The pipeline run of a trace ([`PipelineTrace::run_key`]), as of its last collection.
    pub async fn run_key_of(&mut self, repo: RepoId, trace: TraceId) -> Result<Option<String>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_scalar("SELECT run_key FROM pipeline_traces WHERE repo_id = $1 AND trace_id = $2")
                .bind(repo.0)
                .bind(trace.to_string())
                .fetch_optional(&mut *conn)
                .await?
        }))
    }

    /// The collected traces of one pipeline run that still have a row, the newest first.
    pub async fn pipeline_traces(
        &mut self,
        repo: RepoId,
        run_key: &str,
    ) -> Result<Vec<(PipelineTrace, OpenTrace)>, StoreError> {
        let rows: Vec<Row> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT t.trace_id, t.run_key, t.head_sha, t.branch, t.pull_request, t.started_ns, o.last_at,
                    o.batches, o.spans, o.bytes, o.has_root, o.collections, o.swept_at
                 FROM pipeline_traces t
                 JOIN open_traces o ON o.repo_id = t.repo_id AND o.trace_id = t.trace_id
                 WHERE t.repo_id = $1 AND t.run_key = $2
                 ORDER BY t.started_ns DESC, t.trace_id LIMIT $3",
            )
            .bind(repo.0)
            .bind(run_key)
            .bind(MAX_TRACES)
            .fetch_all(&mut *conn)
            .await?
        });
        let read = rows.into_iter().map(|row| {
            let head_sha = row.head_sha.map(|sha| sha.parse());
            let pipeline_trace = PipelineTrace {
                trace: trace_id(&row.trace_id)?,
                run_key: row.run_key,
                head_sha: head_sha.transpose().map_err(|e| StoreError::unreadable("a trace's commit", e))?,
                lineage: match (row.pull_request, row.branch) {
                    (Some(number), _) => Lineage::PullRequest { number: PrNumber(number) },
                    (None, Some(name)) => Lineage::Branch { name },
                    (None, None) => Lineage::Unknown,
                },
                started_ns: row.started_ns,
            };
            Ok((pipeline_trace, row.open))
        });
        read.collect()
    }

    /// The links of the traces of one pipeline run: from, to.
    pub async fn links_of_run(
        &mut self,
        repo: RepoId,
        run_key: &str,
    ) -> Result<Vec<(TraceId, TraceId)>, StoreError> {
        let rows: Vec<(String, String)> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT l.trace_id, l.linked_trace_id FROM trace_links l
                 JOIN pipeline_traces t ON t.repo_id = l.repo_id AND t.trace_id = l.trace_id
                 WHERE t.repo_id = $1 AND t.run_key = $2
                 ORDER BY t.started_ns DESC, l.trace_id, l.linked_trace_id LIMIT $3",
            )
            .bind(repo.0)
            .bind(run_key)
            .bind(MAX_LINKS)
            .fetch_all(&mut *conn)
            .await?
        });
        rows.iter().map(|(from, to)| Ok((trace_id(from)?, trace_id(to)?))).collect()
    }

    /// Whether a trace was collected with all its batches.
    pub async fn is_collected(&mut self, repo: RepoId, trace: TraceId) -> Result<bool, StoreError> {
        let found: Option<i64> = on_db!(self, conn => {
            sqlx::query_scalar(
                "SELECT collections FROM open_traces
                 WHERE repo_id = $1 AND trace_id = $2 AND collections > 0 AND batches = collected_batches",
            )
            .bind(repo.0)
            .bind(trace.to_string())
            .fetch_optional(&mut *conn)
            .await?
        });
        Ok(found.is_some())
    }

    /// Marks a trace as collected, alone or with linked ones, and returns how often it was. A
    /// collection that adds no batch of this trace does not count. None: the trace changed since
    /// it was read, and the run that was made of it must be discarded.
    pub async fn mark_member_collected(
        &mut self,
        repo: RepoId,
        trace: TraceId,
        read: OpenTrace,
    ) -> Result<Option<i64>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_scalar(
                "UPDATE open_traces SET collected_batches = batches, collections = collections
                    + CASE WHEN collections > 0 AND batches = collected_batches THEN 0 ELSE 1 END
                 WHERE repo_id = $1 AND trace_id = $2 AND batches = $3 AND collections = $4 AND swept_at IS NULL
                 RETURNING collections",
            )
            .bind(repo.0)
            .bind(trace.to_string())
            .bind(read.batches)
            .bind(read.collections)
            .fetch_optional(&mut *conn)
            .await?
        }))
    }

    /// Traces that name a commit, have no root, have been quiet since a time and were never
    /// collected.
    pub async fn rootless_traces(
        &mut self,
        quiet_since: Timestamp,
        limit: i64,
    ) -> Result<Vec<(RepoId, TraceId)>, StoreError> {
        let rows: Vec<(i64, String)> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT repo_id, trace_id FROM open_traces
                 WHERE last_at < $1 AND has_root = 0 AND collections = 0 AND swept_at IS NULL
                    AND head_sha IS NOT NULL
                 ORDER BY last_at LIMIT $2",
            )
            .bind(quiet_since.0)
            .bind(limit)
            .fetch_all(&mut *conn)
            .await?
        });
        rows.iter().map(|(repo, trace)| Ok((RepoId(*repo), trace_id(trace)?))).collect()
    }

    /// Deletes the statements and links of traces that were collected before a time.
    pub async fn sweep_pipeline_traces(&mut self, before: Timestamp) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "DELETE FROM trace_links WHERE EXISTS (SELECT 1 FROM pipeline_traces t
                    WHERE t.repo_id = trace_links.repo_id AND t.trace_id = trace_links.trace_id
                      AND t.recorded_at < $1)",
            )
            .bind(before.0)
            .execute(&mut *conn)
            .await?;
            sqlx::query("DELETE FROM pipeline_traces WHERE recorded_at < $1")
                .bind(before.0)
                .execute(&mut *conn)
                .await?;
        });
        Ok(())
    }
}
