//! Clients of a repository's GitHub API, for tasks. Refuses repositories that may not be called: without
//! an installation, archived, or with a suspended installation.

use std::time::Duration;

use super::{TaskError, WorkerContext};
use pacegate_engine::model::ids::RepoId;
use pacegate_github::RepoClient;
use pacegate_github::app_auth::Purpose;
use pacegate_store::RepositoryRow;

/// Interval at which a task looks again at a suspended installation.
const SUSPENDED: Duration = Duration::from_mins(10);

/// Delay of a task whose installation is suspended: well below the timeout of a check.
pub(super) fn suspended_wait(context: &WorkerContext) -> Duration {
    SUSPENDED.min(context.check_timeout / 12)
}

/// A client for a repository. `None` in local mode, if no installation covers the repository, or if it is
/// archived: GitHub takes no writes there. `TooEarly` while the installation is suspended.
pub(super) async fn client(
    context: &WorkerContext,
    repo: RepoId,
    purpose: Purpose,
) -> Result<Option<(RepositoryRow, RepoClient)>, TaskError> {
    let Some(app) = &context.app else { return Ok(None) };
    let mut tx = context.db.read().await?;
    let Some(repository) = tx.repository(repo).await? else { return Ok(None) };
    let Some(installation) = repository.installation.filter(|_| !repository.archived) else {
        return Ok(None);
    };
    match tx.installation(installation).await? {
        None => return Ok(None),
        Some(row) if row.suspended => return Err(TaskError::TooEarly(suspended_wait(context))),
        Some(_) => {}
    }
    drop(tx);
    let client = app.repository(installation, &repository.name, purpose).await?;
    Ok(Some((repository, client)))
}
