//! Open traces: spans of traces that still arrive. A batch is kept as it was accepted, redacted and
//! bounded. A run is made of all batches once the root has come and the trace has been quiet.

use std::collections::HashMap;

use crate::chunks::chunks;
use crate::{StoreError, Tx, on_db};
use pacegate_clock::Randomness;
use pacegate_engine::model::ids::{CommitSha, RepoId, TraceId};
use pacegate_engine::model::time::Timestamp;

/// The state of an open trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct OpenTrace {
    /// When the newest batch came, microseconds since the epoch.
    pub last_at: i64,
    /// Number of batches.
    pub batches: i64,
    /// Number of spans, with repeated ones.
    pub spans: i64,
    /// Bytes of all batches before compression.
    pub bytes: i64,
    /// 1 once a span without a parent has come.
    pub has_root: i64,
    /// How often the trace was collected into a run.
    pub collections: i64,
    /// When the batches were dropped, microseconds since the epoch. A swept trace takes no more.
    pub swept_at: Option<i64>,
}

/// Spans of one trace from one request.
#[derive(Debug, Clone, Copy)]
pub struct SpanBatch<'a> {
    pub repo: RepoId,
    pub trace: TraceId,
    /// Compressed OTLP protobuf.
    pub body: &'a [u8],
    /// Size before compression.
    pub bytes: i64,
    /// Number of spans.
    pub spans: i64,
    /// Whether a span has no parent.
    pub has_root: bool,
    /// The commit that a span names.
    pub head_sha: Option<&'a CommitSha>,
    /// The statement of the sending job's manifest about its run and itself.
    pub manifest: Option<&'a [u8]>,
}

/// A batch as it is read back.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredBatch {
    /// [`SpanBatch::body`].
    pub body: Vec<u8>,
    /// [`SpanBatch::manifest`].
    pub manifest: Option<Vec<u8>>,
}

/// The largest trace that is kept.
#[derive(Debug, Clone, Copy)]
pub struct TraceBounds {
    /// Number of spans, with repeated ones.
    pub spans: i64,
    /// Bytes of all batches before compression.
    pub bytes: i64,
}

/// An open trace with its key, as the upsert returns it.
#[derive(sqlx::FromRow)]
struct Upserted {
    repo_id: i64,
    trace_id: String,
    last_at: i64,
    batches: i64,
    spans: i64,
    bytes: i64,
    has_root: i64,
    collections: i64,
    swept_at: Option<i64>,
}

impl From<Upserted> for OpenTrace {
    fn from(row: Upserted) -> Self {
        Self {
            last_at: row.last_at,
            batches: row.batches,
            spans: row.spans,
            bytes: row.bytes,
            has_root: row.has_root,
            collections: row.collections,
            swept_at: row.swept_at,
        }
    }
}

