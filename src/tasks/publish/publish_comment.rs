//! Keeps the one comment of a pull request: what the newest head's comparison says. It is found
//! by its number, else by its marker and our App as author, before one is made; one comment
//! has one writer at a time.

use super::publishing::client;
use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::model::ids::{PrNumber, RepoId};
use pacegate_github::app_auth::Purpose;
use pacegate_report::comment::{Comment, MARKER};
use pacegate_store::ComparisonRow;

pub(in crate::tasks) async fn publish_comment(
    work: &WorkerContext,
    repo: RepoId,
    number: PrNumber,
) -> Result<(), TaskError> {
    let mut tx = work.db.read().await?;
    let Some(pull_request) = tx.pull_request(repo, number).await?.filter(|pr| pr.is_open) else {
        return Ok(());
    };
    // Whichever head this job was pushed for: the comment speaks for the newest one only.
    let Some(row) = tx.newest_comparison(repo, &pull_request.head_sha).await? else { return Ok(()) };
    let stored = tx.comment(repo, number).await?;
    drop(tx);
    let comparison = row.id.clone();
    if stored.as_ref().is_some_and(|(_, shown)| *shown == comparison) {
        return Ok(());
    }
    let Some((repository, client)) = client(work, repo, Purpose::WriteComments).await? else {
        return Ok(());
    };
    let row = ComparisonRow { pull_request: Some(number), ..row };
    let (body, may_create) = match work.report(&repository.name, row).comment() {
        Comment::Silent => return Ok(()),
        Comment::ResolveOnly(body) => (body, false),
        Comment::Post(body) => (body, true),
    };
    let mut existing = None;
    if let Some((id, _)) = stored {
        // `None`: somebody deleted it.
        existing = client.update_comment(id, &body).await?.map(|comment| comment.id);
    }
    if existing.is_none() {
        existing = match client.find_comment(number, MARKER).await? {
            Some(found) if found.body.as_deref() == Some(body.as_str()) => Some(found.id),
            Some(found) => client.update_comment(found.id, &body).await?.map(|comment| comment.id),
            None => None,
        };
    }
    let id = match existing {
        Some(id) => id,
        None if may_create => client.create_comment(number, &body).await?.id,
        None => return Ok(()),
    };
    let mut tx = work.db.write().await?;
    tx.record_comment(repo, number, id, &comparison).await?;
    tx.commit().await?;
    Ok(())
}
