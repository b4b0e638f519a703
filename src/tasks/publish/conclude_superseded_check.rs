//! Concludes the pending check of a commit that is not the head of its pull request any more, at once:
//! a forced push often cancels the commit's pipeline. A trace that still arrives replaces the result.

use serde::{Deserialize, Serialize};

use super::check_run::conclude_unjudged;
use crate::tasks::github_client::client;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_github::app_auth::Purpose;
use pacegate_report::check::NotJudged;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ConcludeSupersededCheck {
    pub(crate) repo: RepoId,
    pub(crate) head_sha: CommitSha,
    pub(crate) evaluation: i64,
}

impl Task for ConcludeSupersededCheck {
    const KIND: &'static str = "conclude_superseded_check";

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
        let is_pending =
            tx.check(repo, head_sha, evaluation).await?.is_some_and(|check| check.concluded_at.is_none());
        let has_verdict =
            tx.newest_comparison(repo, head_sha).await?.is_some_and(|row| row.evaluation == evaluation);
        let target = tx.pull_request_of_head(repo, head_sha).await?;
        drop(tx);
        // The pull request may have been moved back to this commit meanwhile.
        let by = target.map(|pull_request| pull_request.head_sha).filter(|head| head != head_sha);
        let Some(by) = by.filter(|_| is_pending && !has_verdict) else { return Ok(()) };
        let Some((_, client)) = client(context, repo, Purpose::WriteChecks).await? else { return Ok(()) };
        conclude_unjudged(context, &client, repo, head_sha, evaluation, &NotJudged::Superseded { by }).await
    }
}
