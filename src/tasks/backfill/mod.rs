//! The past of a repository's workflows becomes the baseline, newest runs first, so that the
//! first pull request after the installation has something to be held against. A page is a job
//! and the next one goes behind all others: workflows take turns, and live work is not held up.

mod page;

pub use page::{PageOutcome, Reserve, Then, read_page};

use crate::tasks::publish::publishing::client;
use crate::tasks::queue::missing_permission::{NOT_GRANTED, missing_permission};
use crate::tasks::{Task, TaskError, WorkerContext, error_chain};
use pacegate_engine::model::ids::RepoId;
use pacegate_engine::model::policy::GatePolicy;
use pacegate_github::RepoClient;
use pacegate_github::app_auth::Purpose;
use pacegate_store::{BackfillRow, RepositoryRow};

/// Finds the active workflows of a repository and notes that their history is to be read, from
/// the newest run on; what is stored already is not fetched again. None are found when GitHub
/// now has another repository under this name.
pub async fn discover(
    work: &WorkerContext,
    repository: &RepositoryRow,
    github: &RepoClient,
    wanted: i64,
) -> Result<Vec<BackfillRow>, TaskError> {
    let answer = github.repository().await?;
    if repository.github_id.is_some_and(|id| id != answer.id) {
        tracing::warn!(repo = %repository.name, "GitHub has another repository under this name: its history is not read");
        return Ok(Vec::new());
    }
    let workflows = github.workflows().await?;
    let mut tx = work.db.write().await?;
    tx.describe_repository(repository.id, &answer.default_branch, answer.private).await?;
    for workflow in workflows {
        let row = BackfillRow {
            workflow_id: workflow.id,
            name: workflow.name,
            path: workflow.path,
            branch: answer.default_branch.clone(),
            wanted,
            listed: 0,
            collected: 0,
            next_page: 1,
            done_at: None,
            last_error: None,
        };
        tx.begin_backfill(repository.id, &row, work.clock.now()).await?;
    }
    let rows = tx.backfills(repository.id).await?;
    tx.commit().await?;
    Ok(rows.into_iter().filter(|row| !row.is_done()).collect())
}

pub(super) async fn discover_workflows(
    work: &WorkerContext,
    repo: RepoId,
    cause: &str,
) -> Result<(), TaskError> {
    let Err(error) = discover_and_push(work, repo, cause).await else { return Ok(()) };
    missing_permission(work, repo, error).await
}

async fn discover_and_push(work: &WorkerContext, repo: RepoId, cause: &str) -> Result<(), TaskError> {
    let Some((repository, github)) = client(work, repo, Purpose::ReadActions).await? else { return Ok(()) };
    let wanted = i64::from(GatePolicy::default().baseline().runs);
    let found = discover(work, &repository, &github, wanted).await?;
    tracing::info!(repo = %repository.name, workflows = found.len(), "reading the history of its workflows");
    let now = work.clock.now();
    let mut tx = work.db.write().await?;
    for row in found {
        let job = Task::BackfillWorkflow {
            repo,
            workflow_id: row.workflow_id,
            page: row.next_page,
            cause: cause.to_owned(),
        };
        job.push(&mut tx, now, &work.rng, now).await?;
    }
    tx.commit().await?;
    Ok(())
}

pub(super) async fn backfill_workflow(
    work: &WorkerContext,
    repo: RepoId,
    workflow_id: i64,
    page: i64,
    cause: &str,
) -> Result<(), TaskError> {
    let Err(error) = backfill_page(work, repo, workflow_id, page, cause).await else { return Ok(()) };
    if matches!(error, TaskError::TooEarly(_)) {
        return Err(error);
    }
    let told = error_chain(&error);
    let outcome = missing_permission(work, repo, error).await;
    let told = if outcome.is_ok() { NOT_GRANTED } else { &told };
    let mut tx = work.db.write().await?;
    tx.fail_backfill(repo, workflow_id, told, work.clock.now()).await?;
    tx.commit().await?;
    outcome
}

async fn backfill_page(
    work: &WorkerContext,
    repo: RepoId,
    workflow_id: i64,
    page: i64,
    cause: &str,
) -> Result<(), TaskError> {
    let Some((repository, github)) = client(work, repo, Purpose::ReadActions).await? else { return Ok(()) };
    let (of, then) = ((workflow_id, page), Then::PushNext(cause));
    let read = read_page(work, &repository, &github, of, Reserve::Half, then).await?;
    if let Some(PageOutcome { row, .. }) = read
        && row.is_done()
    {
        tracing::info!(
            repo = %repository.name, workflow = row.name, runs = row.collected,
            "the history of a workflow was read"
        );
    }
    Ok(())
}
