//! Asks GitHub to send again what did not arrive: it keeps its deliveries for three days and sends
//! none twice by itself. Each is asked for at most five times, at growing distances.

use std::time::Duration;

use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::model::time::Timestamp;
use pacegate_github::GitHubError;
use pacegate_github::app_auth::App;
use pacegate_github::deliveries::SentDeliveries;
use pacegate_store::DeliverySweep;

/// GitHub can redeliver for so long.
const WINDOW: Duration = Duration::from_hours(3 * 24);
/// Read again each time: an attempt is listed a while after it was made.
const OVERLAP: Duration = Duration::from_mins(10);
/// Pages of 100 read in one sweep; the next goes on where it stopped.
const PAGES: usize = 20;
/// Deliveries asked for in one sweep.
const AT_ONCE: i64 = 400;
/// How often one is asked for.
const ATTEMPTS: i64 = 5;

pub(in crate::tasks) async fn sweep_deliveries(work: &WorkerContext) -> Result<(), TaskError> {
    let Some(app) = &work.app else { return Ok(()) };
    read_new(work, app).await?;
    ask_again(work, app).await
}

async fn read_new(work: &WorkerContext, app: &App) -> Result<(), TaskError> {
    let now = work.clock.now();
    let before = work.db.read().await?.delivery_sweep().await?;
    let mut sweep = before.unwrap_or(DeliverySweep { read_until: 0, next_cursor: None, reading_until: None });
    let stop_at = Timestamp(sweep.read_until).before(OVERLAP).max(now.before(WINDOW));
    let reading_until = sweep.reading_until.unwrap_or(now.0);
    sweep.reading_until = Some(reading_until);
    for _ in 0..PAGES {
        let page = match app.sent_deliveries(sweep.next_cursor.as_deref()).await {
            // A cursor that is too old: the next sweep begins at the top again.
            Err(GitHubError::Refused { status: 400 | 422, .. }) if sweep.next_cursor.is_some() => {
                SentDeliveries { deliveries: Vec::new(), next: None }
            }
            page => page?,
        };
        let mut tx = work.db.write().await?;
        let mut is_read = page.next.is_none();
        for sent in &page.deliveries {
            let sent_at = Timestamp::parse_rfc3339(&sent.delivered_at).unwrap_or(now);
            if sent_at < stop_at {
                is_read = true;
                break;
            }
            // What we recorded is handled, whatever GitHub heard of it.
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

async fn ask_again(work: &WorkerContext, app: &App) -> Result<(), TaskError> {
    let now = work.clock.now();
    let mut tx = work.db.write().await?;
    tx.forget_failed_deliveries(now.before(WINDOW)).await?;
    let due = tx.due_failed_deliveries(ATTEMPTS, AT_ONCE, now).await?;
    tx.commit().await?;
    for failed in &due {
        let mut tx = work.db.write().await?;
        // Counted first: what ends this process is not tried for ever.
        tx.count_redelivery(&failed.delivery_id, work.clock.now().after(distance(failed.attempts))).await?;
        tx.commit().await?;
        match app.redeliver(failed.github_delivery_id).await {
            Ok(()) => {}
            Err(error @ (GitHubError::NotFound { .. } | GitHubError::Refused { .. })) => {
                tracing::warn!(delivery = failed.delivery_id, %error, "GitHub does not send a delivery again");
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !due.is_empty() {
        tracing::info!(deliveries = due.len(), "asked GitHub to send again what did not arrive");
    }
    Ok(())
}

/// From one request for a delivery to the next: 5 minutes, 20, 80 … so that five of them fit into
/// the time in which GitHub can redeliver.
fn distance(attempts: i64) -> Duration {
    Duration::from_mins(5) * 4_u32.saturating_pow(u32::try_from(attempts).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_attempts_fit_into_the_window() {
        let all: Duration = (0..ATTEMPTS - 1).map(distance).sum();
        assert!(all > Duration::from_hours(6) && all < WINDOW / 2, "{all:?}");
    }
}
