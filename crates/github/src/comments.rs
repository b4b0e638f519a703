//! The one comment on a pull request: found by its hidden marker and our App as author before
//! one is made, so that a repeat converges and nobody else's comment is ever edited.

use serde::{Deserialize, Serialize};

use super::{GitHubError, RepoClient};
use pacegate_engine::model::ids::PrNumber;

/// A comment on a pull request.
#[derive(Debug, Clone, Deserialize)]
pub struct Comment {
    /// GitHub's number.
    pub id: i64,
    /// Markdown.
    pub body: Option<String>,
    performed_via_github_app: Option<AppReference>,
}

#[derive(Debug, Clone, Deserialize)]
struct AppReference {
    id: u64,
}

#[derive(Serialize)]
struct CommentRequest<'a> {
    body: &'a str,
}

impl RepoClient {
    /// Our comment on a pull request that begins with this marker, if there is one.
    pub async fn find_comment(&self, number: PrNumber, marker: &str) -> Result<Option<Comment>, GitHubError> {
        for page in 1..=30 {
            let route = format!("/repos/{}/issues/{}/comments?per_page=100&page={page}", self.repo, number.0);
            let comments: Vec<Comment> = self.transport.get(&route).await?;
            let last = comments.len() < 100;
            let ours = comments.into_iter().find(|comment| {
                comment.performed_via_github_app.as_ref().is_some_and(|app| app.id == self.app_id)
                    && comment.body.as_deref().is_some_and(|body| body.starts_with(marker))
            });
            if ours.is_some() || last {
                return Ok(ours);
            }
        }
        Ok(None)
    }

    /// Posts a comment.
    pub async fn create_comment(&self, number: PrNumber, body: &str) -> Result<Comment, GitHubError> {
        let route = format!("/repos/{}/issues/{}/comments", self.repo, number.0);
        self.transport.post(&route, &CommentRequest { body }).await
    }

    /// Replaces a comment's text. `None`: it is gone, somebody deleted it.
    pub async fn update_comment(&self, id: i64, body: &str) -> Result<Option<Comment>, GitHubError> {
        let route = format!("/repos/{}/issues/comments/{id}", self.repo);
        match self.transport.patch(&route, &CommentRequest { body }).await {
            Ok(comment) => Ok(Some(comment)),
            Err(GitHubError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
