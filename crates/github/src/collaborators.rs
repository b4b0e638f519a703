//! Permissions of people in a repository.

use serde::Deserialize;

use super::{GitHubError, RepoClient};

/// Longest login that is looked up, characters. Logins on GitHub are not longer.
const MAX_LOGIN: usize = 100;

#[derive(Deserialize)]
struct PermissionLevel {
    permission: String,
}

impl RepoClient {
    /// Whether a login may write to the repository. False for a name that can't be a login.
    pub async fn may_write(&self, login: &str) -> Result<bool, GitHubError> {
        // `name[bot]` is an App. Its permissions are not those of a collaborator.
        let is_login = !login.is_empty()
            && login.len() <= MAX_LOGIN
            && login.bytes().any(|b| b != b'.')
            && login.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if !is_login {
            return Ok(false);
        }
        let route = format!("/repos/{}/collaborators/{login}/permission", self.repo);
        match self.transport.get::<PermissionLevel>(&route).await {
            Ok(level) => Ok(matches!(level.permission.as_str(), "admin" | "write")),
            Err(GitHubError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
