//! The comment on a pull request. It is found by its hidden marker and by our App as author before
//! one is created. So a repeated attempt finds it, and the comments of others are never edited.

use serde::{Deserialize, Serialize};

use super::{GitHubError, RepoClient};
use pacegate_engine::model::ids::PrNumber;

/// A comment on a pull request.
#[derive(Debug, Clone, Deserialize)]
pub struct Comment {
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
    /// Finds our App's comment that begins with `marker`.
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

    pub async fn create_comment(&self, number: PrNumber, body: &str) -> Result<Comment, GitHubError> {
        let route = format!("/repos/{}/issues/{}/comments", self.repo, number.0);
        self.transport.post(&route, &CommentRequest { body }).await
    }

    /// Replaces a comment's text. `None`: the comment was deleted.
    pub async fn update_comment(&self, id: i64, body: &str) -> Result<Option<Comment>, GitHubError> {
        let route = format!("/repos/{}/issues/comments/{id}", self.repo);
        match self.transport.patch(&route, &CommentRequest { body }).await {
            Ok(comment) => Ok(Some(comment)),
            Err(GitHubError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
