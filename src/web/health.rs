//! Liveness, readiness and metrics, for operators. Readable by anyone who reaches the port.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::AppState;
use super::error::WebError;

/// The period of GitHub's limit on writes.
const HOUR: Duration = Duration::from_hours(1);

/// `GET /healthz`: the process answers.
pub(super) async fn healthz() -> &'static str {
    "alive\n"
}

/// `GET /readyz`: the database is reachable and its tables are up to date.
pub(super) async fn readyz(State(state): State<AppState>) -> Result<Response, WebError> {
    Ok(if state.context.db.is_migrated().await? {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the database is not migrated: run `pacegate migrate`\n")
            .into_response()
    })
}

/// `GET /metrics`: Prometheus' text format.
pub(super) async fn metrics(State(state): State<AppState>) -> Result<impl IntoResponse, WebError> {
    let now = state.context.clock.now();
    let mut tx = state.context.db.read().await?;
    let tasks = tx.count_tasks().await?;
    let limits = tx.github_budgets_overview(now, now.before(HOUR)).await?;
    drop(tx);
    state.context.metrics.set_github_limits(
        limits.closed,
        limits.least_calls_percent.unwrap_or(100),
        limits.most_writes.unwrap_or(0),
    );
    let text =
        state.context.metrics.encode(tasks.open, tasks.dead).map_err(|e| WebError::Internal(e.into()))?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}
