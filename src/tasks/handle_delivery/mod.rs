//! Acts on a webhook delivery, a file for each kind. Deliveries come late, twice and out of order,
//! so each starts from what GitHub says now; what is written is the same whatever the order.

mod check;
mod installation;
mod merge_group;
pub(super) mod pull_request;
mod push;
mod repository;
mod workflow_run;

use crate::tasks::publish::publishing::suspended_wait;
use crate::tasks::queue::lost_access::handle_lost_access;
use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::model::ids::{InstallationId, PrNumber, RepoName};
use pacegate_engine::model::time::Timestamp;
use pacegate_github::app_auth::{App, Purpose};
use pacegate_github::webhook::{Event, EventRepository};
use pacegate_github::{GitHubError, RepoClient};
use pacegate_store::{InstallationRow, RepositoryFacts, RepositoryRow, Tx};

/// A signed delivery about a repository.
#[derive(Clone, Copy)]
struct Delivery<'a> {
    work: &'a WorkerContext,
    /// GitHub's identifier of it: what it makes necessary is made necessary once.
    id: &'a str,
    installation: InstallationId,
    repository: &'a EventRepository,
}

pub(super) async fn handle_delivery(work: &WorkerContext, delivery_id: &str) -> Result<(), TaskError> {
    let mut tx = work.db.read().await?;
    let Some(body) = tx.delivery(delivery_id).await?.and_then(|delivery| delivery.body) else {
        return Ok(());
    };
    drop(tx);
    let event: Event = serde_json::from_str(&body).map_err(|e| TaskError::Unreadable(e.into()))?;
    let Err(error) = act_on(work, delivery_id, event).await else { return Ok(()) };
    let about: About = serde_json::from_str(&body).map_err(|e| TaskError::Unreadable(e.into()))?;
    let Some(repository) = about.repository else { return Err(error) };
    match work.db.read().await?.find_repository_by_github_id(repository.id).await? {
        Some(row) => handle_lost_access(work, row.id, error).await,
        None => Err(error),
    }
}

/// What an event is about, whichever it is.
#[derive(serde::Deserialize)]
struct About {
    repository: Option<EventRepository>,
}

async fn act_on(work: &WorkerContext, id: &str, event: Event) -> Result<(), TaskError> {
    macro_rules! delivery {
        ($installation:expr, $repository:expr) => {
            Delivery {
                work,
                id,
                installation: covering(work, InstallationId($installation), &$repository).await?,
                repository: &$repository,
            }
        };
    }
    match event {
        Event::PullRequest { installation, repository, number, head_sha, updated_at } => {
            let seen_at = Timestamp::parse_rfc3339(&updated_at).unwrap_or_else(|| work.clock.now());
            let delivery = delivery!(installation, repository);
            pull_request::changed(delivery, PrNumber(number), (head_sha, seen_at)).await
        }
        Event::InstallationPresent { installation, account, suspended, repositories, removed } => {
            let row = InstallationRow { id: InstallationId(installation), account, suspended };
            installation::present(work, id, &row, &repositories, &removed).await
        }
        Event::InstallationRemoved { installation } => {
            installation::removed(work, InstallationId(installation)).await
        }
        Event::CheckRerequested { installation, repository, head_sha, external_id } => {
            check::rerequested(delivery!(installation, repository), &head_sha, external_id.as_deref()).await
        }
        Event::SuiteRerequested { installation, repository, head_sha } => {
            check::rerequested(delivery!(installation, repository), &head_sha, None).await
        }
        Event::CheckAction { installation, repository, head_sha, external_id, identifier, sender } => {
            let pressed = check::Pressed { head_sha, external_id, identifier, sender };
            check::pressed(delivery!(installation, repository), &pressed).await
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

/// The installation that covers a repository: the one that sent the delivery, unless another is known
/// to. Then a delivery from before a transfer came late, or it tells of the transfer: GitHub knows.
async fn covering(
    work: &WorkerContext,
    sent: InstallationId,
    repository: &EventRepository,
) -> Result<InstallationId, TaskError> {
    let row = work.db.read().await?.find_repository_by_github_id(repository.id).await?;
    let known = row.and_then(|row| row.installation).filter(|known| *known != sent);
    let (Some(known), Some(app)) = (known, &work.app) else { return Ok(sent) };
    let asked = async {
        let client = app.repository(sent, &repository.full_name, Purpose::ReadMetadata).await?;
        client.repository().await
    };
    match asked.await {
        // By its number: another repository may have the old name by now.
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
    /// A client for its repository under a name; too early while the installation is suspended.
    async fn client(&self, app: &App, name: &RepoName, purpose: Purpose) -> Result<RepoClient, TaskError> {
        let row = self.work.db.read().await?.installation(self.installation).await?;
        if row.is_some_and(|row| row.suspended) {
            return Err(TaskError::TooEarly(suspended_wait(self.work)));
        }
        Ok(app.repository(self.installation, name, purpose).await?)
    }

    /// The repository of the delivery, recorded; the installation too, when its own delivery has not
    /// come yet. None when the installation was removed: this delivery comes late.
    async fn record_repository(&self, tx: &mut Tx) -> Result<Option<RepositoryRow>, TaskError> {
        let now = self.work.clock.now();
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
