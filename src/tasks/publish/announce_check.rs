//! Shows on GitHub, as soon as a pull request's head is known, that its check is on its way.

use super::publishing::{client, ensure_check_run};
use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_github::app_auth::Purpose;

pub(in crate::tasks) async fn announce_check(
    work: &WorkerContext,
    repo: RepoId,
    head_sha: &CommitSha,
    evaluation: i64,
) -> Result<(), TaskError> {
    let Some((_, client)) = client(work, repo, Purpose::WriteChecks).await? else { return Ok(()) };
    ensure_check_run(work, &client, repo, head_sha, evaluation).await?;
    Ok(())
}
