//! What GitHub lets the App do to an installation, shared by all processes: told waits, the hour
//! of calls, the one write at a time. What follows from it is decided in `jobs/call_gate.rs`.

use super::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::InstallationId;
use pacegate_engine::model::time::Timestamp;

/// An installation's budget.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct RateLimitRow {
    /// Nobody calls before this time (µs since the epoch).
    pub closed_until: i64,
    /// How often in a row GitHub asked to wait without saying for how long.
    pub unsaid_limits: i64,
    /// Calls an hour has; none before GitHub told it.
    pub calls_limit: Option<i64>,
    /// Calls left of it.
    pub calls_remaining: Option<i64>,
    /// When the next hour begins (µs since the epoch).
    pub calls_reset_at: Option<i64>,
    /// Whose write is under way.
    pub write_token: Option<String>,
    /// When it must have ended (µs since the epoch).
    pub write_until: i64,
    /// The next write not before this time (µs since the epoch).
    pub next_write_at: i64,
}

/// All budgets in a few numbers, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct BudgetsOverview {
    /// Installations nobody may call now.
    pub closed: i64,
    /// Percent of the hour's calls left where fewest are; none when GitHub told of no hour yet.
    pub least_calls_percent: Option<i64>,
    /// Writes of the last hour where most were made.
    pub most_writes: Option<i64>,
}

impl Tx {
    /// An installation's budget, if it was ever called.
    pub async fn github_rate_limit(
        &mut self,
        installation: InstallationId,
    ) -> Result<Option<RateLimitRow>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as(
                "SELECT closed_until, unsaid_limits, calls_limit, calls_remaining, calls_reset_at,
                    write_token, write_until, next_write_at
                 FROM github_budgets WHERE installation_id = $1",
            )
            .bind(installation.0)
            .fetch_optional(&mut *conn)
            .await?
        }))
    }

    /// The same, made if it is not there, and held until this transaction ends.
    pub async fn lock_github_rate_limit(
        &mut self,
        installation: InstallationId,
        now: Timestamp,
    ) -> Result<RateLimitRow, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as(
                "INSERT INTO github_budgets (installation_id, updated_at) VALUES ($1, $2)
                 ON CONFLICT (installation_id) DO UPDATE SET updated_at = excluded.updated_at
                 RETURNING closed_until, unsaid_limits, calls_limit, calls_remaining, calls_reset_at,
                    write_token, write_until, next_write_at",
            )
            .bind(installation.0)
            .bind(now.0)
            .fetch_one(&mut *conn)
            .await?
        }))
    }

    /// How many writes began since a time, and when the oldest period of those begins.
    pub async fn github_writes_since(
        &mut self,
        installation: InstallationId,
        since: Timestamp,
    ) -> Result<(i64, Option<Timestamp>), StoreError> {
        let (writes, oldest): (i64, Option<i64>) = on_db!(self, conn => {
            // PostgreSQL's sum of BIGINT is a NUMERIC.
            sqlx::query_as(
                "SELECT CAST(COALESCE(SUM(writes), 0) AS BIGINT), MIN(period_at) FROM github_writes
                 WHERE installation_id = $1 AND period_at > $2",
            )
            .bind(installation.0)
            .bind(since.0)
            .fetch_one(&mut *conn)
            .await?
        });
        Ok((writes, oldest.map(Timestamp)))
    }

    /// Begins a write that must have ended at `until`, counts it into its period, and forgets
    /// periods that began before `old`.
    pub async fn begin_github_write(
        &mut self,
        installation: InstallationId,
        token: &str,
        until: Timestamp,
        period_at: Timestamp,
        old: Timestamp,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "UPDATE github_budgets SET write_token = $1, write_until = $2 WHERE installation_id = $3",
            )
            .bind(token)
            .bind(until.0)
            .bind(installation.0)
            .execute(&mut *conn)
            .await?;
            sqlx::query(
                "INSERT INTO github_writes (installation_id, period_at, writes) VALUES ($1, $2, 1)
                 ON CONFLICT (installation_id, period_at) DO UPDATE SET writes = github_writes.writes + 1",
            )
            .bind(installation.0)
            .bind(period_at.0)
            .execute(&mut *conn)
            .await?;
            sqlx::query("DELETE FROM github_writes WHERE installation_id = $1 AND period_at < $2")
                .bind(installation.0)
                .bind(old.0)
                .execute(&mut *conn)
                .await?;
        });
        Ok(())
    }

    /// Ends a write; the next not before a time. What is no longer this token's is left alone.
    pub async fn end_github_write(
        &mut self,
        installation: InstallationId,
        token: &str,
        next_write_at: Timestamp,
        succeeded: bool,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "UPDATE github_budgets SET write_token = NULL, next_write_at = $1,
                    unsaid_limits = CASE WHEN $2 = 1 THEN 0 ELSE unsaid_limits END
                 WHERE installation_id = $3 AND write_token = $4",
            )
            .bind(next_write_at.0)
            .bind(i64::from(succeeded))
            .bind(installation.0)
            .bind(token)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// Nobody calls the installation before a time; an earlier word for longer stays.
    pub async fn close_installation(
        &mut self,
        installation: InstallationId,
        until: Timestamp,
        unsaid_limits: i64,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "UPDATE github_budgets SET unsaid_limits = $1,
                    closed_until = CASE WHEN closed_until > $2 THEN closed_until ELSE $2 END
                 WHERE installation_id = $3",
            )
            .bind(unsaid_limits)
            .bind(until.0)
            .bind(installation.0)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// Remembers what GitHub told of an installation's hour of calls.
    pub async fn record_hour_of_calls(
        &mut self,
        installation: InstallationId,
        limit: i64,
        remaining: i64,
        reset_at: Timestamp,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "UPDATE github_budgets SET calls_limit = $1, calls_remaining = $2, calls_reset_at = $3
                 WHERE installation_id = $4",
            )
            .bind(limit)
            .bind(remaining)
            .bind(reset_at.0)
            .bind(installation.0)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// All budgets in a few numbers; writes are counted since a time.
    pub async fn github_budgets_overview(
        &mut self,
        now: Timestamp,
        since: Timestamp,
    ) -> Result<BudgetsOverview, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as(
                "SELECT (SELECT COUNT(*) FROM github_budgets WHERE closed_until > $1) AS closed,
                    (SELECT MIN(calls_remaining * 100 / calls_limit) FROM github_budgets
                     WHERE calls_reset_at > $1) AS least_calls_percent,
                    (SELECT MAX(total) FROM (
                        SELECT CAST(SUM(writes) AS BIGINT) AS total FROM github_writes
                        WHERE period_at > $2 GROUP BY installation_id) AS of_installation) AS most_writes",
            )
            .bind(now.0)
            .bind(since.0)
            .fetch_one(&mut *conn)
            .await?
        }))
    }
}
