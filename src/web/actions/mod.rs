//! The fast path of the companion action. A CI job authenticates with its OIDC token and gets a
//! grant for some minutes. With it the job uploads the spans of its steps. The verified token decides
//! the run; an upload can't name another one.

mod upload;

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Serialize;

use super::AppState;
use super::access::token_of;
use super::error::WebError;
use crate::metrics::Metrics;
use crate::tasks::error_chain;
use pacegate_engine::model::ids::CommitSha;
use pacegate_github::oidc::{JobToken, OidcError};
use pacegate_store::{Granted, JobTokenUse, NewGrant, RepositoryRow, TOKEN_PREFIX, Tx};

/// Label in the metrics.
const INGRESS: &str = "actions";
/// How long a grant is valid. Uploads follow at once.
const GRANT_LIFETIME: Duration = Duration::from_mins(15);

/// Routes below `/api/v1/actions`.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/grants", post(grants))
        .route("/traces", post(upload::traces))
        .method_not_allowed_fallback(|| async { WebError::WrongMethod })
}

/// The answer with a new grant.
#[derive(Serialize)]
struct Grant {
    #[serde(rename = "grant")]
    secret: String,
    expires_at: String,
    repository: String,
    run_id: String,
    run_attempt: u32,
    check_run_id: Option<String>,
}

/// `POST /api/v1/actions/grants`.
async fn grants(State(state): State<AppState>, headers: HeaderMap) -> Result<Response, WebError> {
    let granted = exchange(&state, &headers).await;
    if granted.is_err() {
        Metrics::count(&state.context.metrics.refused_requests, INGRESS, "grant");
    }
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    granted.map(|grant| (StatusCode::CREATED, no_store, Json(grant)).into_response())
}

async fn exchange(state: &AppState, headers: &HeaderMap) -> Result<Grant, WebError> {
    if token_of(headers).is_some_and(|token| token.starts_with(TOKEN_PREFIX)) {
        tracing::info!(reason = "it is an ingest token", "a job's token was refused");
        return Err(WebError::Unauthorized(
            "this is an ingest token, which needs no grant: send it with the upload, to /api/v1/actions/traces",
        ));
    }
    let Some(verifier) = state.oidc.as_ref().filter(|_| !state.local_mode()) else {
        return Err(WebError::Forbidden(
            "this service has no GitHub App, so jobs can't authenticate with OIDC: send with an ingest token \
             (`pacegate token create --repo OWNER/NAME`)",
        ));
    };
    let Some(audience) = state.context.public_url.as_deref() else {
        return Err(WebError::Forbidden(
            "this service does not know its public URL, which must be the audience of a job's token: set PACEGATE_PUBLIC_URL",
        ));
    };
    let Some(token) = token_of(headers) else {
        return Err(WebError::Unauthorized(
            "send the job's OIDC token as `Authorization: Bearer TOKEN`; the job needs the permission id-token: write",
        ));
    };
    let job = verifier.verify(&token, audience).await.inspect_err(|error| match error {
        OidcError::Unavailable { .. } | OidcError::Configuration(_) => {}
        // The token is not verified, so the log does not repeat its claims.
        refused => tracing::info!(reason = %error_chain(refused), "a job's token was refused"),
    })?;
    grant(state, &job).await.inspect_err(|error| {
        tracing::warn!(
            repo = %job.repository, run = job.run_id, attempt = job.run_attempt, event = job.event,
            reason = %error, "a job got no grant"
        );
    })
}

/// Exchanges a verified token for a grant.
async fn grant(state: &AppState, job: &JobToken) -> Result<Grant, WebError> {
    let (context, now) = (&state.context, state.context.clock.now());
    let mut tx = context.db.write().await?;
    let repository = installed(&mut tx, job).await?;
    let expires_at = now.after(GRANT_LIFETIME);
    let new = NewGrant {
        repo: repository.id,
        run_id: job.run_id,
        attempt: job.run_attempt,
        check_run_id: job.check_run_id,
        head_sha: head_of(&mut tx, &repository, job).await?,
        expires_at,
    };
    let token = JobTokenUse { id: &job.id, usable_until: job.usable_until };
    let secret = match tx.create_grant(&new, token, &context.rng, now).await? {
        Granted::New(secret) => secret,
        Granted::Replayed => {
            return Err(WebError::Unauthorized("this token was exchanged before; ask GitHub for a new one"));
        }
        Granted::TooMany => {
            return Err(WebError::Forbidden(
                "this attempt of the run got too many grants; request one grant for each job",
            ));
        }
    };
    tx.commit().await?;
    tracing::debug!(repo = %repository.name, run = job.run_id, attempt = job.run_attempt, "a job got a grant");
    Ok(Grant {
        secret,
        expires_at: expires_at.to_rfc3339(),
        repository: repository.name.to_string(),
        run_id: job.run_id.to_string(),
        run_attempt: job.run_attempt,
        check_run_id: job.check_run_id.map(|id| id.to_string()),
    })
}

/// The repository of a job, if the App is installed on it. Jobs of a fork's pull request are refused.
async fn installed(tx: &mut Tx, job: &JobToken) -> Result<RepositoryRow, WebError> {
    const NOT_INSTALLED: WebError = WebError::Forbidden(
        "the App is not installed on this repository, or is suspended there: install it, or send with an ingest \
         token (`pacegate token create --repo OWNER/NAME`)",
    );
    let repository = tx.find_repository_by_github_id(job.repository_id).await?.ok_or(NOT_INSTALLED)?;
    let installation = repository.installation.ok_or(NOT_INSTALLED)?;
    tx.installation(installation).await?.filter(|found| !found.suspended).ok_or(NOT_INSTALLED)?;
    if let Some(number) = job.pull_request
        && tx.pull_request(repository.id, number).await?.is_some_and(|pull| pull.is_from_fork)
    {
        // GitHub gives them no token, unless it is configured to.
        return Err(WebError::Forbidden(
            "jobs of a fork's pull request get no grant; their artifact is still collected",
        ));
    }
    Ok(repository)
}

/// The commit that a job's run belongs to. For a pull request the token names only the merge commit,
/// so the head comes from the stored workflow run.
async fn head_of(
    tx: &mut Tx,
    repository: &RepositoryRow,
    job: &JobToken,
) -> Result<Option<CommitSha>, WebError> {
    if job.pull_request.is_none() {
        return Ok(Some(job.sha.clone()));
    }
    let stored = tx.workflow_run(repository.id, job.run_id).await?;
    Ok(stored.and_then(|run| run.head_sha.parse().ok()))
}
