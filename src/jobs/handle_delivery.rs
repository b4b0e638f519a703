//! Acts on a webhook delivery. Deliveries come late, twice and out of order, so each starts
//! from what GitHub says now; what is written is the same whatever the order.

use super::{Job, JobError, Work};
use crate::github::app_auth::Purpose;
use crate::github::webhook::{Event, EventRepository};
use crate::model::ids::{CommitSha, InstallationId, PrNumber, RepoId};
use crate::model::time::Timestamp;
use crate::store::{InstallationRow, PullRequestRow, RepositoryFacts, RepositoryRow, Tx};

pub(super) async fn handle_delivery(work: &Work, delivery_id: &str) -> Result<(), JobError> {
    let mut tx = work.db.read().await?;
    let Some(body) = tx.delivery(delivery_id).await?.and_then(|delivery| delivery.body) else {
        return Ok(());
    };
    drop(tx);
    match serde_json::from_str(&body).map_err(|e| JobError::Unreadable(e.into()))? {
        Event::PullRequest { installation, repository, number, head_sha, updated_at } => {
            let seen_at = Timestamp::parse_rfc3339(&updated_at).unwrap_or_else(|| work.clock.now());
            let head = (head_sha, seen_at);
            pull_request(work, InstallationId(installation), &repository, PrNumber(number), head, delivery_id)
                .await
        }
        Event::InstallationPresent { installation, account, suspended, repositories, removed } => {
            let now = work.clock.now();
            let row = InstallationRow { id: InstallationId(installation), account, suspended };
            let mut tx = work.db.write().await?;
            tx.record_installation(&row, now).await?;
            for repository in &repositories {
                tx.record_repository(&facts(repository), row.id, now).await?;
            }
            for repository in &removed {
                tx.detach_repository(repository.id, row.id).await?;
            }
            tx.commit().await?;
            Ok(())
        }
        Event::InstallationRemoved { installation } => {
            let mut tx = work.db.write().await?;
            tx.remove_installation(InstallationId(installation), work.clock.now()).await?;
            tx.commit().await?;
            Ok(())
        }
        Event::CheckRerequested { installation, repository, head_sha, external_id } => {
            check_rerequested(
                work,
                InstallationId(installation),
                &repository,
                &head_sha,
                external_id,
                delivery_id,
            )
            .await
        }
    }
}

fn facts(repository: &EventRepository) -> RepositoryFacts {
    RepositoryFacts {
        github_id: repository.id,
        name: repository.full_name.clone(),
        default_branch: repository.default_branch.clone(),
        private: repository.private,
    }
}

/// The repository of a signed delivery, recorded; the installation too, when its own delivery
/// has not come yet. None when the installation was removed: this delivery comes late.
async fn record_repository(
    work: &Work,
    tx: &mut Tx,
    installation: InstallationId,
    repository: &EventRepository,
) -> Result<Option<RepositoryRow>, JobError> {
    let now = work.clock.now();
    if tx.was_removed(installation).await? {
        return Ok(None);
    }
    if tx.installation(installation).await?.is_none() {
        let account = repository.full_name.owner().to_owned();
        tx.record_installation(&InstallationRow { id: installation, account, suspended: false }, now).await?;
    }
    Ok(Some(tx.record_repository(&facts(repository), installation, now).await?))
}

