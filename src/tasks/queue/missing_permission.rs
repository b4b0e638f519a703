//! A refusal that may mean "not granted": GitHub is asked what the installation lets us do. Without
//! `actions: read` the runs of workflows are not read, which is told and is no error; spans that
//! are sent are judged all the same.

use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::model::ids::RepoId;

/// GitHub's name for the permission, with its level.
pub(in crate::tasks) const ACTIONS: &str = "actions: read";

/// What is told where it is missing.
pub(in crate::tasks) const NOT_GRANTED: &str = "the App may not read this repository's workflow runs: its permission actions:read \
                                      is missing; an owner grants it where the App is installed";

/// Nothing, when the error of a call that reads workflow runs means that the installation did not
/// grant it; the error itself otherwise.
pub(in crate::tasks) async fn missing_permission(
    work: &WorkerContext,
    repo: RepoId,
    error: TaskError,
) -> Result<(), TaskError> {
    let TaskError::GitHub(refusal) = &error else { return Err(error) };
    let Some(app) = work.app.as_ref().filter(|_| refusal.is_not_granted()) else { return Err(error) };
    let Some(row) = work.db.read().await?.repository(repo).await? else { return Err(error) };
    let Some(installation) = row.installation else { return Err(error) };
    // A GitHub that can't answer this either leaves the first error as it is.
    let Ok(Some(found)) = app.installation(installation).await else { return Err(error) };
    if found.grants("actions") {
        return Err(error);
    }
    tracing::warn!(repo = %row.name, NOT_GRANTED);
    Ok(())
}
