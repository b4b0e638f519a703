//! Finds the workflows of a repository whose history is to be read.

use serde::{Deserialize, Serialize};

use super::backfill_workflow::BackfillWorkflow;
use crate::tasks::github_client::client;
use crate::tasks::queue::missing_permission::allow_missing_permission;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::RepoId;
use pacegate_engine::model::policy::GatePolicy;
use pacegate_github::RepoClient;
use pacegate_github::app_auth::Purpose;
use pacegate_store::{BackfillRow, RepositoryRow};

/// `cause` is the delivery that made it necessary: it happens once for each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DiscoverWorkflows {
    pub(crate) repo: RepoId,
    pub(crate) cause: String,
}

impl Task for DiscoverWorkflows {
    const KIND: &'static str = "discover_workflows";

    fn repo(&self) -> Option<RepoId> {
        Some(self.repo)
    }

    fn dedupe_key(&self) -> String {
        format!("{}:{}", self.repo.0, self.cause)
    }

    fn serial_key(&self) -> Option<String> {
        Some(super::serial_key(self.repo))
    }

    async fn run(self, context: &WorkerContext) -> Result<(), TaskError> {
        let repo = self.repo;
        let Err(error) = discover_and_push(context, self).await else { return Ok(()) };
        allow_missing_permission(context, repo, error).await
    }
}

async fn discover_and_push(
    context: &WorkerContext,
    DiscoverWorkflows { repo, cause }: DiscoverWorkflows,
) -> Result<(), TaskError> {
    let Some((repository, github)) = client(context, repo, Purpose::ReadActions).await? else {
        return Ok(());
    };
    let wanted = i64::from(GatePolicy::default().baseline().runs);
    let found = discover(context, &repository, &github, wanted).await?;
    tracing::info!(repo = %repository.name, workflows = found.len(), "reading the history of workflows");
    let now = context.clock.now();
    let mut tx = context.db.write().await?;
    for row in found {
        let cause = cause.clone();
        let backfill = BackfillWorkflow { repo, workflow_id: row.workflow_id, page: row.next_page, cause };
        backfill.push(&mut tx, now, &context.rng, now).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Records the active workflows of a repository for a backfill of `wanted` runs each, and returns the
/// unfinished backfills. Returns none if the name belongs to another repository on GitHub now.
pub async fn discover(
    context: &WorkerContext,
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
    let mut tx = context.db.write().await?;
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
        tx.begin_backfill(repository.id, &row, context.clock.now()).await?;
    }
    let rows = tx.backfills(repository.id).await?;
    tx.commit().await?;
    Ok(rows.into_iter().filter(|row| !row.is_done()).collect())
}
