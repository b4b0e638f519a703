//! Compares a repository's open pull requests, and the runs of the heads that wait for a verdict, with
//! what is known of them: a delivery that never came is made up for, and a check that nothing
//! concludes any more is concluded.

use std::collections::HashMap;
use std::time::Duration;

use super::listed_runs::{self, Listing};
use crate::tasks::publish::publishing::client;
use crate::tasks::{Task, TaskError, WorkerContext, handle_delivery};
use pacegate_engine::model::ids::{PrNumber, RepoId};
use pacegate_github::app_auth::Purpose;
use pacegate_github::pulls::PullRequest;
use pacegate_github::webhook::pull_request_subject;
use pacegate_store::PullRequestRow;

/// Checks that are concluded, or whose runs are asked for, in one go.
const AT_ONCE: i64 = 100;
/// After its own time, a check is left alone for so long, or as long as it waited: it may just be
/// retried.
const LATE: Duration = Duration::from_mins(15);

pub(in crate::tasks) async fn reconcile_repository(
    work: &WorkerContext,
    repo: RepoId,
    slot: i64,
) -> Result<(), TaskError> {
    let Some((repository, client)) = client(work, repo, Purpose::ReadPullRequests).await? else {
        return Ok(());
    };
    let listed = client.open_pull_requests().await?;
    let now = work.clock.now();
    let mut tx = work.db.write().await?;
    let known = tx.open_pull_requests(repo).await?;
    let mut unseen: HashMap<PrNumber, PullRequestRow> =
        known.into_iter().map(|row| (row.number, row)).collect();
    let mut news = Vec::new();
    for pull_request in &listed.pull_requests {
        let number = PrNumber(pull_request.number);
        if unseen.remove(&number).is_none_or(|row| differs(&row, pull_request)) {
            news.push(number);
        }
    }
    if listed.is_complete {
        // Closed or merged, and nobody said so.
        news.extend(unseen.into_keys());
    }
    for number in &news {
        // Not from this list: a delivery that was handled meanwhile knows better.
        let subject = pull_request_subject(repository.github_id.unwrap_or_default(), number.0);
        let refresh = Task::RefreshPullRequest { repo, number: *number, subject, slot };
        refresh.push(&mut tx, now, &work.rng, now).await?;
    }
    tx.commit().await?;
    if !news.is_empty() {
        tracing::info!(
            repo = %repository.name, pull_requests = news.len(),
            "pull requests are not as their deliveries told; GitHub is asked for each"
        );
    }
    conclude_stuck_checks(work, repo).await?;
    find_runs(work, repo).await
}

/// Asks GitHub for one pull request and records what it says, as a delivery about it would have.
pub(in crate::tasks) async fn refresh_pull_request(
    work: &WorkerContext,
    repo: RepoId,
    number: PrNumber,
    slot: i64,
) -> Result<(), TaskError> {
    let Some((_, client)) = client(work, repo, Purpose::ReadPullRequests).await? else { return Ok(()) };
    let now_on_github = client.pull_request(number).await?;
    let open_head = (now_on_github.state == "open").then(|| now_on_github.head.sha.clone());
    handle_delivery::pull_request::record(work, repo, now_on_github, None, &format!("reconciled {slot}"))
        .await?;
    if let Some(head_sha) = open_head {
        // Where nobody told of the pull request, nobody may have told of its runs.
        listed_runs::ask(work, repo, &head_sha).await?;
    }
    Ok(())
}

/// Asks GitHub for the runs of the heads whose checks wait: pull requests' and merge queues'.
async fn find_runs(work: &WorkerContext, repo: RepoId) -> Result<(), TaskError> {
    let waiting = work.db.read().await?.unconcluded_checks(repo, work.clock.now(), AT_ONCE).await?;
    for (head_sha, _) in waiting {
        if listed_runs::ask(work, repo, &head_sha).await? != Listing::Known {
            break; // the others have no other answer
        }
    }
    Ok(())
}

/// Whether what GitHub says makes a difference. Its base moves all the time: that alone does not.
fn differs(row: &PullRequestRow, now_on_github: &PullRequest) -> bool {
    row.head_sha != now_on_github.head.sha
        || row.base_branch != now_on_github.base.name
        || row.is_from_fork != now_on_github.is_from_fork()
}

/// The end of a check's waiting was there and did nothing, as while the App was not installed: it
/// is run again.
async fn conclude_stuck_checks(work: &WorkerContext, repo: RepoId) -> Result<(), TaskError> {
    let now = work.clock.now();
    let mut tx = work.db.write().await?;
    let stuck = tx
        .unconcluded_checks(repo, now.before(work.check_timeout + LATE.min(work.check_timeout)), AT_ONCE)
        .await?;
    for (head_sha, evaluation) in stuck {
        let conclude = Task::ConcludeSilentCheck { repo, head_sha, evaluation };
        conclude.push_again(&mut tx, &work.rng, now).await?;
    }
    tx.commit().await?;
    Ok(())
}
