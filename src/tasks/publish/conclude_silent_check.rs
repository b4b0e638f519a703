//! A check no trace came for is concluded as neutral, with the reason: nothing waits forever.

use std::time::Duration;

use super::publish_comparison::publish_comparison;
use super::publishing::{client, conclude_unjudged};
use crate::tasks::evaluate::evaluation::Awaited;
use crate::tasks::queue::missing_permission;
use crate::tasks::reconcile::listed_runs::{self, Listing};
use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_github::app_auth::Purpose;
use pacegate_report::check::NotJudged;

/// How often an archived repository is looked at.
const ARCHIVED: Duration = Duration::from_hours(2);

pub(in crate::tasks) async fn conclude_silent_check(
    work: &WorkerContext,
    repo: RepoId,
    head_sha: &CommitSha,
    evaluation: i64,
) -> Result<(), TaskError> {
    let mut tx = work.db.read().await?;
    let concluded =
        tx.check(repo, head_sha, evaluation).await?.is_none_or(|check| check.concluded_at.is_some());
    let has_verdict =
        tx.newest_comparison(repo, head_sha).await?.is_some_and(|row| row.evaluation == evaluation);
    let archived = tx.repository(repo).await?.is_some_and(|repository| repository.archived);
    drop(tx);
    if concluded {
        return Ok(());
    }
    if archived {
        // No call is made: only our own row is looked at until somebody brings it back.
        return Err(TaskError::TooEarly(ARCHIVED.min(work.check_timeout)));
    }
    if has_verdict {
        // It was made, and its publishing went wrong or still waits for other runs.
        return publish_comparison(work, repo, head_sha, "watchdog", true).await;
    }
    let Some((_, client)) = client(work, repo, Purpose::WriteChecks).await? else { return Ok(()) };
    let within = work.check_timeout;
    let listing = listed_runs::ask(work, repo, head_sha).await?;
    let awaited = Awaited::of(work, &mut work.db.read().await?, repo, head_sha).await?;
    let reason = match awaited.runs.is_empty() {
        _ if listing == Listing::NotGranted && awaited.read.is_empty() => {
            NotJudged::NoPermission { permission: missing_permission::ACTIONS }
        }
        false => {
            NotJudged::StillRunning { runs: awaited.runs.into_iter().map(|run| run.name).collect(), within }
        }
        true if awaited.read.is_empty() => NotJudged::NoTrace { within },
        true => NotJudged::NothingRan,
    };
    conclude_unjudged(work, &client, repo, head_sha, evaluation, &reason).await
}
