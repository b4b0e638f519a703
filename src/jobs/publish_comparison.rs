//! Puts the newest comparison of a pull request's head on GitHub: the check run and the one
//! comment. Both are found before they are made and compared before they are written, so that
//! a second run of this job changes nothing.

use super::publishing::{client, ensure_check_run, of_report};
use super::{JobError, Work};
use crate::github::RepoClient;
use crate::github::app_auth::Purpose;
use crate::github::checks::CheckRunState;
use crate::model::ids::{CommitSha, ComparisonId, PrNumber, RepoId};
use crate::report::Report;
use crate::report::comment::{Comment, MARKER};
use crate::store::{ComparisonRow, RepositoryRow};

pub(super) async fn publish_comparison(
    work: &Work,
    repo: RepoId,
    head_sha: &CommitSha,
) -> Result<(), JobError> {
    let mut tx = work.db.read().await?;
    let (Some(row), Some(pull_request)) =
        (tx.newest_comparison(repo, head_sha).await?, tx.pull_request_of_head(repo, head_sha).await?)
    else {
        // Only GitHub says which pull request a commit belongs to: without its word, no check.
        return Ok(());
    };
    let evaluation = tx.newest_check(repo, head_sha).await?.map_or(row.evaluation, |check| check.evaluation);
    drop(tx);
    if evaluation != row.evaluation {
        return Ok(()); // asked for again meanwhile: the next evaluation publishes
    }
    let Some((repository, client)) = client(work, repo, Purpose::Publish).await? else { return Ok(()) };
    let comparison = row.id.clone();
    // The pull request is GitHub's word, whatever the spans claimed.
    let report =
        work.report(&repository.name, ComparisonRow { pull_request: Some(pull_request.number), ..row });
    publish_check(work, &client, repo, head_sha, evaluation, &comparison, &report).await?;
    // The comment speaks for the newest head only.
    if pull_request.head_sha == *head_sha && pull_request.is_open {
        publish_comment(work, &client, &repository, pull_request.number, &comparison, report.comment())
            .await?;
    }
    Ok(())
}

async fn publish_check(
    work: &Work,
    client: &RepoClient,
    repo: RepoId,
    head_sha: &CommitSha,
    evaluation: i64,
    comparison: &ComparisonId,
    report: &Report,
) -> Result<(), JobError> {
    let check_run = ensure_check_run(work, client, repo, head_sha, evaluation).await?;
    let check = report.check();
    let state = CheckRunState::Completed(check.conclusion.as_str());
    let output = of_report(check);
    if !check_run.shows(&state, &output) {
        let details_url = report.context().page_url.as_deref();
        client.update_check_run(check_run.id, &state, details_url, &output).await?;
    }
    let mut tx = work.db.write().await?;
    tx.conclude_check(repo, head_sha, evaluation, Some(comparison), work.clock.now()).await?;
    tx.commit().await?;
    Ok(())
}

async fn publish_comment(
    work: &Work,
    client: &RepoClient,
    repository: &RepositoryRow,
    number: PrNumber,
    comparison: &ComparisonId,
    comment: Comment,
) -> Result<(), JobError> {
    let (body, may_create) = match comment {
        Comment::Silent => return Ok(()),
        Comment::ResolveOnly(body) => (body, false),
        Comment::Post(body) => (body, true),
    };
    let mut tx = work.db.read().await?;
    let stored = tx.comment(repository.id, number).await?;
    drop(tx);
    let mut existing = None;
    if let Some((id, shown)) = stored {
        if shown == *comparison {
            return Ok(());
        }
        // `None`: somebody deleted it.
        existing = client.update_comment(id, &body).await?.map(|comment| comment.id);
    }
    if existing.is_none() {
        existing = match client.find_comment(number, MARKER).await? {
            Some(found) if found.body.as_deref() == Some(body.as_str()) => Some(found.id),
            Some(found) => client.update_comment(found.id, &body).await?.map(|comment| comment.id),
            None => None,
        };
    }
    let id = match existing {
        Some(id) => id,
        None if may_create => client.create_comment(number, &body).await?.id,
        None => return Ok(()),
    };
    let mut tx = work.db.write().await?;
    tx.record_comment(repository.id, number, id, comparison).await?;
    tx.commit().await?;
    Ok(())
}
