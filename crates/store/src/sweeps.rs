//! What periodic work remembers: how far GitHub's list of deliveries was read, and the
//! deliveries that did not arrive.

use super::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::RepoId;
use pacegate_engine::model::time::Timestamp;

/// How far the list of deliveries was read.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct DeliverySweep {
    /// Every attempt before this time was looked at (µs since the epoch).
    pub read_until: i64,
    /// Where a reading that is not finished goes on.
    pub next_cursor: Option<String>,
    /// Up to when everything will have been looked at then (µs since the epoch).
    pub reading_until: Option<i64>,
}

/// A delivery that did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct FailedDelivery {
    /// GitHub's identifier of the delivery.
    pub delivery_id: String,
    /// GitHub's number of the attempt that failed.
    pub github_delivery_id: i64,
    /// How often it was asked for again.
    pub attempts: i64,
}

impl Tx {
    /// How far the list of deliveries was read; none before the first time.
    pub async fn delivery_sweep(&mut self) -> Result<Option<DeliverySweep>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as("SELECT read_until, next_cursor, reading_until FROM delivery_sweeps WHERE sweep_id = 1")
                .fetch_optional(&mut *conn)
                .await?
        }))
    }

    /// Remembers it.
    pub async fn record_delivery_sweep(&mut self, sweep: &DeliverySweep) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO delivery_sweeps (sweep_id, read_until, next_cursor, reading_until) VALUES (1, $1, $2, $3)
                 ON CONFLICT (sweep_id) DO UPDATE SET read_until = excluded.read_until,
                    next_cursor = excluded.next_cursor, reading_until = excluded.reading_until",
            )
            .bind(sweep.read_until)
            .bind(&sweep.next_cursor)
            .bind(sweep.reading_until)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// Remembers a delivery that did not arrive, to be asked for again at once. One that is
    /// remembered already keeps its count.
    pub async fn record_failed_delivery(
        &mut self,
        delivery_id: &str,
        github_delivery_id: i64,
        failed_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO failed_deliveries (delivery_id, github_delivery_id, failed_at, next_at)
                 SELECT $1, $2, $3, $4 WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE delivery_id = $1)
                 ON CONFLICT (delivery_id) DO NOTHING",
            )
            .bind(delivery_id)
            .bind(github_delivery_id)
            .bind(failed_at.0)
            .bind(now.0)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// Forgets failed deliveries that came after all, or failed before a time.
    pub async fn forget_failed_deliveries(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query(
                "DELETE FROM failed_deliveries WHERE failed_at < $1 OR EXISTS (
                    SELECT 1 FROM deliveries d WHERE d.delivery_id = failed_deliveries.delivery_id)",
            )
            .bind(before.0)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }))
    }

    /// Failed deliveries that may be asked for again now, oldest first: not those that were asked for
    /// `attempts` times.
    pub async fn due_failed_deliveries(
        &mut self,
        attempts: i64,
        limit: i64,
        now: Timestamp,
    ) -> Result<Vec<FailedDelivery>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as(
                "SELECT delivery_id, github_delivery_id, attempts FROM failed_deliveries
                 WHERE attempts < $1 AND next_at <= $2 ORDER BY failed_at, delivery_id LIMIT $3",
            )
            .bind(attempts)
            .bind(now.0)
            .bind(limit)
            .fetch_all(&mut *conn)
            .await?
        }))
    }

    /// A failed delivery is asked for again; the next time not before `next_at`.
    pub async fn count_redelivery(
        &mut self,
        delivery_id: &str,
        next_at: Timestamp,
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query(
                "UPDATE failed_deliveries SET attempts = attempts + 1, next_at = $1 WHERE delivery_id = $2",
            )
            .bind(next_at.0)
            .bind(delivery_id)
            .execute(&mut *conn)
            .await?;
        });
        Ok(())
    }

    /// Repositories that an installation may act on.
    pub async fn installed_repositories(&mut self) -> Result<Vec<RepoId>, StoreError> {
        let rows: Vec<i64> = on_db!(self, conn => {
            sqlx::query_scalar(
                "SELECT r.repo_id FROM repositories r
                 JOIN installations i ON i.installation_id = r.installation_id
                 WHERE r.removed_at IS NULL AND i.removed_at IS NULL AND i.suspended = 0
                 ORDER BY r.repo_id",
            )
            .fetch_all(&mut *conn)
            .await?
        });
        Ok(rows.into_iter().map(RepoId).collect())
    }
}
