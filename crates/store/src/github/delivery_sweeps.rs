//! The periodic search for deliveries that did not arrive: how far GitHub's list of deliveries was
//! read, and the failed deliveries.

use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::time::Timestamp;

/// How far GitHub's list of deliveries was read.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct DeliverySweep {
    /// Every attempt before this time was read, microseconds since the epoch.
    pub read_until: i64,
    /// The cursor at which an unfinished reading continues.
    pub next_cursor: Option<String>,
    /// The value of `read_until` once that reading is finished, microseconds since the epoch.
    pub reading_until: Option<i64>,
}

/// A delivery that did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct FailedDelivery {
    pub delivery_id: String,
    /// GitHub's number of the failed attempt.
    pub github_delivery_id: i64,
    /// Number of redeliveries that were requested.
    pub attempts: i64,
}

impl Tx {
    /// How far the list of deliveries was read; none before the first reading.
    pub async fn delivery_sweep(&mut self) -> Result<Option<DeliverySweep>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as("SELECT read_until, next_cursor, reading_until FROM delivery_sweeps WHERE sweep_id = 1")
                .fetch_optional(&mut *conn)
                .await?
        }))
    }

    /// Records how far the list of deliveries was read.
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

    /// Records a failed delivery, unless it arrived meanwhile. A redelivery may be requested at
    /// once. A delivery that was recorded before keeps its count.
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

    /// Deletes failed deliveries that arrived meanwhile or failed before a time.
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

    /// Failed deliveries for which a redelivery may be requested now, oldest first. Those with
    /// `attempts` requests are left out.
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

    /// Counts a request for a redelivery. The next one may come at `next_at`.
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
}
