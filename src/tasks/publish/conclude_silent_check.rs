//! Concludes a check as neutral after its timeout, with the reason. No check stays pending forever.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check_run::conclude_unjudged;
use super::publish_comparison::publish_comparison;
use crate::tasks::evaluate::evaluation::Awaited;
use crate::tasks::github_client::client;
use crate::tasks::queue::missing_permission;
use crate::tasks::reconcile::listed_runs::{self, Listing};
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_github::app_auth::Purpose;
use pacegate_report::check::NotJudged;

/// Interval at which this task looks whether an archived repository is active again.
const ARCHIVED: Duration = Duration::from_hours(2);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ConcludeSilentCheck {
    pub(crate) repo: RepoId,
    pub(crate) head_sha: CommitSha,
    pub(crate) evaluation: i64,
}

impl Task for ConcludeSilentCheck {
    const KIND: &'static str = "conclude_silent_check";
    /// Retries for days: if this task is given up, the check stays pending.
    const MAX_ATTEMPTS: i64 = 1_000;

    fn repo(&self) -> Option<RepoId> {
        Some(self.repo)
    }

    fn dedupe_key(&self) -> String {
        format!("{}:{}:{}", self.repo.0, self.head_sha, self.evaluation)
    }

    fn serial_key(&self) -> Option<String> {
        Some(super::serial_key(self.repo, &self.head_sha))
    }

    async fn run(self, context: &WorkerContext) -> Result<(), TaskError> {
        let Self { repo, ref head_sha, evaluation } = self;
        let mut tx = context.db.read().await?;
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
            // No call is made to GitHub: this looks at the stored row until the repository is active again.
            return Err(TaskError::TooEarly(ARCHIVED.min(context.check_timeout)));
        }
        if has_verdict {
            // Publishing failed, or it still waits for other runs.
            return publish_comparison(context, repo, head_sha, "watchdog", true).await;
        }
        let Some((_, client)) = client(context, repo, Purpose::WriteChecks).await? else { return Ok(()) };
        let listing = listed_runs::refresh(context, repo, head_sha).await?;
        let awaited = Awaited::of(context, &mut context.db.read().await?, repo, head_sha).await?;
        let reason = reason(listing, awaited, context.check_timeout);
        conclude_unjudged(context, &client, repo, head_sha, evaluation, &reason).await
    }
}

fn reason(listing: Listing, awaited: Awaited, within: Duration) -> NotJudged {
    if listing == Listing::NotGranted && awaited.read.is_empty() {
        return NotJudged::NoPermission { permission: missing_permission::ACTIONS };
    }
    if !awaited.runs.is_empty() {
        let runs = awaited.runs.into_iter().map(|run| run.name).collect();
        return NotJudged::StillRunning { runs, within };
    }
    if awaited.read.is_empty() { NotJudged::NoTrace { within } } else { NotJudged::NothingRan }
}
