//! The traces of attempts of workflow runs, stored with an index that finds the attempt of a
//! trace. How an identifier is computed is not known here: callers pass the function.

use crate::chunks::chunks;
use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{RepoId, TraceId};
use pacegate_engine::model::time::Timestamp;

/// Computes the trace of an attempt from GitHub's number of the run and the attempt, from 1.
pub type TraceOfAttempt = fn(i64, u32) -> TraceId;

/// When a run is recorded, the traces of this many newest attempts are stored: deliveries of
/// earlier attempts may be lost.
const ATTEMPTS: i64 = 20;
/// Runs of older versions, without stored traces, that a lookup computes, the newest first.
const RUNS_WITHOUT_TRACES: i64 = 5_000;

/// The newest attempts of a run, newest first.
fn attempts(newest: i64) -> impl Iterator<Item = u32> {
    ((newest - ATTEMPTS).max(0) + 1..=newest).rev().filter_map(|attempt| u32::try_from(attempt).ok())
}

impl Tx {
    /// Stores the traces of a run's newest attempts.
    pub(super) async fn record_attempt_traces(
        &mut self,
        repo: RepoId,
        (github_run_id, newest_attempt): (i64, i64),
        trace_of: TraceOfAttempt,
    ) -> Result<(), StoreError> {
        let rows: Vec<(u32, String)> = attempts(newest_attempt)
            .map(|attempt| (attempt, trace_of(github_run_id, attempt).to_string()))
            .collect();
        for chunk in chunks(&rows) {
            on_db!(self, conn => {
                let mut insert = sqlx::QueryBuilder::new(
                    "INSERT INTO workflow_run_traces (repo_id, trace_id, github_run_id, attempt) ",
                );
                insert.push_values(chunk, |mut row, (attempt, trace)| {
                    row.push_bind(repo.0)
                        .push_bind(trace.as_str())
                        .push_bind(github_run_id)
                        .push_bind(i64::from(*attempt));
                });
                insert.push(" ON CONFLICT DO NOTHING");
                insert.build().execute(&mut *conn).await?;
            });
        }
        Ok(())
    }

    /// The workflow run and attempt (from 1) of a trace, among the runs that changed since a time.
    /// Runs that an older version recorded have no stored traces: theirs are computed here.
    pub async fn attempt_of_trace(
        &mut self,
        repo: RepoId,
        trace: TraceId,
        since: Timestamp,
        trace_of: TraceOfAttempt,
    ) -> Result<Option<(i64, u32)>, StoreError> {
        let found: Option<(i64, i64)> = on_db!(self, conn => {
            sqlx::query_as(
                // Run and attempt are hashed as one sequence of digits, so two attempts may share a trace.
                "SELECT t.github_run_id, t.attempt FROM workflow_run_traces t
                 JOIN workflow_runs w ON w.repo_id = t.repo_id AND w.github_run_id = t.github_run_id
                 WHERE t.repo_id = $1 AND t.trace_id = $2 AND w.updated_at >= $3
                 ORDER BY w.updated_at DESC, t.github_run_id DESC, t.attempt DESC LIMIT 1",
            )
            .bind(repo.0)
            .bind(trace.to_string())
            .bind(since.0)
            .fetch_optional(&mut *conn)
            .await?
        });
        if let Some((run, attempt)) = found {
            let attempt = u32::try_from(attempt)
                .map_err(|e| StoreError::unreadable("the attempt of a workflow run's trace", e))?;
            return Ok(Some((run, attempt)));
        }
        let without: Vec<(i64, i64)> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT github_run_id, attempt FROM workflow_runs
                 WHERE repo_id = $1 AND traced_attempt < attempt AND updated_at >= $2
                 ORDER BY updated_at DESC, github_run_id DESC LIMIT $3",
            )
            .bind(repo.0)
            .bind(since.0)
            .bind(RUNS_WITHOUT_TRACES)
            .fetch_all(&mut *conn)
            .await?
        });
        let computed = without.into_iter().flat_map(|(run, newest)| attempts(newest).map(move |n| (run, n)));
        Ok(computed.into_iter().find(|(run, attempt)| trace_of(*run, *attempt) == trace))
    }
}

#[cfg(test)]
mod tests {
    use super::attempts;

    #[test]
    fn attempts_are_the_newest_twenty_from_one() {
        assert_eq!(attempts(0).count(), 0);
        assert_eq!(attempts(2).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(attempts(25).collect::<Vec<_>>(), (6..=25).rev().collect::<Vec<_>>());
        assert_eq!(attempts(i64::MAX).count(), 0, "not a number of an attempt");
    }
}
