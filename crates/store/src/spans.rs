//! Spans of traces that are still arriving. A batch is kept as it was accepted (redacted and
//! bounded); the run is made of all batches once the root is there and it has become quiet.

use std::collections::HashMap;

use super::chunks::chunks;
use super::{StoreError, Tx, on_db};
use pacegate_clock::Randomness;
use pacegate_engine::model::ids::{CommitSha, RepoId, TraceId};
use pacegate_engine::model::time::Timestamp;

/// What is known of a trace that is arriving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct OpenTrace {
    /// When its newest batch came, microseconds since the epoch.
    pub last_at: i64,
    /// How many batches came.
    pub batches: i64,
    /// How many spans came, repeated ones counted again.
    pub spans: i64,
    /// How many bytes its batches take before they are compressed.
    pub bytes: i64,
    /// 1 once a span without a parent came.
    pub has_root: i64,
    /// How often it became a run.
    pub collections: i64,
    /// When its batches were dropped: it takes no more.
    pub swept_at: Option<i64>,
}

/// A trace as its upsert returns it.
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
    /// Keeps batches of spans and returns, in their order, the state of each one's trace with it;
    /// none for a batch that was not kept, because its trace was swept or would pass its bound.
    /// The rows of the traces are locked until this transaction ends, so collecting sees whole
    /// batches; they are locked in one order, whoever else does the same.
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
        // A statement may not touch a row twice: of each trace one batch at a time.
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

    /// How many traces of a repository are not a run yet, counted up to a bound.
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

    /// Every batch of a trace as it is stored, in the order of arrival.
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
    /// Whose trace it is.
    pub repo: RepoId,
    /// The trace.
    pub trace: TraceId,
    /// As it is stored: compressed OTLP protobuf.
    pub body: &'a [u8],
    /// How many bytes it takes before it is compressed.
    pub bytes: i64,
    /// How many spans it holds.
    pub spans: i64,
    /// Whether one of them has no parent.
    pub has_root: bool,
    /// The commit one of them names.
    pub head_sha: Option<&'a CommitSha>,
    /// What the manifest of the job that sent it states about the run and the job.
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

/// The most that is kept of one trace.
#[derive(Debug, Clone, Copy)]
pub struct TraceBounds {
    /// Spans, repeated ones counted again.
    pub spans: i64,
    /// Bytes of all batches before they are compressed.
    pub bytes: i64,
}
