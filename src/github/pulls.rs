//! Pull requests, as GitHub answers them.

use serde::Deserialize;

use super::{GitHubError, RepoClient};
use crate::model::ids::{CommitSha, PrNumber};

/// A pull request's present state.
#[derive(Debug, Clone, Deserialize)]
pub struct PullRequest {
    /// Its number.
    pub number: i64,
    /// `open` or `closed`.
    pub state: String,
    /// What is to be merged.
    pub head: Branch,
    /// What it is to be merged into.
    pub base: Branch,
    /// When it was merged, RFC 3339; none when it was not.
    #[serde(default)]
    pub merged_at: Option<String>,
}

/// One side of a pull request.
#[derive(Debug, Clone, Deserialize)]
pub struct Branch {
    /// Branch name.
    #[serde(rename = "ref")]
    pub name: String,
    /// Its newest commit.
    pub sha: CommitSha,
    /// The repository it is in; none when that was deleted.
    pub repo: Option<BranchRepository>,
}

/// The repository of a branch.
#[derive(Debug, Clone, Deserialize)]
pub struct BranchRepository {
    /// GitHub's number.
    pub id: i64,
}

impl PullRequest {
    /// Whether its head is in another repository than its base, or in none any more: a branch
    /// of that name is then not one of ours.
    #[must_use]
    pub fn is_from_fork(&self) -> bool {
        let id = |branch: &Branch| branch.repo.as_ref().map(|repo| repo.id);
        id(&self.head).is_none() || id(&self.head) != id(&self.base)
    }
}

impl RepoClient {
    /// The present state of a pull request.
    pub async fn pull_request(&self, number: PrNumber) -> Result<PullRequest, GitHubError> {
        self.transport.get(&format!("/repos/{}/pulls/{}", self.repo, number.0)).await
    }

    /// The open pull requests from a branch of an owner's repository, at most 30.
    pub async fn open_pull_requests_from(
        &self,
        owner: &str,
        branch: &str,
    ) -> Result<Vec<PullRequest>, GitHubError> {
        let query = super::query(&[("state", "open"), ("head", &format!("{owner}:{branch}"))]);
        self.transport.get(&format!("/repos/{}/pulls?{query}", self.repo)).await
    }
}
