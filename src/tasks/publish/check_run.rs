//! The check run of an evaluation on GitHub: found or created, updated while it is pending, and concluded
//! without a verdict.

use sha2::{Digest, Sha256};

use crate::tasks::evaluate::evaluation::Awaited;
use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_github::RepoClient;
use pacegate_github::checks::{CheckRun, CheckRunAction, CheckRunAnnotation, CheckRunOutput};
use pacegate_report::check::{CheckAction, CheckOutput, NotJudged, PendingCheck, Waiting, gave_up, pending};

/// Identifies an evaluation of a head on GitHub. It finds the check run again if the process died before
/// it stored the number of the check run.
fn external_id(head_sha: &CommitSha, evaluation: i64) -> String {
    format!("{head_sha}:{evaluation}")
}

/// Finds the check run of an evaluation on GitHub, or creates it.
pub(super) async fn ensure_check_run(
    context: &WorkerContext,
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
    let mut tx = context.db.write().await?;
    tx.begin_check(repo, head_sha, evaluation, context.clock.now()).await?;
    tx.record_check_run(repo, head_sha, evaluation, check_run.id).await?;
    tx.commit().await?;
    Ok(check_run)
}

/// Updates a pending check run to the awaited runs, unless it shows them already.
pub(super) async fn show_awaited(
    context: &WorkerContext,
    client: &RepoClient,
    repo: RepoId,
    head_sha: &CommitSha,
    evaluation: i64,
    awaited: &Awaited,
) -> Result<(), TaskError> {
    let mut tx = context.db.read().await?;
    let check = tx.check(repo, head_sha, evaluation).await?;
    let until = check.as_ref().map(|check| check.begun_at.after(context.check_timeout));
    let name = tx.repository(repo).await?.map(|row| row.name);
    drop(tx);
    let details_url = name.and_then(|name| context.repository_url(&name));
    let output = of_pending(awaited.pending(head_sha, until, details_url));
    let digest = hex::encode(Sha256::digest(format!("{}\n{}", output.title, output.summary)));
    if check.and_then(|check| check.shown_digest).as_ref() == Some(&digest) {
        return Ok(());
    }
    let check_run = ensure_check_run(context, client, repo, head_sha, evaluation).await?;
    if check_run.status != "completed" {
        client.update_pending_check_run(check_run.id, &output).await?;
    }
    let mut tx = context.db.write().await?;
    tx.record_shown(repo, head_sha, evaluation, &digest).await?;
    tx.commit().await?;
    Ok(())
}

/// Concludes a check as neutral, with the reason why there is no verdict.
pub(super) async fn conclude_unjudged(
    context: &WorkerContext,
    client: &RepoClient,
    repo: RepoId,
    head_sha: &CommitSha,
    evaluation: i64,
    reason: &NotJudged,
) -> Result<(), TaskError> {
    let check_run = ensure_check_run(context, client, repo, head_sha, evaluation).await?;
    let output = gave_up(head_sha, reason);
    let conclusion = output.conclusion.as_str();
    let output = of_report(output);
    if !check_run.shows(conclusion, &output) {
        client.conclude_check_run(&check_run, conclusion, None, &output).await?;
    }
    let mut tx = context.db.write().await?;
    tx.conclude_check(repo, head_sha, evaluation, None, context.clock.now()).await?;
    tx.commit().await?;
    Ok(())
}

fn of_pending(pending: PendingCheck) -> CheckRunOutput {
    CheckRunOutput {
        title: pending.title,
        summary: pending.summary,
        text: None,
        annotations: Vec::new(),
        actions: Vec::new(),
    }
}

pub(super) fn of_report(check: CheckOutput) -> CheckRunOutput {
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
