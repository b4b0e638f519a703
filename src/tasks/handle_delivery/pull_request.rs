//! Handles changes of a pull request: records its current state and begins an evaluation of a new head.

use std::time::Duration;

use super::Delivery;
use crate::tasks::evaluate::evaluation::{begin, evaluate_again};
use crate::tasks::publish::conclude_superseded_check::ConcludeSupersededCheck;
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
    let context = delivery.context;
    let Some(app) = &context.app else { return Ok(()) };
    let mut tx = context.db.write().await?;
    let Some(row) = delivery.record_repository(&mut tx).await? else { return Ok(()) };
    tx.commit().await?;
    let client = delivery.client(app, &row.name, Purpose::ReadPullRequests).await?;
    let now_on_github = client.pull_request(number).await?;
    if is_stale(&now_on_github, &sent) && context.clock.now() < sent.1.after(LAG) {
        return Err(TaskError::TooEarly(AGAIN));
    }
    record(context, row.id, now_on_github, Some(sent), &format!("delivery {}", delivery.id)).await
}

/// GitHub's reads may lag behind its deliveries by this time.
const LAG: Duration = Duration::from_mins(2);
/// Delay before a lagging pull request is read again.
const AGAIN: Duration = Duration::from_secs(3);

/// Whether GitHub's answer is older than the delivery. Then the delivered head is the newer one and must
/// not count as superseded.
fn is_stale(answer: &PullRequest, (sent_head, sent_at): &(CommitSha, Timestamp)) -> bool {
    let changed = answer.updated_at.as_deref().and_then(Timestamp::parse_rfc3339);
    answer.head.sha != *sent_head && changed.is_some_and(|changed| changed < *sent_at)
}

/// Records the current state of a pull request and begins or repeats evaluations. `sent` is the head in the
/// delivery, and the time of the change.
pub(in crate::tasks) async fn record(
    context: &WorkerContext,
    repo: RepoId,
    now_on_github: PullRequest,
    sent: Option<(CommitSha, Timestamp)>,
    cause: &str,
) -> Result<(), TaskError> {
    let now = context.clock.now();
    let number = PrNumber(now_on_github.number);
    let is_open = now_on_github.state == "open";
    let is_from_fork = now_on_github.is_from_fork();
    let in_repository = now_on_github.repository_id();
    let merged_at = now_on_github.merged_at.as_deref().and_then(Timestamp::parse_rfc3339);
    let head_sha = now_on_github.head.sha;
    let (sent_head, sent_at) = sent.unwrap_or_else(|| (head_sha.clone(), now));
    let mut tx = context.db.write().await?;
    if tx.repository(repo).await?.is_some_and(|row| {
        row.github_id.is_some() && in_repository.is_some() && row.github_id != in_repository
    }) {
        // Two repositories exchanged their names.
        tracing::warn!(repo = repo.0, "GitHub has another repository under this name; nothing was recorded");
        return Ok(());
    }
    // The lock orders this with the collection of runs: either the run finds this pull request, or this
    // finds the run.
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
        // Seen for the first time. Its own delivery has the exact time.
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
                begin(context, &mut tx, repo, head, 1, "announced").await?;
            }
            // The base or state changed, the head moved back, or runs of an earlier push were added.
            if joined > 0 || before.is_some_and(|before| before != pull_request) {
                evaluate_again(context, &mut tx, repo, &head_sha, cause.to_owned()).await?;
            }
            for (old, evaluation) in tx.superseded_checks(repo, number, &head_sha).await? {
                let conclude = ConcludeSupersededCheck { repo, head_sha: old, evaluation };
                conclude.push(&mut tx, now, &context.rng, now).await?;
            }
        }
    }
    tx.commit().await?;
    Ok(())
}
