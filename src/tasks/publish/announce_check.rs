//! Creates the pending check of a pull request's head when the head becomes known.

use serde::{Deserialize, Serialize};

use super::check_run::ensure_check_run;
use crate::tasks::github_client::client;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_github::app_auth::Purpose;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AnnounceCheck {
    pub(crate) repo: RepoId,
    pub(crate) head_sha: CommitSha,
    pub(crate) evaluation: i64,
}

impl Task for AnnounceCheck {
    const KIND: &'static str = "announce_check";

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
        let Self { repo, head_sha, evaluation } = self;
        let Some((_, client)) = client(context, repo, Purpose::WriteChecks).await? else { return Ok(()) };
        ensure_check_run(context, &client, repo, &head_sha, evaluation).await?;
        Ok(())
    }
}
