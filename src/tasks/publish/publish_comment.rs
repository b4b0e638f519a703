//! Keeps the one comment of a pull request, which shows the comparison of its newest head. The comment is
//! found by its stored number, else by its marker and our App as author, before one is created. One
//! comment has one writer at a time.

use serde::{Deserialize, Serialize};

use crate::tasks::github_client::client;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::{ComparisonId, PrNumber, RepoId};
use pacegate_github::app_auth::Purpose;
use pacegate_report::comment::{Comment, MARKER};
use pacegate_store::ComparisonRow;

/// `comparison` and `cause` make the key: equal comparisons for another cause are published again.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PublishComment {
    pub(crate) repo: RepoId,
    pub(crate) number: PrNumber,
    pub(crate) comparison: ComparisonId,
    pub(crate) cause: String,
}

impl Task for PublishComment {
    const KIND: &'static str = "publish_comment";

    fn repo(&self) -> Option<RepoId> {
        Some(self.repo)
    }

    fn dedupe_key(&self) -> String {
        format!("{}:{}:{}:{}", self.repo.0, self.number.0, self.comparison, self.cause)
    }

    fn serial_key(&self) -> Option<String> {
        Some(format!("comment:{}:{}", self.repo.0, self.number.0))
    }

    async fn run(self, context: &WorkerContext) -> Result<(), TaskError> {
        let Self { repo, number, .. } = self;
        let mut tx = context.db.read().await?;
        let Some(pull_request) = tx.pull_request(repo, number).await?.filter(|pr| pr.is_open) else {
            return Ok(());
        };
        // The comment shows the newest head only, also if this task was pushed for another one.
        let Some(row) = tx.newest_comparison(repo, &pull_request.head_sha).await? else { return Ok(()) };
        let stored = tx.comment(repo, number).await?;
        drop(tx);
        let comparison = row.id.clone();
        if stored.as_ref().is_some_and(|(_, shown)| *shown == comparison) {
            return Ok(());
        }
        let Some((repository, client)) = client(context, repo, Purpose::WriteComments).await? else {
            return Ok(());
        };
        let row = ComparisonRow { pull_request: Some(number), ..row };
        let (body, may_create) = match context.report(&repository.name, row).comment() {
            Comment::Silent => return Ok(()),
            Comment::ResolveOnly(body) => (body, false),
            Comment::Post(body) => (body, true),
        };
        let mut existing = None;
        if let Some((id, _)) = stored {
            // `None`: the comment was deleted.
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
        let mut tx = context.db.write().await?;
        tx.record_comment(repo, number, id, &comparison).await?;
        tx.commit().await?;
        Ok(())
    }
}
