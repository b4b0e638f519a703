//! Handles a webhook delivery: one file for each kind of event. Deliveries arrive late, twice and out of
//! order. Each handler fetches the current state from GitHub, so the order does not change the result.

mod check;
mod installation;
mod merge_group;
pub(super) mod pull_request;
mod push;
mod repository;
mod workflow_run;

use serde::{Deserialize, Serialize};

use crate::tasks::github_client::suspended_wait;
use crate::tasks::queue::lost_access::handle_lost_access;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::{InstallationId, PrNumber, RepoId, RepoName};
use pacegate_engine::model::time::Timestamp;
use pacegate_github::app_auth::{App, Purpose};
use pacegate_github::webhook::{Event, EventRepository};
use pacegate_github::{GitHubError, RepoClient};
use pacegate_store::{InstallationRow, RepositoryFacts, RepositoryRow, Tx};

/// A signed delivery about a repository.
#[derive(Clone, Copy)]
struct Delivery<'a> {
    context: &'a WorkerContext,
    /// GitHub's identifier. It is the cause of the tasks that the delivery pushes.
    id: &'a str,
    installation: InstallationId,
    repository: &'a EventRepository,
}

/// Deliveries with one `subject` are handled one at a time, so that the newest answer of GitHub is written
/// last.
#[derive(Debug, Serialize, Deserialize)]
pub struct HandleDelivery {
    /// GitHub's identifier of the delivery.
    pub delivery_id: String,
    /// The object that the delivery is about.
    pub subject: String,
}

impl Task for HandleDelivery {
    const KIND: &'static str = "handle_delivery";

    /// The stored body of the delivery names the repository.
    fn repo(&self) -> Option<RepoId> {
        None
    }

    fn dedupe_key(&self) -> String {
        self.delivery_id.clone()
    }

    fn serial_key(&self) -> Option<String> {
        Some(format!("delivery:{}", self.subject))
    }

    async fn run(self, context: &WorkerContext) -> Result<(), TaskError> {
        let id = &self.delivery_id;
        let mut tx = context.db.read().await?;
        let Some(body) = tx.delivery(id).await?.and_then(|delivery| delivery.body) else {
            return Ok(());
        };
        drop(tx);
        let event: Event = serde_json::from_str(&body).map_err(|e| TaskError::Unreadable(e.into()))?;
        let Err(error) = handle_event(context, id, event).await else { return Ok(()) };
        let parsed: OfRepository =
            serde_json::from_str(&body).map_err(|e| TaskError::Unreadable(e.into()))?;
        let Some(repository) = parsed.repository else { return Err(error) };
        match context.db.read().await?.find_repository_by_github_id(repository.id).await? {
            Some(row) => handle_lost_access(context, row.id, error).await,
            None => Err(error),
        }
    }
}

/// The repository of any event.
#[derive(Deserialize)]
struct OfRepository {
    repository: Option<EventRepository>,
}

