//! A pull request's head or state changed: what GitHub says of it now is recorded, and a head that
//! is new gets its evaluation.

use std::time::Duration;

use super::Delivery;
use crate::tasks::evaluate::evaluation::{begin, judge_again};
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, PrNumber, RepoId};
use pacegate_engine::model::time::Timestamp;
use pacegate_github::app_auth::Purpose;
use pacegate_github::pulls::PullRequest;
use pacegate_store::PullRequestRow;

pub(super) async fn changed(
    delivery: Delivery<'_>,
    number: PrNumber,
    sent: (CommitSha, Timestamp),
) -> Result<(), TaskError> {
    let work = delivery.work;
    let Some(app) = &work.app else { return Ok(()) };
    let mut tx = work.db.write().await?;
    let Some(row) = delivery.record_repository(&mut tx).await? else { return Ok(()) };
    tx.commit().await?;
    let client = delivery.client(app, &row.name, Purpose::ReadPullRequests).await?;
    let now_on_github = client.pull_request(number).await?;
    if is_stale(&now_on_github, &sent) && work.clock.now() < sent.1.after(STALE) {
        return Err(TaskError::TooEarly(AGAIN));
    }
    record(work, row.id, now_on_github, Some(sent), &format!("delivery {}", delivery.id)).await
}

/// How long GitHub's reads may lag behind its deliveries.
const STALE: Duration = Duration::from_mins(2);
/// When it is asked again.
const AGAIN: Duration = Duration::from_secs(3);

/// Whether GitHub answers with a state from before the delivery: the head it delivered is then the
/// newer one, and must not be taken for a replaced one.
fn is_stale(answer: &PullRequest, (sent_head, sent_at): &(CommitSha, Timestamp)) -> bool {
    let changed = answer.updated_at.as_deref().and_then(Timestamp::parse_rfc3339);
    answer.head.sha != *sent_head && changed.is_some_and(|changed| changed < *sent_at)
}

/// Records what GitHub says of a pull request now, and what follows from it. `sent`: a head it
/// had when a delivery was sent, and when that was.
pub(in crate::tasks) async fn record(
    work: &WorkerContext,
    repo: RepoId,
    now_on_github: PullRequest,
    sent: Option<(CommitSha, Timestamp)>,
    cause: &str,
) -> Result<(), TaskError> {
    let now = work.clock.now();
    let number = PrNumber(now_on_github.number);
    let is_open = now_on_github.state == "open";
    let is_from_fork = now_on_github.is_from_fork();
    let in_repository = now_on_github.repository_id();
    let merged_at = now_on_github.merged_at.as_deref().and_then(Timestamp::parse_rfc3339);
    let head_sha = now_on_github.head.sha;
    let (sent_head, sent_at) = sent.unwrap_or_else(|| (head_sha.clone(), now));
    let mut tx = work.db.write().await?;
    if tx.repository(repo).await?.is_some_and(|row| {
        row.github_id.is_some() && in_repository.is_some() && row.github_id != in_repository
    }) {
        // Two repositories changed names, and this is not the one that was meant.
        tracing::warn!(
            repo = repo.0,
            "GitHub answers for another repository of this name; nothing was recorded"
        );
        return Ok(());
    }
    // A run that is collected meanwhile either sees this pull request or is seen by it.
    tx.lock_repository(repo).await?;
    let pull_request = PullRequestRow {
        number,
        is_open,
        head_sha: head_sha.clone(),
        base_branch: now_on_github.base.name,
        base_sha: Some(now_on_github.base.sha),
        is_from_fork,
    };
    let before = tx.pull_request(repo, number).await?;
    tx.record_pull_request(repo, &pull_request, now).await?;
    tx.record_head(repo, number, &sent_head, sent_at).await?;
    if head_sha != sent_head {
        // Seen now for the first time; its own delivery says when it really came.
        tx.record_head(repo, number, &head_sha, now).await?;
    }
    if let Some(merged_at) = merged_at {
        tx.merge_decisions(repo, number, merged_at).await?;
    }
    if is_open || is_from_fork {
        let mut joined = 0;
        for head in [&sent_head, &head_sha] {
            joined += tx.assign_runs_to_pull_request(repo, head, number, is_from_fork).await?;
        }
        if is_open {
            for head in [&sent_head, &head_sha] {
                begin(work, &mut tx, repo, head, 1, "announced").await?;
            }
            // Another base, reopened, moved back to an earlier head; or an earlier push that is
            // heard of late, and is a sample of the change too.
            if joined > 0 || before.is_some_and(|before| before != pull_request) {
                judge_again(work, &mut tx, repo, &head_sha, cause.to_owned()).await?;
            }
            for (old, evaluation) in tx.superseded_checks(repo, number, &head_sha).await? {
                let conclude = Task::ConcludeSupersededCheck { repo, head_sha: old, evaluation };
                conclude.push(&mut tx, now, &work.rng, now).await?;
            }
        }
    }
    tx.commit().await?;
    Ok(())
}
