//! Spans of traces that are still arriving. A batch is kept as it was accepted (redacted and
//! bounded); the run is made of all batches once the root is there and it has become quiet.

use super::{StoreError, Tx, on_db};
use crate::clock::Randomness;
use crate::model::ids::{CommitSha, RepoId, TraceId};
use crate::model::time::Timestamp;

/// What is known of a trace that is arriving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct OpenTrace {
    /// When its newest batch came, microseconds since the epoch.
    pub last_at: i64,
    /// How many batches came.
    pub batches: i64,
    /// How many spans came, repeated ones counted again.
    pub spans: i64,
    /// How many bytes its batches take.
    pub bytes: i64,
    /// 1 once a span without a parent came.
    pub has_root: i64,
    /// How often it became a run.
    pub collections: i64,
    /// When its batches were dropped: it takes no more.
    pub swept_at: Option<i64>,
}

impl Tx {
    /// Keeps a batch of spans of one trace and returns the trace's state with it. The row of
    /// the trace is locked until this transaction ends, so collecting sees whole batches.
    pub async fn add_span_batch(
        &mut self,
        repo: RepoId,
        trace: TraceId,
        batch: &SpanBatch<'_>,
        chance: &Randomness,
        now: Timestamp,
    ) -> Result<OpenTrace, StoreError> {
        let trace_id = trace.to_string();
        let batch_id = chance.ulid(now);
        Ok(on_db!(self, conn => {
            let state: OpenTrace = sqlx::query_as(
                "INSERT INTO open_traces (repo_id, trace_id, first_at, last_at, batches, spans, has_root, bytes, head_sha)
                 VALUES ($1, $2, $3, $3, 1, $4, $5, $6, $7)
                 ON CONFLICT (repo_id, trace_id) DO UPDATE SET
                    last_at = CASE WHEN excluded.last_at > open_traces.last_at
                                   THEN excluded.last_at ELSE open_traces.last_at END,
                    batches = open_traces.batches + 1, spans = open_traces.spans + excluded.spans,
                    bytes = open_traces.bytes + excluded.bytes,
                    has_root = CASE WHEN excluded.has_root = 1 THEN 1 ELSE open_traces.has_root END,
                    head_sha = COALESCE(open_traces.head_sha, excluded.head_sha)
                 RETURNING last_at, batches, spans, bytes, has_root, collections, swept_at",
            )
            .bind(repo.0)
            .bind(&trace_id)
            .bind(now.0)
            .bind(batch.spans)
            .bind(i64::from(batch.has_root))
            .bind(i64::try_from(batch.body.len()).unwrap_or(i64::MAX))
            .bind(batch.head_sha.map(CommitSha::as_str))
            .fetch_one(&mut *conn)
            .await?;
            sqlx::query("INSERT INTO span_batches (repo_id, trace_id, batch_id, body) VALUES ($1, $2, $3, $4)")
                .bind(repo.0)
                .bind(&trace_id)
                .bind(&batch_id)
                .bind(batch.body)
                .execute(&mut *conn)
                .await?;
            state
        }))
    }

    /// The state of a trace that is arriving.
    pub async fn open_trace(
        &mut self,
        repo: RepoId,
        trace: TraceId,
    ) -> Result<Option<OpenTrace>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as(
                "SELECT last_at, batches, spans, bytes, has_root, collections, swept_at FROM open_traces
                 WHERE repo_id = $1 AND trace_id = $2",
            )
            .bind(repo.0)
            .bind(trace.to_string())
            .fetch_optional(&mut *conn)
            .await?
        }))
    }

    /// How many traces of a commit are still arriving: begun since a time, and not collected as
    /// far as they came.
    pub async fn arriving_traces(
        &mut self,
        repo: RepoId,
        head_sha: &CommitSha,
        since: Timestamp,
    ) -> Result<i64, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_scalar(
                "SELECT COUNT(*) FROM open_traces
                 WHERE repo_id = $1 AND head_sha = $2 AND swept_at IS NULL AND first_at >= $3 AND collections = 0",
            )
            .bind(repo.0)
            .bind(head_sha.as_str())
            .bind(since.0)
            .fetch_one(&mut *conn)
            .await?
        }))
    }

    /// Every batch of a trace, in the order of arrival: OTLP JSON each.
    pub async fn span_batches(&mut self, repo: RepoId, trace: TraceId) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_scalar("SELECT body FROM span_batches WHERE repo_id = $1 AND trace_id = $2 ORDER BY batch_id")
                .bind(repo.0)
                .bind(trace.to_string())
                .fetch_all(&mut *conn)
                .await?
        }))
    }

    /// Marks a trace as collected in the state it was read in. `false`: more came meanwhile,
    /// and what was made of it must not be kept.
    pub async fn mark_collected(
        &mut self,
        repo: RepoId,
        trace: TraceId,
        read: OpenTrace,
    ) -> Result<bool, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query(
                "UPDATE open_traces SET collections = collections + 1, collected_batches = batches
                 WHERE repo_id = $1 AND trace_id = $2 AND batches = $3 AND collections = $4",
            )
            .bind(repo.0)
            .bind(trace.to_string())
            .bind(read.batches)
            .bind(read.collections)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }) == 1)
    }

    /// Drops the batches of traces that were collected with all of them and have been quiet
    /// since `quiet_since`, and of those that got no root since `rootless_since`, whose number
    /// is returned. A trace's row stays until `forget_since`, so that what comes late is not
    /// taken for a whole trace. What waits to be collected is never dropped, however long.
    pub async fn sweep_open_traces(
        &mut self,
        quiet_since: Timestamp,
        rootless_since: Timestamp,
        forget_since: Timestamp,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        Ok(on_db!(self, conn => {
            // The trace's row first: its lock decides whether a batch that comes now still
            // belongs to it.
            let swept: Vec<(i64, String, i64)> = sqlx::query_as(
                "UPDATE open_traces SET swept_at = $1
                 WHERE swept_at IS NULL AND ((last_at < $2 AND has_root = 1 AND batches = collected_batches)
                    OR (last_at < $3 AND has_root = 0))
                 RETURNING repo_id, trace_id, has_root",
            )
            .bind(now.0)
            .bind(quiet_since.0)
            .bind(rootless_since.0)
            .fetch_all(&mut *conn)
            .await?;
            let mut rootless = 0;
            for (repo, trace_id, has_root) in swept {
                sqlx::query("DELETE FROM span_batches WHERE repo_id = $1 AND trace_id = $2")
                    .bind(repo)
                    .bind(trace_id)
                    .execute(&mut *conn)
                    .await?;
                rootless += u64::from(has_root == 0);
            }
            sqlx::query("DELETE FROM open_traces WHERE swept_at < $1")
                .bind(forget_since.0)
                .execute(&mut *conn)
                .await?;
            rootless
        }))
    }
}

/// Spans of one trace that came in one request.
#[derive(Debug, Clone, Copy)]
pub struct SpanBatch<'a> {
    /// OTLP JSON.
    pub body: &'a [u8],
    /// How many spans it holds.
    pub spans: i64,
    /// Whether one of them has no parent.
    pub has_root: bool,
    /// The commit one of them names.
    pub head_sha: Option<&'a CommitSha>,
}
