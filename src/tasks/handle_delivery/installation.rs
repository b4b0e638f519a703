//! The App was installed or removed, or may act on other repositories than before.

use super::facts;
use crate::tasks::reconcile::resume::resume;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::InstallationId;
use pacegate_github::GitHubError;
use pacegate_github::webhook::EventRepository;
use pacegate_store::InstallationRow;

pub(super) async fn present(
    work: &WorkerContext,
    delivery_id: &str,
    row: &InstallationRow,
    repositories: &[EventRepository],
    removed: &[EventRepository],
) -> Result<(), TaskError> {
    let now = work.clock.now();
    // Deliveries come late and out of order: GitHub's present word settles every order.
    let row = &match &work.app {
        None => row.clone(),
        Some(app) => match app.installation(row.id).await? {
            Some(found) => {
                InstallationRow { id: row.id, account: row.account.clone(), suspended: found.is_suspended() }
            }
            None => return self::removed(work, row.id).await,
        },
    };
    let lost_access = lost_access(work, row.id, removed).await?;
    let mut tx = work.db.write().await?;
    let was_suspended = tx.installation(row.id).await?.is_some_and(|before| before.suspended);
    tx.record_installation(row, now).await?;
    let mut back = Vec::new();
    for repository in repositories {
        let before = tx.find_repository_by_github_id(repository.id).await?;
        let repo = tx.record_repository(&facts(repository), row.id, now).await?.id;
        if before.is_some_and(|before| before.installation != Some(row.id)) {
            back.push(repo);
        }
        if !row.suspended && work.app.is_some() {
            let discover = Task::DiscoverWorkflows { repo, cause: format!("delivery {delivery_id}") };
            discover.push(&mut tx, now, &work.rng, now).await?;
            // Pull requests that are open already get a check, and their runs are read.
            let reconcile = Task::ReconcileRepository { repo, slot: now.0 };
            reconcile.push(&mut tx, now, &work.rng, now).await?;
        }
    }
    for github_id in lost_access {
        tx.detach_repository(github_id, row.id).await?;
    }
    if was_suspended {
        back = tx.repositories_of_installation(row.id).await?;
    }
    if !row.suspended {
        resume(work, &mut tx, &back, &format!("delivery {delivery_id}")).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Those of the repositories that were taken out of the installation, by GitHub's numbers, that have
/// not been put back since.
async fn lost_access(
    work: &WorkerContext,
    installation: InstallationId,
    removed: &[EventRepository],
) -> Result<Vec<i64>, TaskError> {
    let mut lost_access = Vec::with_capacity(removed.len());
    for repository in removed {
        let row = work.db.read().await?.find_repository_by_github_id(repository.id).await?;
        // Of one that is not held by this installation there is nothing to be undone.
        let Some(row) = row.filter(|row| row.installation == Some(installation)) else { continue };
        let covering = match &work.app {
            None => None,
            Some(app) => match app.installation_of(&row.name).await {
                Ok(covering) => Some(covering),
                Err(GitHubError::NotFound { .. }) => None,
                Err(error) => return Err(error.into()),
            },
        };
        if covering != Some(installation) {
            lost_access.push(repository.id);
        }
    }
    Ok(lost_access)
}

pub(super) async fn removed(work: &WorkerContext, installation: InstallationId) -> Result<(), TaskError> {
    let mut tx = work.db.write().await?;
    tx.remove_installation(installation, work.clock.now()).await?;
    tx.commit().await?;
    Ok(())
}
