//! Uploads of CI jobs. They are admitted like every push, read within the archive's bounds, checked
//! against their grant or token, and committed before the answer. An upload can't choose its
//! repository.

use std::net::SocketAddr;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::INGRESS;
use crate::web::AppState;
use crate::web::access::{Sender, pushing_repository, token_of};
use crate::web::error::WebError;
use crate::web::ingest::admission::{MemoryReservation, RateKey};
use crate::web::ingest::{Prepared, admit, commit, content_type, read_compressed, refused};
use pacegate_engine::model::ids::CommitSha;
use pacegate_ingest::ci_job::archive::{ARCHIVE_BYTES, ArchiveError, Expected, JobArchive, Manifest};
use pacegate_ingest::ci_job::ids;
use pacegate_ingest::ci_job::upload::{JobUpload, RunSource};
use pacegate_store::{GRANT_PREFIX, GrantRow};

/// Decoding an upload reserves memory as for a body of this size. Its inflated size is not known
/// before; the archive's reader bounds it.
const DECODING_SIZE: usize = 16 << 20;

/// The answer to an accepted upload.
#[derive(Serialize)]
struct Accepted {
    spans: usize,
    rejected: usize,
    message: Option<String>,
    verdict_url: Option<String>,
}

/// The authenticated job.
struct Uploader {
    sender: Sender,
    /// None with an ingest token. A grant decides the run.
    grant: Option<GrantRow>,
}

/// `POST /api/v1/actions/traces`.
pub(super) async fn traces(
    State(state): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, WebError> {
    let accepted = accept(&state, peer, &headers, body).await.map_err(refused(&state, INGRESS))?;
    Ok((StatusCode::ACCEPTED, Json(accepted)).into_response())
}

async fn accept(
    state: &AppState,
    peer: SocketAddr,
    headers: &HeaderMap,
    body: Body,
) -> Result<Accepted, WebError> {
    // Before the body is read: a job without permission must not fill the memory.
    let uploader = uploader(state, headers, peer).await?;
    if content_type(headers) != "application/jsonl" {
        return Err(WebError::UnsupportedMediaType("application/jsonl"));
    }
    let gzip = headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding == "gzip");
    if !gzip {
        return Err(WebError::NotGzip);
    }
    let reservation = admit(state, &uploader.sender)?;
    let body = read_compressed(reservation, headers, body, ARCHIVE_BYTES).await;
    let (reservation, body) = body.map_err(|error| match error {
        WebError::TooLarge { .. } => ArchiveError::TooLarge { limit: ARCHIVE_BYTES as u64 }.into(),
        other => other,
    })?;
    if let Some(grant) = &uploader.grant {
        let mut tx = state.context.db.write().await?;
        let counted = tx.count_upload(grant, body.len()).await?;
        tx.commit().await?;
        if !counted {
            let refusal = WebError::Forbidden(
                "this grant, or its run, reached its limit of uploads; send fewer and larger uploads",
            );
            return Err(log_refusal(&uploader, refusal));
        }
    }
    let (reservation, manifest, prepared) = read(state, &uploader, reservation, body).await?;
    let head_sha = head_of(state, &uploader, &manifest).await?;
    let (spans, outcome) = commit(state, &uploader.sender, reservation, INGRESS, prepared).await?;
    Ok(Accepted {
        spans,
        rejected: outcome.rejected,
        message: outcome.message,
        verdict_url: head_sha.and_then(|sha| {
            let base = state.context.public_url.as_deref()?.trim_end_matches('/');
            Some(format!("{base}/api/v1/repos/{}/commits/{sha}/verdict", uploader.sender.repository.name))
        }),
    })
}

async fn uploader(state: &AppState, headers: &HeaderMap, peer: SocketAddr) -> Result<Uploader, WebError> {
    let Some(secret) = token_of(headers).filter(|token| token.starts_with(GRANT_PREFIX)) else {
        let sender = pushing_repository(state, headers, peer).await.map_err(|error| match error {
            WebError::Unauthorized(_) if !headers.contains_key(header::AUTHORIZATION) => {
                WebError::Unauthorized(
                    "send a grant or an ingest token as `Authorization: Bearer TOKEN`: the action's input `token`, \
                     which `pacegate token create --repo OWNER/NAME` makes",
                )
            }
            other => other,
        })?;
        return Ok(Uploader { sender, grant: None });
    };
    let mut tx = state.context.db.read().await?;
    let unknown =
        || WebError::Unauthorized("this grant is unknown or expired; exchange a new OIDC token of the job");
    let grant = tx.grant(&secret, state.context.clock.now()).await?.ok_or_else(unknown)?;
    let repository = tx.repository(grant.repo).await?.ok_or_else(unknown)?;
    // The App may have been uninstalled or suspended since.
    let installation = repository.installation.ok_or_else(unknown)?;
    tx.installation(installation).await?.filter(|found| !found.suspended).ok_or_else(unknown)?;
    let key = RateKey::of_token(&secret);
    Ok(Uploader { sender: Sender { repository, key, was_forwarded: false }, grant: Some(grant) })
}

