//! Puts the newest comparison of a head into its check run. While runs of the head are awaited, the check
//! shows only that. Before the first conclusion, GitHub is asked for runs that no delivery announced.
//! The comment is a separate task: it belongs to the pull request, not to a head.

use serde::{Deserialize, Serialize};

use super::check_run::{ensure_check_run, of_report, show_awaited};
use super::publish_comment::PublishComment;
use crate::tasks::evaluate::evaluation::{Awaited, Target};
use crate::tasks::github_client::client;
use crate::tasks::reconcile::listed_runs;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, ComparisonId, RepoId};
use pacegate_github::app_auth::Purpose;
use pacegate_store::ComparisonRow;

/// `comparison` and `cause` make the key: equal comparisons for another cause are published again.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PublishComparison {
    pub(crate) repo: RepoId,
    pub(crate) head_sha: CommitSha,
    pub(crate) comparison: ComparisonId,
    pub(crate) cause: String,
}

impl Task for PublishComparison {
    const KIND: &'static str = "publish_comparison";

    fn repo(&self) -> Option<RepoId> {
        Some(self.repo)
    }

    fn dedupe_key(&self) -> String {
        format!("{}:{}:{}", self.repo.0, self.comparison, self.cause)
    }

    fn serial_key(&self) -> Option<String> {
        Some(super::serial_key(self.repo, &self.head_sha))
    }

    async fn run(self, context: &WorkerContext) -> Result<(), TaskError> {
        publish_comparison(context, self.repo, &self.head_sha, &self.cause, false).await
    }
}

/// With `timed_out`, the check is concluded although runs are still awaited.
pub(super) async fn publish_comparison(
    context: &WorkerContext,
    repo: RepoId,
    head_sha: &CommitSha,
    cause: &str,
    timed_out: bool,
) -> Result<(), TaskError> {
    let mut tx = context.db.read().await?;
    let (Some(row), Some(target)) =
        (tx.newest_comparison(repo, head_sha).await?, Target::of(&mut tx, repo, head_sha).await?)
    else {
        // A commit that GitHub has not announced as a head gets no check.
        return Ok(());
    };
    let check = tx.newest_check(repo, head_sha).await?;
    let evaluation = check.as_ref().map_or(row.evaluation, |check| check.evaluation);
    let mut awaited = Awaited::of(context, &mut tx, repo, head_sha).await?;
    drop(tx);
    if evaluation != row.evaluation {
        return Ok(()); // requested again meanwhile: the next evaluation publishes
    }
    let Some((repository, client)) = client(context, repo, Purpose::WriteChecks).await? else {
        return Ok(());
    };
    // A concluded check stays concluded. A pending one is concluded when nothing is awaited any more.
    let was_concluded = check.is_some_and(|check| check.concluded_at.is_some());
    if !was_concluded && !timed_out {
        if awaited.is_empty() {
            // A run may be known to GitHub alone: its delivery is late, or was lost.
            listed_runs::refresh(context, repo, head_sha).await?;
            awaited = Awaited::of(context, &mut context.db.read().await?, repo, head_sha).await?;
        }
        if !awaited.is_empty() {
            return show_awaited(context, &client, repo, head_sha, evaluation, &awaited).await;
        }
    }
    let comparison = row.id.clone();
    // The pull request comes from GitHub, never from the spans.
    let report = context.report(&repository.name, ComparisonRow { pull_request: target.number(), ..row });
    let check_run = ensure_check_run(context, &client, repo, head_sha, evaluation).await?;
    let check = match awaited.names() {
        unread if unread.is_empty() => report.check(),
        unread => report.check().with_unread_runs(&unread),
    };
    let conclusion = check.conclusion.as_str();
    let output = of_report(check);
    if !check_run.shows(conclusion, &output) {
        let details_url = report.context().page_url.as_deref();
        client.conclude_check_run(&check_run, conclusion, details_url, &output).await?;
    }
    let now = context.clock.now();
    let mut tx = context.db.write().await?;
    tx.conclude_check(repo, head_sha, evaluation, Some(&comparison), now).await?;
    if let Some(number) = target.number() {
        let comment = PublishComment { repo, number, comparison, cause: cause.to_owned() };
        comment.push(&mut tx, now, &context.rng, now).await?;
    }
    tx.commit().await?;
    Ok(())
}