async fn pull_request(
    work: &Work,
    installation: InstallationId,
    repository: &EventRepository,
    number: PrNumber,
    (sent_head, sent_at): (CommitSha, Timestamp),
    delivery_id: &str,
) -> Result<(), JobError> {
    let Some(app) = &work.app else { return Ok(()) };
    let mut tx = work.db.write().await?;
    let Some(row) = record_repository(work, &mut tx, installation, repository).await? else { return Ok(()) };
    tx.commit().await?;
    let client = app.repository(installation, &row.name, Purpose::ReadPullRequests).await?;
    let now_on_github = client.pull_request(number).await?;

    let now = work.clock.now();
    let is_open = now_on_github.state == "open";
    let is_from_fork = now_on_github.is_from_fork();
    let head_sha = now_on_github.head.sha;
    let mut tx = work.db.write().await?;
    // A run that is collected meanwhile either sees this pull request or is seen by it.
    tx.lock_repository(row.id).await?;
    let pull_request = PullRequestRow {
        number,
        is_open,
        head_sha: head_sha.clone(),
        base_branch: now_on_github.base.name,
        base_sha: Some(now_on_github.base.sha),
        is_from_fork,
    };
    let before = tx.pull_request(row.id, number).await?;
    tx.record_pull_request(row.id, &pull_request, now).await?;
    tx.record_head(row.id, number, &sent_head, sent_at).await?;
    if head_sha != sent_head {
        // Seen now for the first time; its own delivery says when it really came.
        tx.record_head(row.id, number, &head_sha, now).await?;
    }
    if is_open || is_from_fork {
        let mut joined = 0;
        for head in [&sent_head, &head_sha] {
            joined += tx.assign_runs_to_pull_request(row.id, head, number, is_from_fork).await?;
        }
        if is_open {
            for head in [&sent_head, &head_sha] {
                begin_evaluation(work, &mut tx, row.id, head, 1, "announced").await?;
            }
            // Another base, reopened, moved back to an earlier head; or an earlier push that is
            // heard of late, and is a sample of the change too.
            if joined > 0 || before.is_some_and(|before| before != pull_request) {
                let cause = format!("delivery {delivery_id}");
                let again = Job::EvaluateHead { repo: row.id, head_sha, cause };
                again.push(&mut tx, now, &work.chance, now).await?;
            }
        }
    }
    tx.commit().await?;
    Ok(())
}

/// Starts an evaluation of a head, unless it has been started: its check on GitHub, its
/// verdict if something was measured already, and the end of its waiting.
async fn begin_evaluation(
    work: &Work,
    tx: &mut Tx,
    repo: RepoId,
    head_sha: &CommitSha,
    evaluation: i64,
    cause: &str,
) -> Result<(), JobError> {
    let now = work.clock.now();
    let newest = tx.newest_check(repo, head_sha).await?.map_or(0, |check| check.evaluation);
    if newest >= evaluation || !tx.begin_check(repo, head_sha, evaluation, now).await? {
        return Ok(());
    }
    let head_sha = head_sha.clone();
    let jobs = [
        (Job::AnnounceCheck { repo, head_sha: head_sha.clone(), evaluation }, now),
        (Job::EvaluateHead { repo, head_sha: head_sha.clone(), cause: format!("{cause} {evaluation}") }, now),
        (Job::ConcludeSilentCheck { repo, head_sha, evaluation }, now.after(work.check_timeout)),
    ];
    for (job, run_at) in jobs {
        job.push(tx, run_at, &work.chance, now).await?;
    }
    Ok(())
}

/// A rerequest leaves the old check run as it is: the next evaluation has its own.
async fn check_rerequested(
    work: &Work,
    installation: InstallationId,
    repository: &EventRepository,
    head_sha: &CommitSha,
    external_id: Option<String>,
    delivery_id: &str,
) -> Result<(), JobError> {
    let mut tx = work.db.write().await?;
    let Some(row) = record_repository(work, &mut tx, installation, repository).await? else { return Ok(()) };
    // The evaluation that was asked for again is in the check run's own name, so that the
    // same wish, delivered twice, starts one evaluation.
    let newest = tx.newest_check(row.id, head_sha).await?.map_or(0, |check| check.evaluation);
    let of_check = external_id.and_then(|id| id.rsplit_once(':')?.1.parse::<i64>().ok()).unwrap_or(newest);
    begin_evaluation(work, &mut tx, row.id, head_sha, of_check.saturating_add(1), delivery_id).await?;
    tx.commit().await?;
    Ok(())
}
