//! Which raw traces are kept and which are dropped. The traces themselves are in the object store.
//! The durations of a run do not depend on its raw trace.

use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{RepoId, RunId, TraceId};
use pacegate_engine::model::time::Timestamp;

/// The value of [`KeptTrace::kept_by`] for a trace whose comparison was reported. It overrides
/// the policies.
const REPORTED: &str = "reported";

/// The values of `runs.trace_state` as literals, for `concat!`. A partial index serves only a
/// statement that states its condition as a literal.
macro_rules! trace_state {
    (Stored) => {
        0
    };
    (Dropping) => {
        1
    };
    (Dropped) => {
        2
    };
}

/// The state of a run's raw trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptTrace {
    /// None for a run that never had a trace.
    pub trace: Option<TraceId>,
    /// The policy that keeps the trace, or `reported`; none if it is dropped after the first days.
    pub kept_by: Option<String>,
    pub stored_at: Option<Timestamp>,
    /// The trace is deleted or about to be.
    pub is_dropped: bool,
}

/// Trace, `kept_by`, when it was written (microseconds since the epoch), `trace_state`.
type Row = (Option<String>, Option<String>, Option<i64>, i64);

/// A raw trace that is no longer kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceToDrop {
    pub repo: RepoId,
    pub run: RunId,
    pub trace: TraceId,
}

impl Tx {
    /// Records that the raw trace of a run was written, and the policy that keeps it. A reported
    /// trace stays reported.
    pub async fn record_trace(
        &mut self,
        repo: RepoId,
        run: &RunId,
        kept_by: Option<&str>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(concat!(
                "UPDATE runs SET trace_stored_at = $1, trace_state = ", trace_state!(Stored), ",
                    trace_kept_by = CASE WHEN trace_kept_by = $2 THEN trace_kept_by ELSE $3 END
                 WHERE repo_id = $4 AND run_id = $5",
            ))
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

    /// Keeps the raw traces of runs whose comparison was reported, if they still exist.
    pub async fn keep_reported_traces(&mut self, repo: RepoId, runs: &[RunId]) -> Result<(), StoreError> {
        for run in runs {
            on_db!(self, conn => {
                sqlx::query(concat!(
                    "UPDATE runs SET trace_kept_by = $1
                     WHERE repo_id = $2 AND run_id = $3 AND trace_state = ", trace_state!(Stored),
                ))
                .bind(REPORTED)
                .bind(repo.0)
                .bind(&run.0)
                .execute(&mut *conn)
                .await?;
            });
        }
        Ok(())
    }

    /// The state of a run's raw trace; none if there is no such run.
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
            is_dropped: state > trace_state!(Stored),
        }))
    }

    /// Takes some raw traces that were written before a time and are not kept, oldest first. They
    /// count as dropped from now on. The caller deletes them and marks them. A taken trace that
    /// was never marked is taken again.
    pub async fn take_traces_to_drop(
        &mut self,
        before: Timestamp,
        limit: i64,
    ) -> Result<Vec<TraceToDrop>, StoreError> {
        let rows: Vec<(i64, String, String)> = on_db!(self, conn => {
            sqlx::query_as(concat!(
                "UPDATE runs SET trace_state = ", trace_state!(Dropping), "
                 WHERE trace_kept_by IS NULL AND trace_state < ", trace_state!(Dropped), "
                   AND trace_id IS NOT NULL AND (repo_id, run_id) IN (
                    SELECT repo_id, run_id FROM runs
                    WHERE trace_kept_by IS NULL AND trace_state < ", trace_state!(Dropped), "
                      AND trace_id IS NOT NULL AND trace_stored_at < $1
                    ORDER BY trace_stored_at LIMIT $2)
                 RETURNING repo_id, run_id, trace_id",
            ))
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

    /// Marks raw traces as deleted from the object store.
    pub async fn mark_traces_dropped(&mut self, dropped: &[TraceToDrop]) -> Result<(), StoreError> {
        for TraceToDrop { repo, run, .. } in dropped {
            on_db!(self, conn => {
                sqlx::query(concat!(
                    // A trace that was written again meanwhile is not marked.
                    "UPDATE runs SET trace_state = ", trace_state!(Dropped), "
                     WHERE repo_id = $1 AND run_id = $2 AND trace_state = ", trace_state!(Dropping),
                ))
                .bind(repo.0)
                .bind(&run.0)
                .execute(&mut *conn)
                .await?;
            });
        }
        Ok(())
    }
}
