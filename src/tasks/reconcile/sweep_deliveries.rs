//! Asks GitHub to redeliver webhook deliveries that did not arrive. GitHub keeps deliveries for three days
//! and never redelivers on its own. Each one is requested at most five times, at growing distances.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::RepoId;
use pacegate_engine::model::time::Timestamp;
use pacegate_github::GitHubError;
use pacegate_github::app_auth::App;
use pacegate_github::deliveries::SentDeliveries;
use pacegate_store::DeliverySweep;

/// GitHub can redeliver for this long.
const WINDOW: Duration = Duration::from_hours(3 * 24);
/// Read again by each sweep: GitHub lists an attempt some time after it made it.
const OVERLAP: Duration = Duration::from_mins(10);
/// Pages of 100 deliveries in one sweep. The next sweep goes on where this one stopped.
const PAGES: usize = 20;
/// Most redeliveries that one sweep requests.
const REQUESTS: i64 = 400;
/// Most requests for one delivery.
const ATTEMPTS: i64 = 5;

/// One sweep for each `slot` of time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SweepDeliveries {
    pub(crate) slot: i64,
}

impl Task for SweepDeliveries {
    const KIND: &'static str = "sweep_deliveries";

    fn repo(&self) -> Option<RepoId> {
        None
    }

    fn dedupe_key(&self) -> String {
        self.slot.to_string()
    }

    fn serial_key(&self) -> Option<String> {
        Some("sweep_deliveries".to_owned())
    }

    async fn run(self, context: &WorkerContext) -> Result<(), TaskError> {
        let Some(app) = &context.app else { return Ok(()) };
        read_new(context, app).await?;
        request_redeliveries(context, app).await
    }
}

async fn read_new(context: &WorkerContext, app: &App) -> Result<(), TaskError> {
    let now = context.clock.now();
    let before = context.db.read().await?.delivery_sweep().await?;
    let mut sweep = before.unwrap_or(DeliverySweep { read_until: 0, next_cursor: None, reading_until: None });
    let stop_at = Timestamp(sweep.read_until).before(OVERLAP).max(now.before(WINDOW));
    let reading_until = sweep.reading_until.unwrap_or(now.0);
    sweep.reading_until = Some(reading_until);
    for _ in 0..PAGES {
        let page = match app.sent_deliveries(sweep.next_cursor.as_deref()).await {
            // The cursor expired: the next sweep begins at the newest delivery again.
            Err(GitHubError::Refused { status: 400 | 422, .. }) if sweep.next_cursor.is_some() => {
                SentDeliveries { deliveries: Vec::new(), next: None }
            }
            page => page?,
        };
        let mut tx = context.db.write().await?;
        let mut is_read = page.next.is_none();
        for sent in &page.deliveries {
            let sent_at = Timestamp::parse_rfc3339(&sent.delivered_at).unwrap_or(now);
            if sent_at < stop_at {
                is_read = true;
                break;
            }
            // A delivery that is stored here is handled, also if GitHub counts it as failed.
            if !sent.arrived() && sent.guid.len() <= 100 {
                tx.record_failed_delivery(&sent.guid, sent.id, sent_at, now).await?;
            }
        }
        sweep.next_cursor = page.next;
        if is_read {
            sweep = DeliverySweep { read_until: reading_until, next_cursor: None, reading_until: None };
        }
        tx.record_delivery_sweep(&sweep).await?;
        tx.commit().await?;
        if is_read {
            break;
        }
    }
    Ok(())
}

async fn request_redeliveries(context: &WorkerContext, app: &App) -> Result<(), TaskError> {
    let now = context.clock.now();
    let mut tx = context.db.write().await?;
    tx.forget_failed_deliveries(now.before(WINDOW)).await?;
    let due = tx.due_failed_deliveries(ATTEMPTS, REQUESTS, now).await?;
    tx.commit().await?;
    for failed in &due {
        let mut tx = context.db.write().await?;
        // Counted before the call: a delivery that crashes this process must not be requested forever.
        tx.count_redelivery(&failed.delivery_id, context.clock.now().after(distance(failed.attempts)))
            .await?;
        tx.commit().await?;
        match app.redeliver(failed.github_delivery_id).await {
            Ok(()) => {}
            Err(error @ (GitHubError::NotFound { .. } | GitHubError::Refused { .. })) => {
                tracing::warn!(delivery = failed.delivery_id, %error, "GitHub refuses to redeliver");
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !due.is_empty() {
        tracing::info!(deliveries = due.len(), "requested redelivery of deliveries that did not arrive");
    }
    Ok(())
}

/// Time between two requests for one delivery: 5 minutes, 20, 80 … Five of them fit into the time in which
/// GitHub can redeliver.
fn distance(attempts: i64) -> Duration {
    Duration::from_mins(5) * 4_u32.saturating_pow(u32::try_from(attempts).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_fit_into_redelivery_window() {
        let all: Duration = (0..ATTEMPTS - 1).map(distance).sum();
        assert!(all > Duration::from_hours(6) && all < WINDOW / 2, "{all:?}");
    }
}
