//! Compares a repository's open pull requests, and the workflow runs of heads with a pending check, with
//! the stored ones. Makes up for lost deliveries, and concludes checks that were left pending.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::listed_runs::{self, Listing};
use super::refresh_pull_request::RefreshPullRequest;
use crate::tasks::github_client::client;
use crate::tasks::publish::conclude_silent_check::ConcludeSilentCheck;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::{PrNumber, RepoId};
use pacegate_github::app_auth::Purpose;
use pacegate_github::pulls::PullRequest;
use pacegate_github::webhook::pull_request_subject;
use pacegate_store::PullRequestRow;

/// Most pending checks that one run of this task handles.
const CHECKS: i64 = 100;
/// A check is left alone for this long after its timeout, or for as long as the timeout if that is
/// shorter: its own task may be retrying.
const LATE: Duration = Duration::from_mins(15);

/// One reconciliation for each `slot` of time. For a new installation, `slot` is the time at which it
/// became known.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReconcileRepository {
    pub(crate) repo: RepoId,
    pub(crate) slot: i64,
}

impl Task for ReconcileRepository {
    const KIND: &'static str = "reconcile_repository";

    fn repo(&self) -> Option<RepoId> {
        Some(self.repo)
    }

    fn dedupe_key(&self) -> String {
        format!("{}:{}", self.repo.0, self.slot)
    }

    fn serial_key(&self) -> Option<String> {
        Some(format!("reconcile:{}", self.repo.0))
    }

    async fn run(self, context: &WorkerContext) -> Result<(), TaskError> {
        let Self { repo, slot } = self;
        let Some((repository, client)) = client(context, repo, Purpose::ReadPullRequests).await? else {
            return Ok(());
        };
        let listed = client.open_pull_requests().await?;
        let now = context.clock.now();
        let mut tx = context.db.write().await?;
        let stored = tx.open_pull_requests(repo).await?;
        let mut unlisted: HashMap<PrNumber, PullRequestRow> =
            stored.into_iter().map(|row| (row.number, row)).collect();
        let mut different = Vec::new();
        for pull_request in &listed.pull_requests {
            let number = PrNumber(pull_request.number);
            if unlisted.remove(&number).is_none_or(|row| differs(&row, pull_request)) {
                different.push(number);
            }
        }
        if listed.is_complete {
            // Closed or merged, and the delivery was lost.
            different.extend(unlisted.into_keys());
        }
        for number in &different {
            // Fetched again by its own task: a delivery that is handled meanwhile is newer than this list.
            let subject = pull_request_subject(repository.github_id.unwrap_or_default(), number.0);
            let refresh = RefreshPullRequest { repo, number: *number, subject, slot };
            refresh.push(&mut tx, now, &context.rng, now).await?;
        }
        tx.commit().await?;
        if !different.is_empty() {
            tracing::info!(
                repo = %repository.name, pull_requests = different.len(),
                "stored pull requests differ from GitHub's; each is fetched"
            );
        }
        conclude_stuck_checks(context, repo).await?;
        find_runs(context, repo).await
    }
}

/// Records the workflow runs that GitHub lists for heads with a pending check.
async fn find_runs(context: &WorkerContext, repo: RepoId) -> Result<(), TaskError> {
    let pending = context.db.read().await?.unconcluded_checks(repo, context.clock.now(), CHECKS).await?;
    for (head_sha, _) in pending {
        if listed_runs::refresh(context, repo, &head_sha).await? != Listing::Known {
            break; // the other heads get the same answer
        }
    }
    Ok(())
}

/// Whether a pull request changed in a way that matters here. The commit of its base changes all the time
/// and does not count.
fn differs(row: &PullRequestRow, now_on_github: &PullRequest) -> bool {
    row.head_sha != now_on_github.head.sha
        || row.base_branch != now_on_github.base.name
        || row.is_from_fork != now_on_github.is_from_fork()
}

/// Runs the timeout of checks again that are pending long after it. It ran without an effect, for example
/// while the App was not installed.
async fn conclude_stuck_checks(context: &WorkerContext, repo: RepoId) -> Result<(), TaskError> {
    let now = context.clock.now();
    let mut tx = context.db.write().await?;
    let timeout = context.check_timeout;
    let stuck = tx.unconcluded_checks(repo, now.before(timeout + LATE.min(timeout)), CHECKS).await?;
    for (head_sha, evaluation) in stuck {
        let conclude = ConcludeSilentCheck { repo, head_sha, evaluation };
        conclude.push_again(&mut tx, &context.rng, now).await?;
    }
    tx.commit().await?;
    Ok(())
}
