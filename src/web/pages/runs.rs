//! `/OWNER/NAME`: the runs of a repository. `/OWNER/NAME/runs/ID`: one run.

use std::collections::HashMap;

use axum::extract::{Path, State};
use axum::http::HeaderMap;

use super::{Page, as_page, at_current_name, run_verdict, site, start};
use crate::web::AppState;
use crate::web::api::repository;
use crate::web::error::WebError;
use pacegate_engine::model::ids::{ComparisonId, RepoName, RunId};
use pacegate_report::page::{HistoryProgress, RawTrace, RunPage, RunRow, RunsPage};
use pacegate_store::RunFilter;

/// Runs on one page.
const RUNS: i64 = 100;

fn comparison_href(repo: &RepoName, id: &ComparisonId) -> String {
    format!("/{repo}/comparisons/{id}")
}

pub(super) async fn runs(
    State(state): State<AppState>,
    Path((owner, repo)): Path<(String, String)>,
    headers: HeaderMap,
) -> Page {
    as_page(&state, &headers, async {
        let row = repository(&state, &headers, &owner, &repo).await?;
        at_current_name(&row, &owner, &repo, "")?;
        let mut tx = state.context.db.read().await?;
        let stored = tx.list_runs(row.id, &row.name, &RunFilter::All, RUNS).await?;
        // Newest first: the first comparison of a run is its newest.
        let mut comparisons: HashMap<RunId, (ComparisonId, String)> = HashMap::new();
        for (run, id, verdict) in tx.comparisons_of_runs(row.id, RUNS * 3).await? {
            comparisons.entry(run).or_insert((id, verdict));
        }
        let history = tx.backfills(row.id).await?.into_iter().filter(|workflow| !workflow.is_done());
        let history: Vec<HistoryProgress> = history
            .map(|workflow| HistoryProgress {
                workflow: workflow.name,
                collected: workflow.collected,
                wanted: workflow.wanted,
                error: workflow.last_error,
            })
            .collect();
        drop(tx);
        let runs = stored
            .into_iter()
            .map(|stored| {
                let comparison = comparisons.get(&stored.run.id);
                RunRow {
                    href: format!("/{}/runs/{}", row.name, stored.run.id),
                    verdict: comparison.and_then(|(_, verdict)| run_verdict(verdict)),
                    comparison_href: comparison.map(|(id, _)| comparison_href(&row.name, id)),
                    run: stored.run,
                }
            })
            .collect();
        let start = start(&state, &row.name.to_string());
        Ok(RunsPage { site: site(&state), repo: row.name, history, runs, older_href: None, start })
    })
    .await
}

pub(super) async fn run(
    State(state): State<AppState>,
    Path((owner, repo, id)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Page {
    as_page(&state, &headers, async {
        let row = repository(&state, &headers, &owner, &repo).await?;
        at_current_name(&row, &owner, &repo, &format!("/runs/{id}"))?;
        let mut tx = state.context.db.read().await?;
        let stored = tx.run(row.id, &row.name, &RunId(id)).await?.ok_or(WebError::NotFound)?;
        let stages = tx.samples(row.id, &stored.run.id).await?;
        let errors = tx.errors(row.id, &stored.run.id).await?;
        let comparison = tx.newest_comparison(row.id, &stored.run.head_sha).await?;
        let kept = tx.kept_trace(row.id, &stored.run.id).await?;
        drop(tx);
        let critical_path = pacegate_engine::gate::verdict::attribute::critical_path(&stages);
        let raw_trace = match kept {
            None => RawTrace::Dropped,
            Some(kept) if kept.is_dropped || kept.trace.is_none() => RawTrace::Dropped,
            Some(kept) => match (kept.kept_by, kept.stored_at) {
                (Some(by), _) => RawTrace::KeptBy(by),
                (None, at) => {
                    RawTrace::Until(at.map(|at| at.after(state.context.trace_settings.full_retention)))
                }
            },
        };
        Ok(RunPage {
            site: site(&state),
            repo_href: format!("/{}", row.name),
            trace_href: (raw_trace != RawTrace::Dropped)
                .then(|| format!("/api/v1/repos/{}/runs/{}/trace", row.name, stored.run.id)),
            trace_url: state.context.trace_url(stored.run.trace_id),
            raw_trace,
            comparison_href: comparison.map(|found| comparison_href(&row.name, &found.id)),
            run: stored.run,
            stages,
            errors,
            critical_path,
        })
    })
    .await
}
