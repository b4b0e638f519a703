//! Handles the installation and removal of the App, and changes of its repositories.

use super::facts;
use crate::tasks::backfill::discover_workflows::DiscoverWorkflows;
use crate::tasks::reconcile::reconcile_repository::ReconcileRepository;
use crate::tasks::reconcile::resume::resume;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::InstallationId;
use pacegate_github::GitHubError;
use pacegate_github::webhook::EventRepository;
use pacegate_store::InstallationRow;

pub(super) async fn present(
    context: &WorkerContext,
    delivery_id: &str,
    row: &InstallationRow,
    repositories: &[EventRepository],
    removed: &[EventRepository],
) -> Result<(), TaskError> {
    let now = context.clock.now();
    // Deliveries arrive late and out of order. GitHub's current state counts.
    let row = &match &context.app {
        None => row.clone(),
        Some(app) => match app.installation(row.id).await? {
            Some(found) => {
                InstallationRow { id: row.id, account: row.account.clone(), suspended: found.is_suspended() }
            }
            None => return self::removed(context, row.id).await,
        },
    };
    let removed = confirm_removed(context, row.id, removed).await?;
    let mut tx = context.db.write().await?;
    let was_suspended = tx.installation(row.id).await?.is_some_and(|before| before.suspended);
    tx.record_installation(row, now).await?;
    let mut returned = Vec::new();
    for repository in repositories {
        let before = tx.find_repository_by_github_id(repository.id).await?;
        let repo = tx.record_repository(&facts(repository), row.id, now).await?.id;
        if before.is_some_and(|before| before.installation != Some(row.id)) {
            returned.push(repo);
        }
        if !row.suspended && context.app.is_some() {
            let discover = DiscoverWorkflows { repo, cause: format!("delivery {delivery_id}") };
            discover.push(&mut tx, now, &context.rng, now).await?;
            // Open pull requests get a check, and their runs are read.
            let reconcile = ReconcileRepository { repo, slot: now.0 };
            reconcile.push(&mut tx, now, &context.rng, now).await?;
        }
    }
    for github_id in removed {
        tx.detach_repository(github_id, row.id).await?;
    }
    if was_suspended {
        returned = tx.repositories_of_installation(row.id).await?;
    }
    if !row.suspended {
        resume(context, &mut tx, &returned, &format!("delivery {delivery_id}")).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// The repositories that were removed from the installation and not added again since, as GitHub's numbers.
async fn confirm_removed(
    context: &WorkerContext,
    installation: InstallationId,
    removed: &[EventRepository],
) -> Result<Vec<i64>, TaskError> {
    let mut confirmed = Vec::with_capacity(removed.len());
    for repository in removed {
        let row = context.db.read().await?.find_repository_by_github_id(repository.id).await?;
        // A repository of another installation is not changed.
        let Some(row) = row.filter(|row| row.installation == Some(installation)) else { continue };
        let covering = match &context.app {
            None => None,
            Some(app) => match app.installation_of(&row.name).await {
                Ok(covering) => Some(covering),
                Err(GitHubError::NotFound { .. }) => None,
                Err(error) => return Err(error.into()),
            },
        };
        if covering != Some(installation) {
            confirmed.push(repository.id);
        }
    }
    Ok(confirmed)
}

pub(super) async fn removed(context: &WorkerContext, installation: InstallationId) -> Result<(), TaskError> {
    let mut tx = context.db.write().await?;
    tx.remove_installation(installation, context.clock.now()).await?;
    tx.commit().await?;
    Ok(())
}