async fn handle_event(context: &WorkerContext, id: &str, event: Event) -> Result<(), TaskError> {
    macro_rules! delivery {
        ($installation:expr, $repository:expr) => {
            Delivery {
                context,
                id,
                installation: covering(context, InstallationId($installation), &$repository).await?,
                repository: &$repository,
            }
        };
    }
    match event {
        Event::PullRequest { installation, repository, number, head_sha, updated_at } => {
            let seen_at = Timestamp::parse_rfc3339(&updated_at).unwrap_or_else(|| context.clock.now());
            let delivery = delivery!(installation, repository);
            pull_request::changed(delivery, PrNumber(number), (head_sha, seen_at)).await
        }
        Event::InstallationPresent { installation, account, suspended, repositories, removed } => {
            let row = InstallationRow { id: InstallationId(installation), account, suspended };
            installation::present(context, id, &row, &repositories, &removed).await
        }
        Event::InstallationRemoved { installation } => {
            installation::removed(context, InstallationId(installation)).await
        }
        Event::CheckRerequested { installation, repository, head_sha, external_id } => {
            check::rerequested(delivery!(installation, repository), &head_sha, external_id.as_deref()).await
        }
        Event::SuiteRerequested { installation, repository, head_sha } => {
            check::rerequested(delivery!(installation, repository), &head_sha, None).await
        }
        Event::CheckAction { installation, repository, head_sha, external_id, identifier, sender } => {
            let click = check::Click { head_sha, external_id, identifier, sender };
            check::pressed(delivery!(installation, repository), &click).await
        }
        Event::WorkflowRun { installation, repository, run } => {
            workflow_run::changed(delivery!(installation, repository), run).await
        }
        Event::MergeGroup { installation, repository, head_sha, base_branch, base_sha, wanted } => {
            let group = pacegate_store::MergeGroupRow { head_sha, base_branch, base_sha, is_open: wanted };
            merge_group::changed(delivery!(installation, repository), &group).await
        }
        Event::Push { installation, repository, branch, head_sha } => {
            push::pushed(delivery!(installation, repository), &branch, head_sha.as_ref()).await
        }
        Event::Repository { installation, repository, action } => {
            repository::changed(delivery!(installation, repository), &action).await
        }
    }
}

/// The installation that covers a repository: the sender of the delivery, unless another one is stored. In
/// that case the delivery is older than a transfer, or it announces one. GitHub is asked.
async fn covering(
    context: &WorkerContext,
    sent: InstallationId,
    repository: &EventRepository,
) -> Result<InstallationId, TaskError> {
    let row = context.db.read().await?.find_repository_by_github_id(repository.id).await?;
    let known = row.and_then(|row| row.installation).filter(|known| *known != sent);
    let (Some(known), Some(app)) = (known, &context.app) else { return Ok(sent) };
    let present = async {
        let client = app.repository(sent, &repository.full_name, Purpose::ReadMetadata).await?;
        client.repository().await
    };
    match present.await {
        // Compared by number: another repository may have the old name now.
        Ok(present) if present.id == repository.id => Ok(sent),
        Ok(_) | Err(GitHubError::NotFound { .. } | GitHubError::Refused { status: 403 | 422, .. }) => {
            Ok(known)
        }
        Err(error) => Err(error.into()),
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

impl Delivery<'_> {
    /// A client for the repository under a name. `TooEarly` while the installation is suspended.
    async fn client(&self, app: &App, name: &RepoName, purpose: Purpose) -> Result<RepoClient, TaskError> {
        let row = self.context.db.read().await?.installation(self.installation).await?;
        if row.is_some_and(|row| row.suspended) {
            return Err(TaskError::TooEarly(suspended_wait(self.context)));
        }
        Ok(app.repository(self.installation, name, purpose).await?)
    }

    /// Records the repository of the delivery, and its installation if that is not known yet. `None`: the
    /// installation was removed, and this delivery is late.
    async fn record_repository(&self, tx: &mut Tx) -> Result<Option<RepositoryRow>, TaskError> {
        let now = self.context.clock.now();
        if tx.was_removed(self.installation).await? {
            return Ok(None);
        }
        if tx.installation(self.installation).await?.is_none() {
            let account = self.repository.full_name.owner().to_owned();
            let row = InstallationRow { id: self.installation, account, suspended: false };
            tx.record_installation(&row, now).await?;
        }
        let before = tx.find_repository_by_github_id(self.repository.id).await?;
        let row = tx.record_repository(&facts(self.repository), self.installation, now).await?;
        if let Some(before) = before
            && !before.name.owner().eq_ignore_ascii_case(row.name.owner())
            && before.installation != row.installation
        {
            tracing::info!(from = %before.name, to = %row.name, "the repository has another owner: its history is kept, the old owner's tokens were revoked");
        }
        Ok(Some(row))
    }
}
