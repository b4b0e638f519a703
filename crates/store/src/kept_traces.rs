//! What becomes of raw traces: who keeps one, and which are dropped. The traces themselves are in the
//! object store; a run's durations are kept whatever happens here.

use super::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{RepoId, RunId, TraceId};
use pacegate_engine::model::time::Timestamp;

/// Kept by this because a comparison of it was reported, whatever the policies say.
const REPORTED: &str = "reported";

/// What became of a run's raw trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptTrace {
    /// The trace; none of a run that never had one.
    pub trace: Option<TraceId>,
    /// The policy that keeps it, or `reported`; none when nobody does beyond the first days.
    pub kept_by: Option<String>,
    /// When it was written.
    pub stored_at: Option<Timestamp>,
    /// It is gone, or about to go.
    pub is_dropped: bool,
}

/// Trace, who keeps it, when it was written (µs), and 0 there, 1 being dropped, 2 dropped.
type Row = (Option<String>, Option<String>, Option<i64>, i64);

/// A raw trace that nobody keeps any longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceToDrop {
    /// Whose.
    pub repo: RepoId,
    /// Of which run.
    pub run: RunId,
    /// Which.
    pub trace: TraceId,
}

impl Tx {
    /// The raw trace of a run was written, and who keeps it. One that is kept because it was reported
    /// stays so.
    pub async fn record_trace(
        &mut self,
        repo: RepoId,
        run: &RunId,
        kept_by: Option<&str>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "UPDATE runs SET trace_stored_at = $1, trace_state = 0,
                    trace_kept_by = CASE WHEN trace_kept_by = $2 THEN trace_kept_by ELSE $3 END
                 WHERE repo_id = $4 AND run_id = $5",
            )
            .bind(now.0)
            .bind(REPORTED)
            .bind(kept_by)
            .bind(repo.0)
            .bind(&run.0)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// A comparison of these runs was reported: their raw traces stay, if they are still there.
    pub async fn keep_reported_traces(&mut self, repo: RepoId, runs: &[RunId]) -> Result<(), StoreError> {
        for run in runs {
            on_db!(self, conn => {
                sqlx::query(
                    "UPDATE runs SET trace_kept_by = $1 WHERE repo_id = $2 AND run_id = $3 AND trace_state = 0",
                )
                .bind(REPORTED)
                .bind(repo.0)
                .bind(&run.0)
                .execute(&mut *conn)
                .await?;
            });
        }
        Ok(())
    }

    /// What became of a run's raw trace; none for a run that is not there.
    pub async fn kept_trace(&mut self, repo: RepoId, run: &RunId) -> Result<Option<KeptTrace>, StoreError> {
        let row: Option<Row> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT trace_id, trace_kept_by, trace_stored_at, trace_state FROM runs
                 WHERE repo_id = $1 AND run_id = $2",
            )
            .bind(repo.0)
            .bind(&run.0)
            .fetch_optional(&mut *conn)
            .await?
        });
        Ok(row.map(|(trace, kept_by, stored_at, state)| KeptTrace {
            trace: trace.and_then(|id| id.parse().ok()),
            kept_by,
            stored_at: stored_at.map(Timestamp),
            is_dropped: state > 0,
        }))
    }

    /// Takes some raw traces that were written before a time and that nobody keeps, oldest first, to be
    /// dropped: from now on they count as gone. Those that were taken and never marked come again.
    pub async fn take_traces_to_drop(
        &mut self,
        before: Timestamp,
        limit: i64,
    ) -> Result<Vec<TraceToDrop>, StoreError> {
        let rows: Vec<(i64, String, String)> = on_db!(self, conn => {
            sqlx::query_as(
                "UPDATE runs SET trace_state = 1
                 WHERE trace_kept_by IS NULL AND trace_state < 2 AND trace_id IS NOT NULL
                   AND (repo_id, run_id) IN (
                    SELECT repo_id, run_id FROM runs
                    WHERE trace_kept_by IS NULL AND trace_state < 2 AND trace_id IS NOT NULL AND trace_stored_at < $1
                    ORDER BY trace_stored_at LIMIT $2)
                 RETURNING repo_id, run_id, trace_id",
            )
            .bind(before.0)
            .bind(limit)
            .fetch_all(&mut *conn)
            .await?
        });
        let unreadable = |e| StoreError::unreadable("a run's trace id", e);
        rows.into_iter()
            .map(|(repo, run, trace)| {
                let trace = trace.parse().map_err(unreadable)?;
                Ok(TraceToDrop { repo: RepoId(repo), run: RunId(run), trace })
            })
            .collect()
    }

    /// These raw traces are gone from the object store.
    pub async fn mark_traces_dropped(&mut self, dropped: &[TraceToDrop]) -> Result<(), StoreError> {
        for TraceToDrop { repo, run, .. } in dropped {
            on_db!(self, conn => {
                sqlx::query(
                    // One that was written again meanwhile is there again.
                    "UPDATE runs SET trace_state = 2 WHERE repo_id = $1 AND run_id = $2 AND trace_state = 1",
                )
                .bind(repo.0)
                .bind(&run.0)
                .execute(&mut *conn)
                .await?;
            });
        }
        Ok(())
    }
}
