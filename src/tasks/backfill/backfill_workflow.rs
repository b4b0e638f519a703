//! Reads one page of a workflow's history, records a failure on the backfill, and pushes the next page.

use serde::{Deserialize, Serialize};

use super::{PageOutcome, Reserve, Then, read_page};
use crate::tasks::github_client::client;
use crate::tasks::queue::missing_permission::{NOT_GRANTED, allow_missing_permission};
use crate::tasks::{Task, TaskError, WorkerContext, error_chain};
use pacegate_engine::model::ids::RepoId;
use pacegate_github::app_auth::Purpose;

/// `page` counts from 1. `cause` is the delivery that made the backfill necessary.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BackfillWorkflow {
    pub(crate) repo: RepoId,
    pub(crate) workflow_id: i64,
    pub(crate) page: i64,
    pub(crate) cause: String,
}

impl Task for BackfillWorkflow {
    const KIND: &'static str = "backfill_workflow";

    fn repo(&self) -> Option<RepoId> {
        Some(self.repo)
    }

    fn dedupe_key(&self) -> String {
        format!("{}:{}:{}:{}", self.repo.0, self.workflow_id, self.page, self.cause)
    }

    fn serial_key(&self) -> Option<String> {
        Some(super::serial_key(self.repo))
    }

    async fn run(self, context: &WorkerContext) -> Result<(), TaskError> {
        let Err(error) = self.read(context).await else { return Ok(()) };
        if matches!(error, TaskError::TooEarly(_)) {
            return Err(error);
        }
        let text = error_chain(&error);
        let outcome = allow_missing_permission(context, self.repo, error).await;
        let text = if outcome.is_ok() { NOT_GRANTED } else { &text };
        let mut tx = context.db.write().await?;
        tx.fail_backfill(self.repo, self.workflow_id, text, context.clock.now()).await?;
        tx.commit().await?;
        outcome
    }
}

impl BackfillWorkflow {
    async fn read(&self, context: &WorkerContext) -> Result<(), TaskError> {
        let Some((repository, github)) = client(context, self.repo, Purpose::ReadActions).await? else {
            return Ok(());
        };
        let (of, then) = ((self.workflow_id, self.page), Then::PushNext(&self.cause));
        let read = read_page(context, &repository, &github, of, Reserve::Half, then).await?;
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
}
