//! A repository was renamed, moved, made public or private, or has another default branch: what
//! GitHub calls it and who may see it is recorded.

use super::Delivery;
use crate::jobs::JobError;

pub(super) async fn changed(delivery: Delivery<'_>, action: &str) -> Result<(), JobError> {
    let mut tx = delivery.work.db.write().await?;
    if let Some(row) = delivery.record_repository(&mut tx).await? {
        tracing::info!(repo = %row.name, action, "GitHub says the repository changed");
    }
    tx.commit().await?;
    Ok(())
}
