//! The HTML pages: reads rows and fills the views of `pacegate_report::page`, which render the
//! templates. No page has a script.

mod comparison;
mod repositories;
mod runs;

use askama::Template;
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

/// The page for an unknown path.
pub(super) async fn not_found(State(state): State<AppState>) -> PageError {
    PageError { error: WebError::NotFound, site: site(&state), ask: false }
}

type Page = Result<Html<String>, PageError>;

fn site(state: &AppState) -> Site {
    Site { local_mode: state.local_mode() }
}

/// Renders a view, and turns its errors into an error page. With `--pages public`, an absent page
/// makes a browser without a token ask for one.
async fn as_page<T: Template>(
    state: &AppState,
    headers: &HeaderMap,
    view: impl Future<Output = Result<T, WebError>>,
) -> Page {
    let failed = |error| {
        let ask = state.pages == PageAccess::Public && !headers.contains_key(header::AUTHORIZATION);
        Err(PageError { error, site: site(state), ask })
    };
    match view.await.and_then(|page| page.render().map_err(|error| WebError::Internal(error.into()))) {
        Ok(html) => Ok(Html(html)),
        Err(error) => failed(error),
    }
}

/// Redirects from an earlier name of a repository to its current name.
fn at_current_name(row: &RepositoryRow, owner: &str, repo: &str, rest: &str) -> Result<(), WebError> {
    let current = row.name.to_string();
    if current.eq_ignore_ascii_case(&format!("{owner}/{repo}")) {
        return Ok(());
    }
    Err(WebError::Moved(format!("/{current}{rest}")))
}

fn start(state: &AppState, repo: &str) -> Start {
    let address = state.context.public_url.as_deref().unwrap_or("http://127.0.0.1:8080");
    Start { repo: repo.to_owned(), otlp_http: address.trim_end_matches('/').to_owned() }
}

fn run_verdict(stored: &str) -> Option<RunVerdict> {
    serde_json::from_value(serde_json::Value::String(stored.to_owned())).ok()
}
