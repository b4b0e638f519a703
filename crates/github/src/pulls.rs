//! Pull requests, as GitHub returns them.

use serde::Deserialize;

use super::{GitHubError, RepoClient};
use pacegate_engine::model::ids::{CommitSha, PrNumber};

/// The present state of a pull request.
#[derive(Debug, Clone, Deserialize)]
pub struct PullRequest {
    pub number: i64,
    /// `open` or `closed`.
    pub state: String,
    /// The branch to be merged.
    pub head: Branch,
    /// The branch to merge into.
    pub base: Branch,
    /// RFC 3339.
    #[serde(default)]
    pub updated_at: Option<String>,
    /// RFC 3339; none when it is not merged.
    #[serde(default)]
    pub merged_at: Option<String>,
}

/// One side of a pull request.
#[derive(Debug, Clone, Deserialize)]
pub struct Branch {
    #[serde(rename = "ref")]
    pub name: String,
    pub sha: CommitSha,
    /// None when the repository was deleted.
    pub repo: Option<BranchRepository>,
}

/// The repository of a branch.
#[derive(Debug, Clone, Deserialize)]
pub struct BranchRepository {
    pub id: i64,
}

impl PullRequest {
    /// GitHub's number of the base repository.
    #[must_use]
    pub fn repository_id(&self) -> Option<i64> {
        self.base.repo.as_ref().map(|repo| repo.id)
    }

    /// Whether the head is in another repository than the base, or in a deleted one. Then the name of
    /// the head branch does not mean a branch of the base repository.
    #[must_use]
    pub fn is_from_fork(&self) -> bool {
        let id = |branch: &Branch| branch.repo.as_ref().map(|repo| repo.id);
        id(&self.head).is_none() || id(&self.head) != id(&self.base)
    }
}

/// The open pull requests of a repository.
#[derive(Debug, Clone)]
pub struct OpenPullRequests {
    /// Most recently updated first.
    pub pull_requests: Vec<PullRequest>,
    /// False when the repository has more than were read.
    pub is_complete: bool,
}

impl RepoClient {
    /// The open pull requests, at most 1,000.
    pub async fn open_pull_requests(&self) -> Result<OpenPullRequests, GitHubError> {
        let mut pull_requests = Vec::new();
        // Pages are counted because the links to further pages are absolute URLs.
        for page in 1..=10 {
            let route = format!(
                "/repos/{}/pulls?state=open&sort=updated&direction=desc&per_page=100&page={page}",
                self.repo
            );
            let found: Vec<PullRequest> = self.transport.get(&route).await?;
            let is_complete = found.len() < 100;
            pull_requests.extend(found);
            if is_complete {
                return Ok(OpenPullRequests { pull_requests, is_complete });
            }
        }
        Ok(OpenPullRequests { pull_requests, is_complete: false })
    }

    /// The present state of a pull request.
    pub async fn pull_request(&self, number: PrNumber) -> Result<PullRequest, GitHubError> {
        self.transport.get(&format!("/repos/{}/pulls/{}", self.repo, number.0)).await
    }

    /// The open pull requests whose head is this branch in a repository of `owner`, at most 30.
    pub async fn open_pull_requests_from(
        &self,
        owner: &str,
        branch: &str,
    ) -> Result<Vec<PullRequest>, GitHubError> {
        let query = super::query(&[("state", "open"), ("head", &format!("{owner}:{branch}"))]);
        self.transport.get(&format!("/repos/{}/pulls?{query}", self.repo)).await
    }
}
