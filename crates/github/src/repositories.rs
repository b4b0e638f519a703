//! A repository, as GitHub answers it now: its number, name, default branch and who may see it.

use serde::Deserialize;

use super::{GitHubError, RepoClient};
use pacegate_engine::model::ids::RepoName;

/// A repository.
#[derive(Debug, Clone, Deserialize)]
pub struct RepositoryAnswer {
    /// GitHub's number.
    pub id: i64,
    /// Its present name.
    pub full_name: RepoName,
    /// The branch that others are merged into.
    pub default_branch: String,
    /// Whether only members may see it.
    pub private: bool,
    /// Whether it is read-only.
    #[serde(default)]
    pub archived: bool,
}

impl RepoClient {
    /// The repository this client speaks about.
    pub async fn repository(&self) -> Result<RepositoryAnswer, GitHubError> {
        self.transport.get(&format!("/repos/{}", self.repo)).await
    }
}
