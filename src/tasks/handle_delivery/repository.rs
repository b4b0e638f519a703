//! A repository was renamed, moved, archived, deleted, made public or private, or has another default
//! branch. News come late and in any order, so GitHub is asked how it is now; only closing does not
//! wait for that answer.

use super::Delivery;
use crate::tasks::TaskError;
use crate::tasks::reconcile::resume::resume;
use pacegate_github::app_auth::Purpose;
use pacegate_store::RepositoryFacts;

pub(super) async fn changed(delivery: Delivery<'_>, action: &str) -> Result<(), TaskError> {
    let (work, now) = (delivery.work, delivery.work.clock.now());
    let mut tx = work.db.write().await?;
    if action == "deleted" {
        tx.detach_repository(delivery.repository.id, delivery.installation).await?;
        tracing::info!(repo = %delivery.repository.full_name, "the repository was deleted on GitHub");
        return Ok(tx.commit().await?);
    }
    let Some(row) = delivery.record_repository(&mut tx).await? else { return Ok(()) };
    if action == "privatized" {
        tx.close_repository(row.id, now).await?;
    }
    tx.commit().await?;
    tracing::info!(repo = %row.name, action, "GitHub says the repository changed");
    let Some(app) = &work.app else { return Ok(()) };
    let client = delivery.client(app, &row.name, Purpose::ReadMetadata).await?;
    let present = client.repository().await?;
    if present.id != delivery.repository.id {
        return Ok(()); // another repository has the name by now
    }
    let facts = RepositoryFacts {
        github_id: present.id,
        name: present.full_name,
        default_branch: Some(present.default_branch),
        private: present.private,
    };
    let mut tx = work.db.write().await?;
    let before = tx.repository(row.id).await?;
    tx.confirm_repository(&facts, present.archived, delivery.installation, now).await?;
    if !present.archived && before.is_some_and(|before| before.archived) {
        resume(work, &mut tx, &[row.id], &format!("delivery {}", delivery.id)).await?;
    }
    Ok(tx.commit().await?)
}
