//! The JSON API: verdicts, runs, traces and comparisons. Read-only. A token reads its own
//! repository.

use std::io::Read;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::AppState;
use super::access::{may_read, readable_repository, repository_of_reader};
use super::error::WebError;
use pacegate_engine::model::duration;
use pacegate_engine::model::ids::{CommitSha, ComparisonId, RepoId, RepoName, RunId};
use pacegate_engine::model::run::MeasuredRun;
use pacegate_report::comment::Comment;
use pacegate_report::json::VerdictJson;
use pacegate_report::note::with_sentences;
use pacegate_store::{KeptTrace, RepositoryRow, RunFilter};

/// The longest wait for a verdict.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// Runs in one answer.
const RUNS: i64 = 100;
/// The largest trace that is sent uncompressed.
const TRACE_LIMIT: u64 = 192 << 20;

/// Routes below `/api/v1`.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/repos/{owner}/{repo}/commits/{sha}/verdict", get(verdict))
        .route("/repos/{owner}/{repo}/commits/{sha}/report", get(report))
        .route("/repos/{owner}/{repo}/runs", get(runs))
        .route("/repos/{owner}/{repo}/runs/{id}", get(run))
        .route("/repos/{owner}/{repo}/runs/{id}/trace", get(trace))
        .route("/comparisons/{id}", get(comparison))
        .fallback(async || WebError::NotFound)
}

/// The repository in the path, if the reader may see it.
pub(super) async fn repository(
    state: &AppState,
    headers: &HeaderMap,
    owner: &str,
    repo: &str,
) -> Result<RepositoryRow, WebError> {
    let name: RepoName = format!("{owner}/{repo}").parse().map_err(|_| WebError::NotFound)?;
    readable_repository(state, headers, &name).await
}

/// The commit in the path: complete, or a prefix of exactly one known commit.
async fn commit(state: &AppState, repo: RepoId, text: &str) -> Result<CommitSha, WebError> {
    let sha: CommitSha = text.parse().map_err(|e| WebError::BadRequest(format!("{e}")))?;
    if sha.as_str().len() >= 40 {
        return Ok(sha);
    }
    let mut known = state.context.db.read().await?.commits_like(repo, &sha).await?;
    match (known.pop(), known.pop()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(WebError::NotFound),
        (Some(_), Some(_)) => Err(WebError::BadRequest(format!("more than one commit begins with {sha}"))),
    }
}

#[derive(Deserialize)]
struct VerdictQuery {
    wait: Option<String>,
}

#[derive(Serialize)]
struct Pending {
    status: &'static str,
    detail: &'static str,
}

async fn verdict(
    State(state): State<AppState>,
    Path((owner, repo, sha)): Path<(String, String, String)>,
    Query(query): Query<VerdictQuery>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let row = repository(&state, &headers, &owner, &repo).await?;
    let sha = commit(&state, row.id, &sha).await?;
    let wait =
        query.wait.as_deref().map_or(Ok(Duration::ZERO), duration::parse).map_err(WebError::BadRequest)?;
    let waited = tokio::time::timeout(wait.min(LONGEST_WAIT), wait_for_verdict(&state, row.id, &sha)).await;
    let verdict = match waited {
        Ok(verdict) => Some(verdict?),
        Err(_) => find_verdict(&state, row.id, &sha).await?,
    };
    Ok(verdict.map_or_else(
        || {
            let detail = "there is no verdict for this commit yet; it is made when the trace is complete";
            (StatusCode::ACCEPTED, Json(Pending { status: "pending", detail })).into_response()
        },
        |verdict| Json(verdict).into_response(),
    ))
}

