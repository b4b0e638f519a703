//! Shows on a pending check which workflows still run, and which were read. If all are read and none has
//! anything to measure, the check is concluded with that reason.

use serde::{Deserialize, Serialize};

use super::check_run::{self, conclude_unjudged};
use crate::tasks::evaluate::evaluation::Awaited;
use crate::tasks::github_client::client;
use crate::tasks::reconcile::listed_runs;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_github::app_auth::Purpose;
use pacegate_report::check::NotJudged;
use pacegate_store::RunFilter;

/// Changes within one `slot` of time are shown together.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ShowAwaited {
    pub(crate) repo: RepoId,
    pub(crate) head_sha: CommitSha,
    pub(crate) evaluation: i64,
    pub(crate) slot: i64,
}

impl Task for ShowAwaited {
    const KIND: &'static str = "show_awaited";

    fn repo(&self) -> Option<RepoId> {
        Some(self.repo)
    }

    fn dedupe_key(&self) -> String {
        format!("{}:{}:{}:{}", self.repo.0, self.head_sha, self.evaluation, self.slot)
    }

    fn serial_key(&self) -> Option<String> {
        Some(super::serial_key(self.repo, &self.head_sha))
    }

    async fn run(self, context: &WorkerContext) -> Result<(), TaskError> {
        let Self { repo, ref head_sha, evaluation, .. } = self;
        let mut tx = context.db.read().await?;
        let is_pending =
            tx.check(repo, head_sha, evaluation).await?.is_some_and(|check| check.concluded_at.is_none());
        let mut awaited = Awaited::of(context, &mut tx, repo, head_sha).await?;
        let Some(repository) = tx.repository(repo).await? else { return Ok(()) };
        let of_head = RunFilter::Head(head_sha.clone());
        // The task that evaluates a measured run was pushed together with the run.
        let is_measured = !tx.list_runs(repo, &repository.name, &of_head, 1).await?.is_empty();
        drop(tx);
        let nothing_ran = awaited.is_empty() && !awaited.read.is_empty() && !is_measured;
        if !is_pending || (awaited.is_empty() && !nothing_ran) {
            return Ok(());
        }
        let Some((_, client)) = client(context, repo, Purpose::WriteChecks).await? else { return Ok(()) };
        if nothing_ran {
            // GitHub may list a run that no delivery announced.
            listed_runs::refresh(context, repo, head_sha).await?;
            awaited = Awaited::of(context, &mut context.db.read().await?, repo, head_sha).await?;
            if awaited.is_empty() {
                let reason = NotJudged::NothingRan;
                return conclude_unjudged(context, &client, repo, head_sha, evaluation, &reason).await;
            }
        }
        check_run::show_awaited(context, &client, repo, head_sha, evaluation, &awaited).await
    }
}
