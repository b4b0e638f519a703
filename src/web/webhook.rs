//! GitHub's deliveries: verified over the raw bytes, recorded once, answered at once. What is
//! to be done about them is a job.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::AppState;
use super::error::WebError;
use crate::github::webhook::{parse, verify};
use crate::jobs::Job;
use crate::metrics::Metrics;
use crate::store::DeliveryRow;

/// GitHub caps its payloads at 25 MB.
pub const BODY_LIMIT: usize = 25 << 20;

/// `POST /webhook`.
pub async fn webhook(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, WebError> {
    let count = |outcome| Metrics::count(&state.work.metrics.deliveries, "github", outcome);
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    verify(&state.webhook_secrets, header("x-hub-signature-256"), &body).inspect_err(|_| count("refused"))?;
    let (Some(event), Some(delivery_id)) = (header("x-github-event"), header("x-github-delivery")) else {
        return Err(WebError::BadRequest("X-GitHub-Event and X-GitHub-Delivery are needed".into()));
    };
    if event.len() > 100 || delivery_id.len() > 100 {
        return Err(WebError::BadRequest("X-GitHub-Event or X-GitHub-Delivery is too long".into()));
    }
    let parsed = parse(event, &body).inspect_err(|_| count("refused"))?;
    let stored = parsed
        .map(|event| serde_json::to_string(&event))
        .transpose()
        .map_err(|e| WebError::Internal(e.into()))?;
    let is_ours = stored.is_some();
    let row = DeliveryRow { delivery_id: delivery_id.to_owned(), event: event.to_owned(), body: stored };
    let work = &state.work;
    let now = work.clock.now();
    let mut tx = work.db.write().await?;
    let is_new = tx.record_delivery(&row, now).await?;
    if is_new && is_ours {
        Job::HandleDelivery { delivery_id: row.delivery_id }.push(&mut tx, now, &work.chance, now).await?;
    }
    tx.commit().await?;
    count(match (is_new, is_ours) {
        (false, _) => "repeated",
        (true, false) => "ignored",
        (true, true) => "accepted",
    });
    Ok(StatusCode::ACCEPTED)
}
