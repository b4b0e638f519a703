//! GitHub's webhook deliveries: the signature is verified over the raw bytes, and each delivery is
//! recorded once and answered at once. A background task handles it.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::AppState;
use super::error::{WebError, body_error};
use crate::metrics::Metrics;
use crate::tasks::{HandleDelivery, Task};
use pacegate_github::webhook::{Event, WebhookError, parse, verify};
use pacegate_store::DeliveryRow;

/// GitHub's largest payload has 25 MB.
const BODY_LIMIT: usize = 25 << 20;

/// Deliveries up to this size need no permit of `webhook_slots`.
const SMALL: usize = 1 << 20;
/// Bytes that are read of an unsigned delivery, which is refused.
const UNSIGNED: usize = 64 << 10;
/// GitHub waits ten seconds for the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

fn looks_signed(signature: &str) -> bool {
    signature.strip_prefix("sha256=").is_some_and(|hex| hex.len() == 64)
}

/// `POST /webhook`.
pub(super) async fn webhook(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, WebError> {
    let count = |outcome| Metrics::count(&state.context.metrics.deliveries, "github", outcome);
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let signature = header("x-hub-signature-256");
    if !signature.is_some_and(looks_signed) || state.webhook_secrets.is_empty() {
        // Before the body is stored: an unsigned delivery must not fill the memory. A small body is
        // read anyway, because an answer may get lost while the body is unread.
        let _read = tokio::time::timeout(TIMEOUT, to_bytes(body, UNSIGNED)).await;
        count("refused");
        return Err(WebhookError::Signature.into());
    }
    // Nearly all deliveries are small. They need no permit, so large ones can't delay them.
    let length = header("content-length").and_then(|length| length.parse::<usize>().ok());
    let _slot = match length {
        Some(length) if length <= SMALL => None,
        _ => Some(state.webhook_slots.acquire().await.map_err(|_| WebError::Busy)?),
    };
    let read = to_bytes(body, length.unwrap_or(BODY_LIMIT).min(BODY_LIMIT));
    let body = tokio::time::timeout(TIMEOUT, read)
        .await
        .map_err(|_| WebError::Busy)?
        .map_err(|e| body_error(&e, BODY_LIMIT))?;
    verify(&state.webhook_secrets, signature, &body).inspect_err(|_| count("refused"))?;
    let (Some(event), Some(delivery_id)) = (header("x-github-event"), header("x-github-delivery")) else {
        return Err(WebError::BadRequest("X-GitHub-Event and X-GitHub-Delivery are needed".into()));
    };
    if event.len() > 100 || delivery_id.len() > 100 {
        return Err(WebError::BadRequest("X-GitHub-Event or X-GitHub-Delivery is too long".into()));
    }
    let parsed = parse(event, &body).inspect_err(|_| count("refused"))?;
    let subject = parsed.as_ref().map(Event::subject);
    let stored = parsed
        .map(|event| serde_json::to_string(&event))
        .transpose()
        .map_err(|e| WebError::Internal(e.into()))?;
    let is_ours = stored.is_some();
    let row = DeliveryRow { delivery_id: delivery_id.to_owned(), event: event.to_owned(), body: stored };
    let context = &state.context;
    let now = context.clock.now();
    let mut tx = context.db.write().await?;
    let is_new = tx.record_delivery(&row, now).await?;
    if let Some(subject) = subject {
        let task = HandleDelivery { delivery_id: row.delivery_id, subject };
        if is_new {
            task.push(&mut tx, now, &context.rng, now).await?;
        } else {
            // GitHub was asked to send it again, because it had no effect the first time.
            task.revive(&mut tx, now).await?;
        }
    }
    tx.commit().await?;
    count(match (is_new, is_ours) {
        (false, _) => "repeated",
        (true, false) => "ignored",
        (true, true) => "accepted",
    });
    Ok(StatusCode::ACCEPTED)
}
