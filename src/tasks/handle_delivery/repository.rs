//! Handles changes of a repository: its name, owner, visibility, default branch, archiving and deletion.
//! Deliveries arrive late and out of order, so the current state is fetched. A repository that became
//! private is closed before that.

use super::Delivery;
use crate::tasks::TaskError;
use crate::tasks::reconcile::resume::resume;
use pacegate_github::app_auth::Purpose;
use pacegate_store::RepositoryFacts;

pub(super) async fn changed(delivery: Delivery<'_>, action: &str) -> Result<(), TaskError> {
    let (context, now) = (delivery.context, delivery.context.clock.now());
    let mut tx = context.db.write().await?;
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
    tracing::info!(repo = %row.name, action, "the repository changed on GitHub");
    let Some(app) = &context.app else { return Ok(()) };
    let client = delivery.client(app, &row.name, Purpose::ReadMetadata).await?;
    let present = client.repository().await?;
    if present.id != delivery.repository.id {
        return Ok(()); // the name belongs to another repository now
    }
    let facts = RepositoryFacts {
        github_id: present.id,
        name: present.full_name,
        default_branch: Some(present.default_branch),
        private: present.private,
    };
    let mut tx = context.db.write().await?;
    let before = tx.repository(row.id).await?;
    tx.confirm_repository(&facts, present.archived, delivery.installation, now).await?;
    if !present.archived && before.is_some_and(|before| before.archived) {
        resume(context, &mut tx, &[row.id], &format!("delivery {}", delivery.id)).await?;
    }
    Ok(tx.commit().await?)
}
