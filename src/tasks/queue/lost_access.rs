//! A refusal that may mean "gone": GitHub is asked whether the installation and the repository are
//! still there. If they are not, that is recorded, and the job has nothing left to do.

use std::time::Duration;

use crate::tasks::publish::publishing::suspended_wait;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::RepoId;
use pacegate_github::GitHubError;
use pacegate_store::InstallationRow;

/// A repository that another installation covers is tried there.
const MOVED: Duration = Duration::from_secs(1);

impl Task {
    /// The repository a job is about; a delivery's is in the delivery.
    pub(in crate::tasks) fn repo(&self) -> Option<RepoId> {
        match self {
            Self::HandleDelivery { .. } | Self::SweepDeliveries { .. } => None,
            Self::CollectRun { repo, .. }
            | Self::CollectWorkflowRun { repo, .. }
            | Self::DiscoverWorkflows { repo, .. }
            | Self::BackfillWorkflow { repo, .. }
            | Self::EvaluateHead { repo, .. }
            | Self::AnnounceCheck { repo, .. }
            | Self::ConfirmByRerun { repo, .. }
            | Self::ShowAwaited { repo, .. }
            | Self::ReconcileRepository { repo, .. }
            | Self::RefreshPullRequest { repo, .. }
            | Self::PublishComparison { repo, .. }
            | Self::PublishComment { repo, .. }
            | Self::ConcludeSupersededCheck { repo, .. }
            | Self::ConcludeSilentCheck { repo, .. } => Some(*repo),
        }
    }
}

fn may_mean_gone(error: &TaskError) -> bool {
    matches!(
        error,
        TaskError::GitHub(GitHubError::NotFound { .. } | GitHubError::Refused { status: 403 | 422, .. })
    )
}

/// What an error of a job about a repository comes to, once GitHub was asked.
pub(in crate::tasks) async fn handle_lost_access(
    work: &WorkerContext,
    repo: RepoId,
    error: TaskError,
) -> Result<(), TaskError> {
    let Some(app) = work.app.as_ref().filter(|_| may_mean_gone(&error)) else { return Err(error) };
    let Some(row) = work.db.read().await?.repository(repo).await? else { return Ok(()) };
    let (Some(installation), Some(github_id)) = (row.installation, row.github_id) else { return Ok(()) };
    if let TaskError::GitHub(GitHubError::Refused { status: 403, message, .. }) = &error
        && message.to_ascii_lowercase().contains("archived")
    {
        let mut tx = work.db.write().await?;
        tx.archive_repository(repo).await?;
        tx.commit().await?;
        tracing::info!(repo = %row.name, "the repository is archived: nothing is posted there");
        return Ok(());
    }
    let now = work.clock.now();
    // A GitHub that can't answer this either leaves the first error as it is.
    let Ok(found) = app.installation(installation).await else { return Err(error) };
    let Some(found) = found else {
        let mut tx = work.db.write().await?;
        tx.remove_installation(installation, now).await?;
        tx.commit().await?;
        tracing::info!(installation = installation.0, "the installation is gone: its jobs end");
        return Ok(());
    };
    if found.is_suspended() {
        let account = found.account().to_owned();
        let mut tx = work.db.write().await?;
        tx.record_installation(&InstallationRow { id: installation, account, suspended: true }, now).await?;
        tx.commit().await?;
        return Err(TaskError::TooEarly(suspended_wait(work)));
    }
    let covering = match app.installation_of(&row.name).await {
        Ok(covering) => Some(covering),
        Err(GitHubError::NotFound { .. }) => None,
        Err(_) => return Err(error),
    };
    match covering {
        None => {
            let mut tx = work.db.write().await?;
            tx.detach_repository(github_id, installation).await?;
            tx.commit().await?;
            tracing::info!(repo = %row.name, "no installation covers the repository any more: its jobs end");
            Ok(())
        }
        Some(covering) if covering == installation => Err(error),
        Some(covering) => {
            let mut tx = work.db.write().await?;
            tx.move_repository(repo, covering).await?;
            tx.commit().await?;
            tracing::info!(repo = %row.name, installation = covering.0, "another installation covers the repository now");
            Err(TaskError::TooEarly(MOVED))
        }
    }
}
