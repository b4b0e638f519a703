//! What the jobs that write to GitHub share: may we, and the check run of an evaluation,
//! found before it is made.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::tasks::evaluate::evaluation::Awaited;
use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_github::RepoClient;
use pacegate_github::app_auth::Purpose;
use pacegate_github::checks::{CheckRun, CheckRunAction, CheckRunAnnotation, CheckRunOutput};
use pacegate_report::check::{CheckAction, CheckOutput, NotJudged, PendingCheck, Waiting, gave_up, pending};
use pacegate_store::RepositoryRow;

/// How often a suspended installation is looked at again.
const SUSPENDED: Duration = Duration::from_mins(10);

/// How long a job waits for a suspended installation: well within a check's own patience.
pub(in crate::tasks) fn suspended_wait(work: &WorkerContext) -> Duration {
    SUSPENDED.min(work.check_timeout / 12)
}

/// A client for a repository; none in local mode, when no installation covers it, or when it is
/// archived, which GitHub takes no writes to.
pub(in crate::tasks) async fn client(
    work: &WorkerContext,
    repo: RepoId,
    purpose: Purpose,
) -> Result<Option<(RepositoryRow, RepoClient)>, TaskError> {
    let Some(app) = &work.app else { return Ok(None) };
    let mut tx = work.db.read().await?;
    let Some(repository) = tx.repository(repo).await? else { return Ok(None) };
    let Some(installation) = repository.installation.filter(|_| !repository.archived) else {
        return Ok(None);
    };
    match tx.installation(installation).await? {
        None => return Ok(None),
        // Nothing may be called now; what is to be said is said when it may be.
        Some(row) if row.suspended => return Err(TaskError::TooEarly(suspended_wait(work))),
        Some(_) => {}
    }
    drop(tx);
    let client = app.repository(installation, &repository.name, purpose).await?;
    Ok(Some((repository, client)))
}

/// Names an evaluation of a head on GitHub: with it a check run is found again even when this
/// process died before it could note its number.
pub(in crate::tasks) fn external_id(head_sha: &CommitSha, evaluation: i64) -> String {
    format!("{head_sha}:{evaluation}")
}

/// The check run of an evaluation: found on GitHub, else made.
pub(in crate::tasks) async fn ensure_check_run(
    work: &WorkerContext,
    client: &RepoClient,
    repo: RepoId,
    head_sha: &CommitSha,
    evaluation: i64,
) -> Result<CheckRun, TaskError> {
    let external_id = external_id(head_sha, evaluation);
    let check_run = if let Some(found) = client.find_check_run(head_sha, &external_id).await? {
        found
    } else {
        let pending = pending(head_sha, &Waiting::default());
        let details_url = pending.details_url.clone();
        let output = of_pending(pending);
        client.create_check_run(head_sha, &external_id, details_url.as_deref(), &output).await?
    };
    let mut tx = work.db.write().await?;
    tx.begin_check(repo, head_sha, evaluation, work.clock.now()).await?;
    tx.record_check_run(repo, head_sha, evaluation, check_run.id).await?;
    tx.commit().await?;
    Ok(check_run)
}

/// Brings a check run that waits up to date with what it waits for, unless it shows that already.
pub(in crate::tasks) async fn show_awaited(
    work: &WorkerContext,
    client: &RepoClient,
    repo: RepoId,
    head_sha: &CommitSha,
    evaluation: i64,
    awaited: &Awaited,
) -> Result<(), TaskError> {
    let mut tx = work.db.read().await?;
    let check = tx.check(repo, head_sha, evaluation).await?;
    let until = check.as_ref().map(|check| check.begun_at.after(work.check_timeout));
    let name = tx.repository(repo).await?.map(|row| row.name);
    drop(tx);
    let details_url = name.and_then(|name| work.repository_url(&name));
    let output = of_pending(awaited.pending(head_sha, until, details_url));
    let digest = hex::encode(Sha256::digest(format!("{}\n{}", output.title, output.summary)));
    if check.and_then(|check| check.shown_digest).as_ref() == Some(&digest) {
        return Ok(());
    }
    let check_run = ensure_check_run(work, client, repo, head_sha, evaluation).await?;
    if check_run.status != "completed" {
        client.update_pending_check_run(check_run.id, &output).await?;
    }
    let mut tx = work.db.write().await?;
    tx.record_shown(repo, head_sha, evaluation, &digest).await?;
    tx.commit().await?;
    Ok(())
}

/// Concludes a check without a verdict.
pub(in crate::tasks) async fn conclude_unjudged(
    work: &WorkerContext,
    client: &RepoClient,
    repo: RepoId,
    head_sha: &CommitSha,
    evaluation: i64,
    reason: &NotJudged,
) -> Result<(), TaskError> {
    let check_run = ensure_check_run(work, client, repo, head_sha, evaluation).await?;
    let output = gave_up(head_sha, reason);
    let conclusion = output.conclusion.as_str();
    let output = of_report(output);
    if !check_run.shows(conclusion, &output) {
        client.conclude_check_run(&check_run, conclusion, None, &output).await?;
    }
    let mut tx = work.db.write().await?;
    tx.conclude_check(repo, head_sha, evaluation, None, work.clock.now()).await?;
    tx.commit().await?;
    Ok(())
}

/// A pending check as GitHub takes it.
pub(in crate::tasks) fn of_pending(pending: PendingCheck) -> CheckRunOutput {
    CheckRunOutput {
        title: pending.title,
        summary: pending.summary,
        text: None,
        annotations: Vec::new(),
        actions: Vec::new(),
    }
}

/// A report's check as GitHub takes it.
pub(in crate::tasks) fn of_report(check: CheckOutput) -> CheckRunOutput {
    CheckRunOutput {
        title: check.title,
        summary: check.summary,
        text: Some(check.text).filter(|text| !text.is_empty()),
        annotations: check
            .annotations
            .into_iter()
            .map(|a| CheckRunAnnotation {
                path: a.path,
                start_line: a.start_line,
                end_line: a.end_line,
                annotation_level: a.level.as_str(),
                title: a.title,
                message: a.message,
            })
            .collect(),
        actions: check.actions.into_iter().map(of_action).collect(),
    }
}

fn of_action(CheckAction { label, description, identifier }: CheckAction) -> CheckRunAction {
    CheckRunAction { label, description, identifier }
}
