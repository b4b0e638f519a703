//! Who may do what in a repository.

use serde::Deserialize;

use super::{GitHubError, RepoClient};

/// GitHub's logins are at most this long; an Enterprise Server's may be longer.
const MAX_LOGIN: usize = 100;

#[derive(Deserialize)]
struct PermissionLevel {
    permission: String,
}

impl RepoClient {
    /// Whether GitHub lets somebody write to the repository. Nobody of an impossible name may.
    pub async fn may_write(&self, login: &str) -> Result<bool, GitHubError> {
        // `name[bot]` is an App, whose permissions are not a person's.
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
