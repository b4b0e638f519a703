//! Handles refusals that may mean a missing permission: asks GitHub which permissions the installation
//! has. Without `actions: read`, workflow runs are not read. Pushed spans are still evaluated.

use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::model::ids::RepoId;

/// The permission as GitHub names it, with its level.
pub(in crate::tasks) const ACTIONS: &str = "actions: read";

/// Warning in the log, and error of a backfill.
pub(in crate::tasks) const NOT_GRANTED: &str = "the App may not read this repository's workflow runs: its permission actions:read is missing; an owner grants it \
     where the App is installed";

/// `Ok` if a call that reads workflow runs failed because the installation has no `actions: read`.
/// Otherwise the error.
pub(in crate::tasks) async fn allow_missing_permission(
    context: &WorkerContext,
    repo: RepoId,
    error: TaskError,
) -> Result<(), TaskError> {
    let TaskError::GitHub(refusal) = &error else { return Err(error) };
    let Some(app) = context.app.as_ref().filter(|_| refusal.is_not_granted()) else { return Err(error) };
    let Some(row) = context.db.read().await?.repository(repo).await? else { return Err(error) };
    let Some(installation) = row.installation else { return Err(error) };
    // If GitHub can't answer this either, the first error counts.
    let Ok(Some(found)) = app.installation(installation).await else { return Err(error) };
    if found.grants("actions") {
        return Err(error);
    }
    tracing::warn!(repo = %row.name, "{NOT_GRANTED}");
    Ok(())
}
