//! `/OWNER/NAME/comparisons/ID`: one comparison, with the texts that GitHub gets.

use axum::extract::{Path, State};
use axum::http::HeaderMap;

use super::{Page, as_page, at_current_name, site};
use crate::web::AppState;
use crate::web::api::repository;
use crate::web::error::WebError;
use pacegate_engine::model::ids::ComparisonId;
use pacegate_report::page::{ComparisonPage, Posting};
use pacegate_store::{CheckRow, ComparisonRow};

pub(super) async fn comparison(
    State(state): State<AppState>,
    Path((owner, repo, id)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Page {
    as_page(&state, &headers, async {
        let row = repository(&state, &headers, &owner, &repo).await?;
        at_current_name(&row, &owner, &repo, &format!("/comparisons/{id}"))?;
        let mut tx = state.context.db.read().await?;
        let found = tx.comparison(row.id, &ComparisonId(id)).await?.ok_or(WebError::NotFound)?;
        let head_sha = &found.comparison.head_sha;
        let candidate = tx.samples(row.id, &found.run).await?;
        let check = tx.check(row.id, head_sha, found.evaluation).await?;
        let is_known = tx.pull_request_of_head(row.id, head_sha).await?.is_some();
        drop(tx);
        let posting = posting(&state, &found, check, is_known && row.installation.is_some());
        Ok(ComparisonPage {
            site: site(&state),
            candidate,
            posting,
            repo_href: format!("/{}", row.name),
            run_href: Some(format!("/{}/runs/{}", row.name, found.run)),
            baseline_href: found.baseline_run.as_ref().map(|run| format!("/{}/runs/{run}", row.name)),
            json_href: Some(format!("/api/v1/comparisons/{}", found.id)),
            report: state.context.report(&row.name, found),
        })
    })
    .await
}

fn posting(state: &AppState, found: &ComparisonRow, check: Option<CheckRow>, can_be_posted: bool) -> Posting {
    if state.local_mode() {
        return Posting::LocalMode;
    }
    match check {
        Some(CheckRow { comparison: Some(shown), concluded_at: Some(at), .. }) if shown == found.id => {
            Posting::Posted(at)
        }
        Some(CheckRow { comparison: Some(_), .. }) => Posting::Superseded,
        _ if can_be_posted => Posting::Queued,
        _ => Posting::NoPullRequest,
    }
}
