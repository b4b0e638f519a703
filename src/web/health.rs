//! For whoever runs the service: is it alive, is it ready, what does it count.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::AppState;
use super::error::WebError;

/// `GET /healthz`: the process answers.
pub async fn healthz() -> &'static str {
    "alive\n"
}

/// `GET /readyz`: the database is reachable and its tables are up to date.
pub async fn readyz(State(state): State<AppState>) -> Result<Response, WebError> {
    Ok(if state.work.db.is_migrated().await? {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the database is not migrated: run `pacegate migrate`\n")
            .into_response()
    })
}

/// `GET /metrics`: Prometheus' text format.
pub async fn metrics(State(state): State<AppState>) -> Result<impl IntoResponse, WebError> {
    let jobs = state.work.db.read().await?.count_jobs().await?;
    let text = state.work.metrics.encode(jobs.open, jobs.dead).map_err(|e| WebError::Internal(e.into()))?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}
