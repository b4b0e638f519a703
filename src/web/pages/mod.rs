//! The pages: the store's rows into the report's views. No page has a script.

mod comparison;
mod repositories;
mod runs;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Html;
use axum::routing::get;

use super::AppState;
use super::error::{PageError, WebError};
use crate::config::PageAccess;
use pacegate_engine::model::comparison::RunVerdict;
use pacegate_report::page::{Site, Start};
use pacegate_store::RepositoryRow;

/// Routes of the pages.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/", get(repositories::repositories))
        .route("/{owner}/{repo}", get(runs::runs))
        .route("/{owner}/{repo}/runs/{id}", get(runs::run))
        .route("/{owner}/{repo}/comparisons/{id}", get(comparison::comparison))
}

/// Whatever no route takes.
pub(super) async fn not_found(State(state): State<AppState>) -> PageError {
    PageError { error: WebError::NotFound, site: site(&state), ask: false }
}

type Page = Result<Html<String>, PageError>;

fn site(state: &AppState) -> Site {
    Site { local_mode: state.local_mode() }
}

/// Lets a handler use `?` and still answer with a page. Of a page that is not there for a
/// reader without a token, a service that keeps pages to itself asks for one.
async fn as_page<F>(state: &AppState, headers: &HeaderMap, view: F) -> Page
where
    F: Future<Output = Result<Result<String, askama::Error>, WebError>>,
{
    let failed = |error| {
        let ask = state.pages == PageAccess::Public && !headers.contains_key(header::AUTHORIZATION);
        Err(PageError { error, site: site(state), ask })
    };
    match view.await {
        Ok(Ok(html)) => Ok(Html(html)),
        Ok(Err(error)) => failed(WebError::Internal(error.into())),
        Err(error) => failed(error),
    }
}

/// Sends a reader who came by a name the repository had to the present one.
fn at_present_name(row: &RepositoryRow, owner: &str, repo: &str, rest: &str) -> Result<(), WebError> {
    let present = row.name.to_string();
    if present.eq_ignore_ascii_case(&format!("{owner}/{repo}")) {
        return Ok(());
    }
    Err(WebError::Moved(format!("/{present}{rest}")))
}

fn start(state: &AppState, repo: &str) -> Start {
    let address = state.work.public_url.as_deref().unwrap_or("http://127.0.0.1:8080");
    Start { repo: repo.to_owned(), otlp_http: address.trim_end_matches('/').to_owned() }
}

fn run_verdict(word: &str) -> Option<RunVerdict> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).ok()
}
