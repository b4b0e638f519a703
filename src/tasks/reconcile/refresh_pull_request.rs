//! Fetches one pull request whose stored state differs from GitHub's list, and records it as a delivery
//! would have.

use serde::{Deserialize, Serialize};

use super::listed_runs;
use crate::tasks::github_client::client;
use crate::tasks::handle_delivery::pull_request;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::{PrNumber, RepoId};
use pacegate_github::app_auth::Purpose;

/// `subject` is that of the pull request's deliveries: this task takes its turn with them. `slot` is the
/// slot of the reconciliation that found the difference.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RefreshPullRequest {
    pub(crate) repo: RepoId,
    pub(crate) number: PrNumber,
    pub(crate) subject: String,
    pub(crate) slot: i64,
}

impl Task for RefreshPullRequest {
    const KIND: &'static str = "refresh_pull_request";

    fn repo(&self) -> Option<RepoId> {
        Some(self.repo)
    }

    fn dedupe_key(&self) -> String {
        format!("{}:{}:{}", self.repo.0, self.number.0, self.slot)
    }

    fn serial_key(&self) -> Option<String> {
        Some(format!("delivery:{}", self.subject))
    }

    async fn run(self, context: &WorkerContext) -> Result<(), TaskError> {
        let Self { repo, number, slot, .. } = self;
        let Some((_, client)) = client(context, repo, Purpose::ReadPullRequests).await? else {
            return Ok(());
        };
        let now_on_github = client.pull_request(number).await?;
        let open_head = (now_on_github.state == "open").then(|| now_on_github.head.sha.clone());
        pull_request::record(context, repo, now_on_github, None, &format!("reconciled {slot}")).await?;
        if let Some(head_sha) = open_head {
            // If the delivery of the pull request was lost, those of its runs may be lost too.
            listed_runs::refresh(context, repo, &head_sha).await?;
        }
        Ok(())
    }
}