/// Decodes and redacts an upload off the async threads.
async fn read(
    state: &AppState,
    uploader: &Uploader,
    mut reservation: MemoryReservation,
    body: Bytes,
) -> Result<(MemoryReservation, Manifest, Prepared), WebError> {
    state.admission.charge(uploader.sender.key, body.len());
    reservation.reserve_decoding(DECODING_SIZE).await?;
    let processor = state.admission.processor().await?;
    let archive = tokio::task::spawn_blocking(move || {
        let _processor = processor;
        JobArchive::from_upload(&body)
    });
    let archive = archive.await.map_err(|e| WebError::Internal(e.into()))?;
    let archive = archive.map_err(|error| log_refusal(uploader, error.into()))?;
    let source =
        run_source(state, uploader, &archive.manifest).map_err(|error| log_refusal(uploader, error))?;
    let (name, redactor) =
        (uploader.sender.repository.name.clone(), state.context.trace_settings.redactor.clone());
    let forwards = state.forwarder.is_some();
    let processor = state.admission.processor().await?;
    let prepared = tokio::task::spawn_blocking(move || {
        let _processor = processor;
        let manifest = archive.manifest.clone();
        let upload = JobUpload::new(archive, &name, source, &redactor);
        let prepared = Prepared::of_job(&upload, &manifest, forwards)?;
        reservation.grow_to(prepared.bytes)?;
        Ok::<_, WebError>((reservation, manifest, prepared))
    });
    prepared.await.map_err(|e| WebError::Internal(e.into()))?.map_err(|error| log_refusal(uploader, error))
}

/// Checks the manifest against the sender. Returns the source that describes the run.
fn run_source(state: &AppState, uploader: &Uploader, manifest: &Manifest) -> Result<RunSource, WebError> {
    let repository = &uploader.sender.repository;
    let is_collected = !state.local_mode() && repository.installation.is_some();
    let grant = uploader.grant.as_ref();
    let attempt = u32::try_from(manifest.run_attempt).unwrap_or(u32::MAX);
    let (run_id, run_attempt) =
        grant.map_or((manifest.run_id, attempt), |grant| (grant.run_id, grant.attempt));
    let check_run_id = grant.and_then(|grant| grant.check_run_id).or(manifest.check_run_id);
    let expected = Expected {
        repository_id: repository.github_id.filter(|_| is_collected),
        run_id,
        run_attempt: i64::from(run_attempt),
        check_run_id,
        head_sha: None,
        trace_id: ids::trace_id(run_id, run_attempt),
    };
    if let Some(contradiction) = manifest.contradiction(&expected) {
        return Err(WebError::BadRequest(format!("the manifest contradicts its sender: {contradiction}")));
    }
    if manifest.check_run_id.is_some_and(|id| ids::job_span_id(id) != manifest.job_span_id) {
        let reason = "the manifest contradicts itself: its job_span_id does not match its check_run_id";
        return Err(WebError::BadRequest(reason.to_owned()));
    }
    if is_collected {
        return Ok(RunSource::Api(check_run_id));
    }
    let is_ours = manifest.repository.eq_ignore_ascii_case(&repository.name.to_string());
    if !manifest.repository.is_empty() && !is_ours {
        let name = &repository.name;
        return Err(WebError::BadRequest(format!(
            "the manifest names another repository, but the token is for {name}"
        )));
    }
    if let Some(unusable) = unusable_run(manifest) {
        return Err(WebError::BadRequest(unusable.to_owned()));
    }
    Ok(RunSource::Manifest)
}

/// Why a manifest that is the only source of a run can't describe one.
fn unusable_run(manifest: &Manifest) -> Option<&'static str> {
    if manifest.head_sha.parse::<CommitSha>().is_err() {
        return Some(
            "the manifest's head_sha is not a commit (7 to 64 hexadecimal digits), so the upload has no commit to be assigned to",
        );
    }
    (manifest.ended_at_unix_nano < manifest.started_at_unix_nano).then_some(
        "the manifest's job ended before it began: check whether the runner's clock changes during jobs",
    )
}

/// The commit whose verdict will include this upload, if it is known.
async fn head_of(
    state: &AppState,
    uploader: &Uploader,
    manifest: &Manifest,
) -> Result<Option<CommitSha>, WebError> {
    if let Some(head_sha) = uploader.grant.as_ref().and_then(|grant| grant.head_sha.clone()) {
        return Ok(Some(head_sha));
    }
    let mut tx = state.context.db.read().await?;
    if let Some(run) = tx.workflow_run(uploader.sender.repository.id, manifest.run_id).await? {
        return Ok(run.head_sha.parse().ok());
    }
    // For a pull request the manifest names only the merge commit.
    let is_collected = !state.local_mode() && uploader.sender.repository.installation.is_some();
    let is_merge = is_collected && manifest.git_ref.starts_with("refs/pull/");
    Ok(manifest.head_sha.parse().ok().filter(|_| !is_merge))
}

/// Logs that an upload was refused, and returns its error.
fn log_refusal(uploader: &Uploader, error: WebError) -> WebError {
    let grant = uploader.grant.as_ref();
    tracing::warn!(
        repo = %uploader.sender.repository.name, run = grant.map(|grant| grant.run_id),
        attempt = grant.map(|grant| grant.attempt), reason = %pacegate_ingest::redact::redacted(error.to_string()),
        "a job's upload was refused"
    );
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_manifest_makes_no_run() {
        for (head_sha, ended, reason) in [
            ("e83c516", "2000", None),
            ("", "2000", Some("head_sha")),
            ("zz", "2000", Some("head_sha")),
            ("e83c516", "999", Some("before it began")),
        ] {
            let manifest = serde_json::json!({
                "schema": 1, "repository": "acme/app", "repository_id": "7", "run_id": "5", "run_attempt": 1,
                "job": "test", "head_sha": head_sha, "trace_id": ids::trace_id(5, 1),
                "job_span_id": "00000000000000aa", "started_at_unix_nano": "1000", "ended_at_unix_nano": ended,
                "files": [],
            });
            let unusable = unusable_run(&serde_json::from_value(manifest).expect("a manifest"));
            assert_eq!(unusable.is_some(), reason.is_some(), "{head_sha:?} {ended}");
            assert!(
                reason.is_none_or(|part| unusable.is_some_and(|text| text.contains(part))),
                "{unusable:?}"
            );
        }
    }
}
