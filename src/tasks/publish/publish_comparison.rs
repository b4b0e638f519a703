//! Puts the newest comparison of a pull request's head into its check run, which is found before
//! it is made and compared before it is written, so that a second run of this job changes
//! nothing. While runs of the head are still waited for, the check says so and no more; before it is
//! concluded for the first time GitHub is asked whether there are others. The comment is a job of
//! its own: it belongs to the pull request, not to a head.

use super::publishing::{client, ensure_check_run, of_report, show_awaited};
use crate::tasks::evaluate::evaluation::{Awaited, Target};
use crate::tasks::reconcile::listed_runs;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_github::app_auth::Purpose;
use pacegate_store::ComparisonRow;

pub(in crate::tasks) async fn publish_comparison(
    work: &WorkerContext,
    repo: RepoId,
    head_sha: &CommitSha,
    cause: &str,
    patience_ended: bool,
) -> Result<(), TaskError> {
    let mut tx = work.db.read().await?;
    let (Some(row), Some(target)) =
        (tx.newest_comparison(repo, head_sha).await?, Target::of(&mut tx, repo, head_sha).await?)
    else {
        // Only GitHub says what a commit is for: without its word, no check.
        return Ok(());
    };
    let check = tx.newest_check(repo, head_sha).await?;
    let evaluation = check.as_ref().map_or(row.evaluation, |check| check.evaluation);
    let mut awaited = Awaited::of(work, &mut tx, repo, head_sha).await?;
    drop(tx);
    if evaluation != row.evaluation {
        return Ok(()); // asked for again meanwhile: the next evaluation publishes
    }
    let Some((repository, client)) = client(work, repo, Purpose::WriteChecks).await? else { return Ok(()) };
    // A check that was concluded stays so; one that was not says nothing before all is known.
    let was_concluded = check.is_some_and(|check| check.concluded_at.is_some());
    if !was_concluded && !patience_ended {
        if awaited.is_empty() {
            // A run may be known to GitHub alone: its delivery is late, or was lost.
            listed_runs::ask(work, repo, head_sha).await?;
            awaited = Awaited::of(work, &mut work.db.read().await?, repo, head_sha).await?;
        }
        if !awaited.is_empty() {
            return show_awaited(work, &client, repo, head_sha, evaluation, &awaited).await;
        }
    }
    let comparison = row.id.clone();
    // The pull request is GitHub's word, whatever the spans claimed.
    let report = work.report(&repository.name, ComparisonRow { pull_request: target.number(), ..row });
    let check_run = ensure_check_run(work, &client, repo, head_sha, evaluation).await?;
    let check = match awaited.names() {
        unread if unread.is_empty() => report.check(),
        unread => report.check().beside_unread(&unread),
    };
    let conclusion = check.conclusion.as_str();
    let output = of_report(check);
    if !check_run.shows(conclusion, &output) {
        let details_url = report.context().page_url.as_deref();
        client.conclude_check_run(&check_run, conclusion, details_url, &output).await?;
    }
    let now = work.clock.now();
    let mut tx = work.db.write().await?;
    tx.conclude_check(repo, head_sha, evaluation, Some(&comparison), now).await?;
    if let Some(number) = target.number() {
        let comment = Task::PublishComment { repo, number, comparison, cause: cause.to_owned() };
        comment.push(&mut tx, now, &work.rng, now).await?;
    }
    tx.commit().await?;
    Ok(())
}
