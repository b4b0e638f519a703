//! `/`: the repositories that the reader may see.

use axum::extract::State;
use axum::http::HeaderMap;

use super::{Page, as_page, run_verdict, site, start};
use crate::web::AppState;
use crate::web::access::{may_read, repository_of_reader};
use crate::web::error::WebError;
use pacegate_report::page::{RepositoriesPage, RepositoryRow};

/// Repositories on the page.
const REPOSITORIES: i64 = 500;

pub(super) async fn repositories(State(state): State<AppState>, headers: HeaderMap) -> Page {
    as_page(&state, &headers, async {
        let of_token = repository_of_reader(&state, &headers).await?;
        let overviews = state.context.db.read().await?.list_repositories(REPOSITORIES).await?;
        let exist = !overviews.is_empty();
        let repositories: Vec<RepositoryRow> = overviews
            .into_iter()
            .filter(|overview| may_read(&state, of_token, &overview.repository))
            .map(|overview| RepositoryRow {
                name: overview.repository.name.to_string(),
                href: format!("/{}", overview.repository.name),
                runs: usize::try_from(overview.runs).unwrap_or(0),
                last_run: overview.last_run_at,
                last_verdict: overview.last_verdict.as_deref().and_then(run_verdict),
            })
            .collect();
        if exist && repositories.is_empty() {
            return Err(WebError::NotFound); // this reader may see none of them
        }
        Ok(RepositoriesPage { site: site(&state), repositories, start: start(&state, "OWNER/NAME") })
    })
    .await
}
