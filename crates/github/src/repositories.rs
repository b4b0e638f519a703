//! A repository's present name, default branch and visibility, as GitHub returns them.

use serde::Deserialize;

use super::{GitHubError, RepoClient};
use pacegate_engine::model::ids::RepoName;

/// A repository.
#[derive(Debug, Clone, Deserialize)]
pub struct RepositoryAnswer {
    pub id: i64,
    pub full_name: RepoName,
    pub default_branch: String,
    /// Only members may see it.
    pub private: bool,
    #[serde(default)]
    pub archived: bool,
}

impl RepoClient {
    /// The present state of this client's repository.
    pub async fn repository(&self) -> Result<RepositoryAnswer, GitHubError> {
        self.transport.get(&format!("/repos/{}", self.repo)).await
    }
}