impl Tx {
    /// Keeps batches of spans. Returns for each, in their order, the state of its trace after it,
    /// or none if the batch was not kept: its trace was swept or would exceed its bounds. The rows
    /// of the traces are locked until this transaction ends, so a collection sees whole batches.
    /// All callers lock them in one order, so that they can't deadlock.
    pub async fn add_span_batches(
        &mut self,
        batches: &[SpanBatch<'_>],
        bounds: TraceBounds,
        rng: &Randomness,
        now: Timestamp,
    ) -> Result<Vec<Option<OpenTrace>>, StoreError> {
        let mut states = vec![None; batches.len()];
        let mut waiting: Vec<usize> = (0..batches.len()).collect();
        waiting.sort_by_key(|at| (batches[*at].repo.0, batches[*at].trace, *at));
        // A statement may not change a row twice, so each one has at most one batch of a trace.
        while !waiting.is_empty() {
            let key = |at: usize| (batches[at].repo.0, batches[at].trace);
            let (mut round, mut rest): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
            for at in waiting {
                let repeated = round.last().is_some_and(|last| key(*last) == key(at));
                if repeated { rest.push(at) } else { round.push(at) }
            }
            for chunk in chunks(&round) {
                self.add_distinct(batches, chunk, bounds, (rng, now), &mut states).await?;
            }
            waiting = rest;
        }
        Ok(states)
    }

    async fn add_distinct(
        &mut self,
        batches: &[SpanBatch<'_>],
        chunk: &[usize],
        bounds: TraceBounds,
        (rng, now): (&Randomness, Timestamp),
        states: &mut [Option<OpenTrace>],
    ) -> Result<(), StoreError> {
        let ids: Vec<String> = chunk.iter().map(|at| batches[*at].trace.to_string()).collect();
        let place: HashMap<(i64, &str), usize> =
            chunk.iter().zip(&ids).map(|(at, id)| ((batches[*at].repo.0, id.as_str()), *at)).collect();
        on_db!(self, conn => {
            let mut upsert = sqlx::QueryBuilder::new(
                "INSERT INTO open_traces (repo_id, trace_id, first_at, last_at, batches, spans, has_root, bytes, head_sha) ",
            );
            upsert.push_values(chunk.iter().zip(&ids), |mut row, (at, id)| {
                let batch = &batches[*at];
                row.push_bind(batch.repo.0)
                    .push_bind(id.as_str())
                    .push_bind(now.0)
                    .push_bind(now.0)
                    .push_bind(1_i64)
                    .push_bind(batch.spans)
                    .push_bind(i64::from(batch.has_root))
                    .push_bind(batch.bytes)
                    .push_bind(batch.head_sha.map(CommitSha::as_str));
            });
            upsert.push(
                " ON CONFLICT (repo_id, trace_id) DO UPDATE SET
                    last_at = CASE WHEN excluded.last_at > open_traces.last_at
                                   THEN excluded.last_at ELSE open_traces.last_at END,
                    batches = open_traces.batches + 1, spans = open_traces.spans + excluded.spans,
                    bytes = open_traces.bytes + excluded.bytes,
                    has_root = CASE WHEN excluded.has_root = 1 THEN 1 ELSE open_traces.has_root END,
                    head_sha = COALESCE(open_traces.head_sha, excluded.head_sha)
                  WHERE open_traces.swept_at IS NULL AND open_traces.spans + excluded.spans <= ",
            );
            upsert.push_bind(bounds.spans);
            upsert.push(" AND open_traces.bytes + excluded.bytes <= ");
            upsert.push_bind(bounds.bytes);
            upsert.push(
                " RETURNING repo_id, trace_id, last_at, batches, spans, bytes, has_root, collections, swept_at",
            );
            let rows: Vec<Upserted> = upsert.build_query_as().fetch_all(&mut *conn).await?;
            let mut kept: Vec<(usize, String)> = Vec::with_capacity(rows.len());
            for row in rows {
                let Some(at) = place.get(&(row.repo_id, row.trace_id.as_str())).copied() else { continue };
                kept.push((at, row.trace_id.clone()));
                states[at] = Some(row.into());
            }
            if !kept.is_empty() {
                let mut insert =
                    sqlx::QueryBuilder::new("INSERT INTO span_batches (repo_id, trace_id, batch_id, body, manifest) ");
                insert.push_values(&kept, |mut row, (at, id)| {
                    row.push_bind(batches[*at].repo.0)
                        .push_bind(id.as_str())
                        .push_bind(rng.ulid(now))
                        .push_bind(batches[*at].body)
                        .push_bind(batches[*at].manifest);
                });
                insert.build().execute(&mut *conn).await?;
            }
        });
        Ok(())
    }

    /// The state of an open trace.
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

    /// Number of a repository's traces that were never collected, counted up to a bound.
    pub async fn count_open_traces(&mut self, repo: RepoId, bound: i64) -> Result<i64, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_scalar(
                "SELECT COUNT(*) FROM (SELECT 1 FROM open_traces
                 WHERE repo_id = $1 AND swept_at IS NULL AND collections = 0 LIMIT $2) AS waiting",
            )
            .bind(repo.0)
            .bind(bound)
            .fetch_one(&mut *conn)
            .await?
        }))
    }

    /// Number of a commit's traces that began since a time and were never collected.
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

    /// The batches of a trace as they are stored, in the order of arrival.
    pub async fn span_batches(
        &mut self,
        repo: RepoId,
        trace: TraceId,
    ) -> Result<Vec<StoredBatch>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as(
                "SELECT body, manifest FROM span_batches WHERE repo_id = $1 AND trace_id = $2 ORDER BY batch_id",
            )
            .bind(repo.0)
            .bind(trace.to_string())
            .fetch_all(&mut *conn)
            .await?
        }))
    }

    /// Drops the batches of two sorts of traces. The first were collected with all batches and
    /// have been quiet since `quiet_since`. The second have no root and have been quiet since
    /// `rootless_since`: their number is returned. A trace's row stays until `forget_since`, so that
    /// late spans do not look like a whole trace. Traces that wait for their collection stay.
    pub async fn sweep_open_traces(
        &mut self,
        quiet_since: Timestamp,
        rootless_since: Timestamp,
        forget_since: Timestamp,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        Ok(on_db!(self, conn => {
            // The trace's row first: its lock decides whether a concurrent batch is kept.
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
