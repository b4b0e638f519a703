//! Webhook deliveries. GitHub may send one several times, and each is handled once.

use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::time::Timestamp;

/// An accepted delivery.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct DeliveryRow {
    /// GitHub's identifier, which a redelivery keeps.
    pub delivery_id: String,
    pub event: String,
    /// The parsed event as JSON; none for an event that is not handled.
    pub body: Option<String>,
}

impl Tx {
    /// Records a delivery. `false`: it was recorded before, and nothing changed.
    pub async fn record_delivery(&mut self, row: &DeliveryRow, now: Timestamp) -> Result<bool, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO deliveries (delivery_id, event, body, received_at) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (delivery_id) DO NOTHING",
            )
            .bind(&row.delivery_id)
            .bind(&row.event)
            .bind(&row.body)
            .bind(now.0)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }) > 0)
    }

    /// A delivery by its identifier.
    pub async fn delivery(&mut self, delivery_id: &str) -> Result<Option<DeliveryRow>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as("SELECT delivery_id, event, body FROM deliveries WHERE delivery_id = $1")
                .bind(delivery_id)
                .fetch_optional(&mut *conn)
                .await?
        }))
    }

    /// Deletes deliveries that were received before a time. GitHub redelivers for at most three days.
    pub async fn sweep_deliveries(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query("DELETE FROM deliveries WHERE received_at < $1")
                .bind(before.0)
                .execute(&mut *conn)
                .await?
                .rows_affected()
        }))
    }
}
