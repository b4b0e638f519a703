//! The App was installed or removed, or may act on other repositories than before.

use super::facts;
use crate::github::webhook::EventRepository;
use crate::jobs::{Job, JobError, Work};
use crate::model::ids::InstallationId;
use crate::store::InstallationRow;

pub(super) async fn present(
    work: &Work,
    delivery_id: &str,
    row: &InstallationRow,
    repositories: &[EventRepository],
    removed: &[EventRepository],
) -> Result<(), JobError> {
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
    let mut tx = work.db.write().await?;
    tx.record_installation(row, now).await?;
    for repository in repositories {
        let repo = tx.record_repository(&facts(repository), row.id, now).await?.id;
        if !row.suspended && work.app.is_some() {
            let discover = Job::DiscoverWorkflows { repo, cause: format!("delivery {delivery_id}") };
            discover.push(&mut tx, now, &work.chance, now).await?;
            // Pull requests that are open already get a check, and their runs are read.
            let reconcile = Job::ReconcileRepository { repo, slot: now.0 };
            reconcile.push(&mut tx, now, &work.chance, now).await?;
        }
    }
    for repository in removed {
        tx.detach_repository(repository.id, row.id).await?;
    }
    tx.commit().await?;
    Ok(())
}

pub(super) async fn removed(work: &Work, installation: InstallationId) -> Result<(), JobError> {
    let mut tx = work.db.write().await?;
    tx.remove_installation(installation, work.clock.now()).await?;
    tx.commit().await?;
    Ok(())
}