async fn wait_for_verdict(state: &AppState, repo: RepoId, sha: &CommitSha) -> Result<VerdictJson, WebError> {
    loop {
        if let Some(verdict) = find_verdict(state, repo, sha).await? {
            return Ok(verdict);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn find_verdict(
    state: &AppState,
    repo: RepoId,
    sha: &CommitSha,
) -> Result<Option<VerdictJson>, WebError> {
    let row = state.context.db.read().await?.newest_comparison(repo, sha).await?;
    Ok(row.map(|row| VerdictJson::from(&row.comparison)))
}

/// Check and comment of a commit, as posted to GitHub. In local mode nothing is posted.
#[derive(Serialize)]
struct Published {
    check: PublishedCheck,
    comment: PublishedComment,
}

#[derive(Serialize)]
struct PublishedCheck {
    conclusion: &'static str,
    title: String,
    summary: String,
    text: String,
}

#[derive(Serialize)]
struct PublishedComment {
    /// `post`, `resolve` (an earlier comment is changed, no new one is made) or `none`.
    action: &'static str,
    body: Option<String>,
}

async fn report(
    State(state): State<AppState>,
    Path((owner, repo, sha)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let row = repository(&state, &headers, &owner, &repo).await?;
    let sha = commit(&state, row.id, &sha).await?;
    let found =
        state.context.db.read().await?.newest_comparison(row.id, &sha).await?.ok_or(WebError::NotFound)?;
    let report = state.context.report(&row.name, found);
    let check = report.check();
    let (action, body) = match report.comment() {
        Comment::Post(body) => ("post", Some(body)),
        Comment::ResolveOnly(body) => ("resolve", Some(body)),
        Comment::Silent => ("none", None),
    };
    let published = Published {
        check: PublishedCheck {
            conclusion: check.conclusion.as_str(),
            title: check.title,
            summary: check.summary,
            text: check.text,
        },
        comment: PublishedComment { action, body },
    };
    Ok(Json(published).into_response())
}

#[derive(Deserialize)]
struct RunsQuery {
    sha: Option<String>,
}

async fn runs(
    State(state): State<AppState>,
    Path((owner, repo)): Path<(String, String)>,
    Query(query): Query<RunsQuery>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let row = repository(&state, &headers, &owner, &repo).await?;
    let filter = match query.sha {
        Some(sha) => RunFilter::Head(sha.parse().map_err(|e| WebError::BadRequest(format!("{e}")))?),
        None => RunFilter::All,
    };
    let runs = state.context.db.read().await?.list_runs(row.id, &row.name, &filter, RUNS).await?;
    let runs: Vec<_> = runs.into_iter().map(|stored| with_sentences(stored.run)).collect();
    Ok(Json(serde_json::json!({ "runs": runs })).into_response())
}

async fn run(
    State(state): State<AppState>,
    Path((owner, repo, id)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let row = repository(&state, &headers, &owner, &repo).await?;
    let mut tx = state.context.db.read().await?;
    let stored = tx.run(row.id, &row.name, &RunId(id)).await?.ok_or(WebError::NotFound)?;
    let stages = tx.samples(row.id, &stored.run.id).await?;
    let errors = tx.errors(row.id, &stored.run.id).await?;
    let kept = tx.kept_trace(row.id, &stored.run.id).await?;
    drop(tx);
    let url = state.context.trace_url(stored.run.trace_id);
    let trace = RunTrace::of(kept, url);
    Ok(Json(RunAnswer { measured: MeasuredRun { run: with_sentences(stored.run), stages, errors }, trace })
        .into_response())
}

/// A run, and whether its raw trace is kept.
#[derive(Serialize)]
struct RunAnswer {
    #[serde(flatten)]
    measured: MeasuredRun,
    trace: RunTrace,
}

#[derive(Serialize)]
struct RunTrace {
    kept: bool,
    /// The policy that keeps it, or `reported`; `null` when it is kept only for the first days.
    by: Option<String>,
    /// Link to the operator's trace viewer.
    url: Option<String>,
}

impl RunTrace {
    fn of(kept: Option<KeptTrace>, url: Option<String>) -> Self {
        let kept = kept.filter(|kept| kept.trace.is_some() && !kept.is_dropped);
        Self { kept: kept.is_some(), by: kept.and_then(|kept| kept.kept_by), url }
    }
}

async fn trace(
    State(state): State<AppState>,
    Path((owner, repo, id)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let row = repository(&state, &headers, &owner, &repo).await?;
    let kept =
        state.context.db.read().await?.kept_trace(row.id, &RunId(id)).await?.ok_or(WebError::NotFound)?;
    let trace_id = kept.trace.ok_or(WebError::NotFound)?;
    if kept.is_dropped {
        return Err(WebError::Gone(
            "the raw trace was dropped, because no policy keeps it; the run's durations are still here",
        ));
    }
    let missing =
        WebError::Gone("the raw trace is missing in the trace store; the run's durations are still here");
    let gzip = state.context.traces.get(row.id, trace_id).await?.ok_or(missing)?;
    let accepts = headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if accepts.split(',').any(|one| one.split(';').next().unwrap_or_default().trim() == "gzip") {
        let kind = [(header::CONTENT_TYPE, "application/json"), (header::CONTENT_ENCODING, "gzip")];
        return Ok((kind, gzip).into_response());
    }
    let json = tokio::task::spawn_blocking(move || {
        let mut json = Vec::new();
        flate2::read::GzDecoder::new(gzip.as_slice()).take(TRACE_LIMIT).read_to_end(&mut json)?;
        if json.len() as u64 == TRACE_LIMIT {
            return Err(std::io::Error::other("a trace of this size is only sent compressed"));
        }
        Ok(json)
    });
    let json =
        json.await.map_err(|e| WebError::Internal(e.into()))?.map_err(|e| WebError::Internal(e.into()))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

async fn comparison(
    State(state): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let id = ComparisonId(id);
    let of_token = repository_of_reader(&state, &headers).await?;
    let mut tx = state.context.db.read().await?;
    let repo = tx.repository_of_comparison(&id).await?.ok_or(WebError::NotFound)?;
    let row =
        tx.repository(repo).await?.filter(|row| may_read(&state, of_token, row)).ok_or(WebError::NotFound)?;
    let found = tx.comparison(row.id, &id).await?.ok_or(WebError::NotFound)?;
    Ok(Json(VerdictJson::from(&found.comparison)).into_response())
}
