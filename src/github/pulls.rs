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
}

/// One side of a pull request.
#[derive(Debug, Clone, Deserialize)]
pub struct Branch {
    /// Branch name.
    #[serde(rename = "ref")]
    pub name: String,
    /// Its newest commit.
    pub sha: CommitSha,
}

impl RepoClient {
    /// The present state of a pull request.
    pub async fn pull_request(&self, number: PrNumber) -> Result<PullRequest, GitHubError> {
        self.transport.get(&format!("/repos/{}/pulls/{}", self.repo, number.0)).await
    }
}
