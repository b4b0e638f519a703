//! Handles refusals that may mean that the App lost access: asks GitHub whether the installation and
//! the repository still exist. If not, that is recorded and the task ends.

use std::time::Duration;

use crate::tasks::github_client::suspended_wait;
use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::model::ids::RepoId;
use pacegate_github::GitHubError;
use pacegate_store::InstallationRow;

/// Delay before the task runs again with another installation of the same repository.
const MOVED: Duration = Duration::from_secs(1);

fn may_mean_lost_access(error: &TaskError) -> bool {
    matches!(
        error,
        TaskError::GitHub(GitHubError::NotFound { .. } | GitHubError::Refused { status: 403 | 422, .. })
    )
}

/// `Ok` if the task's error means that there is nothing left to do. Otherwise the error to settle the
/// task with: its own, or `TooEarly`.
pub(in crate::tasks) async fn handle_lost_access(
    context: &WorkerContext,
    repo: RepoId,
    error: TaskError,
) -> Result<(), TaskError> {
    let Some(app) = context.app.as_ref().filter(|_| may_mean_lost_access(&error)) else {
        return Err(error);
    };
    let Some(row) = context.db.read().await?.repository(repo).await? else { return Ok(()) };
    let (Some(installation), Some(github_id)) = (row.installation, row.github_id) else { return Ok(()) };
    if let TaskError::GitHub(GitHubError::Refused { status: 403, message, .. }) = &error
        && message.to_ascii_lowercase().contains("archived")
    {
        let mut tx = context.db.write().await?;
        tx.archive_repository(repo).await?;
        tx.commit().await?;
        tracing::info!(repo = %row.name, "the repository is archived: nothing is posted there");
        return Ok(());
    }
    let now = context.clock.now();
    // If GitHub can't answer this either, the first error counts.
    let Ok(found) = app.installation(installation).await else { return Err(error) };
    let Some(found) = found else {
        let mut tx = context.db.write().await?;
        tx.remove_installation(installation, now).await?;
        tx.commit().await?;
        tracing::info!(installation = installation.0, "the installation was removed: its tasks end");
        return Ok(());
    };
    if found.is_suspended() {
        let account = found.account().to_owned();
        let mut tx = context.db.write().await?;
        tx.record_installation(&InstallationRow { id: installation, account, suspended: true }, now).await?;
        tx.commit().await?;
        return Err(TaskError::TooEarly(suspended_wait(context)));
    }
    let covering = match app.installation_of(&row.name).await {
        Ok(covering) => Some(covering),
        Err(GitHubError::NotFound { .. }) => None,
        Err(_) => return Err(error),
    };
    match covering {
        None => {
            let mut tx = context.db.write().await?;
            tx.detach_repository(github_id, installation).await?;
            tx.commit().await?;
            tracing::info!(repo = %row.name, "no installation covers the repository any more: its tasks end");
            Ok(())
        }
        Some(covering) if covering == installation => Err(error),
        Some(covering) => {
            let mut tx = context.db.write().await?;
            tx.move_repository(repo, covering).await?;
            tx.commit().await?;
            tracing::info!(repo = %row.name, installation = covering.0, "another installation covers the repository now");
            Err(TaskError::TooEarly(MOVED))
        }
    }
}
