//! GitHub's rate limits for each installation, shared by all processes: the waits that GitHub asked
//! for, the calls left in the hour, and the one write at a time. The rate limiter in the
//! application decides what follows from them.

use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::InstallationId;
use pacegate_engine::model::time::Timestamp;

/// The rate limit of an installation. Times are microseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct RateLimitRow {
    /// No call may begin before this time.
    pub closed_until: i64,
    /// How often in a row GitHub asked to wait without a duration.
    pub unsaid_limits: i64,
    /// Calls allowed in an hour; none until GitHub reported it.
    pub calls_limit: Option<i64>,
    /// Calls left in this hour.
    pub calls_remaining: Option<i64>,
    /// When the next hour begins.
    pub calls_reset_at: Option<i64>,
    /// The token of the write that is under way.
    pub write_token: Option<String>,
    /// When that write must have ended.
    pub write_until: i64,
    /// No write may begin before this time.
    pub next_write_at: i64,
}

/// The rate limits of all installations in a few numbers, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct BudgetsOverview {
    /// Number of installations that may not be called now.
    pub closed: i64,
    /// The least percentage of the hour's calls left; none until GitHub reported an hour.
    pub least_calls_percent: Option<i64>,
    /// The most writes to an installation in the last hour.
    pub most_writes: Option<i64>,
}

impl Tx {
    /// The rate limit of an installation; none if it was never called.
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

    /// The rate limit of an installation, created if there is none, and locked until this
    /// transaction ends.
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

    /// Number of writes in periods that began after a time, and the beginning of the oldest one.
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

    /// Begins a write that must have ended at `until` and counts it in its period. Deletes periods
    /// that began before `old`.
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

    /// Ends the write of this token. The next write may begin at `next_write_at`. A write of another
    /// token stays as it is.
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

    /// Forbids calls to the installation before a time. A later time that was recorded stays.
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

    /// Records the calls left in an installation's hour, as GitHub reported them.
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

    /// All rate limits in a few numbers. Writes are counted after `since`.
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
