//! The pages: the store's rows into the report's views. No page has a script.

mod comparison;
mod repositories;
mod runs;

use axum::Router;
use axum::extract::State;
use axum::response::Html;
use axum::routing::get;

use super::AppState;
use super::error::{PageError, WebError};
use crate::model::comparison::RunVerdict;
use crate::report::page::{Site, Start};

/// Routes of the pages.
pub fn routes() -> Router<AppState> {
    Router::new()
        .route("/", get(repositories::repositories))
        .route("/{owner}/{repo}", get(runs::runs))
        .route("/{owner}/{repo}/runs/{id}", get(runs::run))
        .route("/{owner}/{repo}/comparisons/{id}", get(comparison::comparison))
}

/// Whatever no route takes.
pub async fn not_found(State(state): State<AppState>) -> PageError {
    page_error(&state, WebError::NotFound)
}

type Page = Result<Html<String>, PageError>;

fn site(state: &AppState) -> Site {
    Site { local_mode: state.local_mode() }
}

fn page_error(state: &AppState, error: impl Into<WebError>) -> PageError {
    PageError { error: error.into(), site: site(state) }
}

/// Lets a handler use `?` and still answer with a page.
async fn as_page<F>(state: &AppState, view: F) -> Page
where
    F: Future<Output = Result<Result<String, askama::Error>, WebError>>,
{
    match view.await {
        Ok(Ok(html)) => Ok(Html(html)),
        Ok(Err(error)) => Err(page_error(state, WebError::Internal(error.into()))),
        Err(error) => Err(page_error(state, error)),
    }
}

fn start(state: &AppState, repo: &str) -> Start {
    let address = state.work.public_url.as_deref().unwrap_or("http://127.0.0.1:8080");
    Start { repo: repo.to_owned(), otlp_http: address.trim_end_matches('/').to_owned() }
}

fn run_verdict(word: &str) -> Option<RunVerdict> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).ok()
}
