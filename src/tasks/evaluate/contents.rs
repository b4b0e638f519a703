//! Files of a repository. A file at a commit never changes, so it is fetched once and stored. A missing
//! permission is a value, not an error: evaluation goes on without the file.

use crate::tasks::github_client::client;
use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_github::app_auth::Purpose;
use pacegate_github::contents::FileText;
use pacegate_github::{GitHubError, RepoClient};

/// Stored in place of a file that is too large or not text. No usable file has this one character as its
/// whole text.
pub(super) const NOT_TEXT: &str = "\u{fffd}";

/// Whether files can be read.
pub(super) enum Access {
    Granted(Box<RepoClient>),
    /// The installation did not grant `contents: read`.
    NotGranted,
    /// There is no App, or it is not installed there.
    NoGitHub,
}

/// The result of looking for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lookup {
    /// Its text, or [`NOT_TEXT`]. `None`: there is no such file.
    Known(Option<String>),
    /// The installation did not grant `contents: read`.
    NotGranted,
    /// There is no App, or it is not installed there.
    NoGitHub,
}

pub(super) async fn access(context: &WorkerContext, repo: RepoId) -> Result<Access, TaskError> {
    match client(context, repo, Purpose::ReadContents).await {
        Ok(Some((_, client))) => Ok(Access::Granted(Box::new(client))),
        Ok(None) => Ok(Access::NoGitHub),
        Err(TaskError::GitHub(error))
            if error.is_not_granted() || matches!(error, GitHubError::NotFound { .. }) =>
        {
            Ok(Access::NotGranted)
        }
        Err(error) => Err(error),
    }
}

/// Fetches a file at a branch or commit from GitHub.
pub(super) async fn fetch(client: &RepoClient, path: &str, git_ref: &str) -> Result<Lookup, TaskError> {
    match client.file(path, git_ref).await {
        Ok(file) => Ok(Lookup::Known(file.map(|file| match file {
            // PostgreSQL does not store a text with a zero character.
            FileText::Text(text) if !text.contains('\0') => text,
            FileText::Text(_) | FileText::Unreadable => NOT_TEXT.to_owned(),
        }))),
        Err(error) if error.is_not_granted() => Ok(Lookup::NotGranted),
        Err(error) => Err(error.into()),
    }
}

/// A file at a commit, from the database or else from GitHub.
pub(super) async fn file_at(
    context: &WorkerContext,
    repo: RepoId,
    commit: &CommitSha,
    path: &str,
) -> Result<Lookup, TaskError> {
    if let Some(text) = context.db.read().await?.file_at(repo, commit, path).await? {
        return Ok(Lookup::Known(text));
    }
    let found = match access(context, repo).await? {
        Access::Granted(client) => fetch(&client, path, commit.as_str()).await?,
        Access::NotGranted => Lookup::NotGranted,
        Access::NoGitHub => Lookup::NoGitHub,
    };
    if let Lookup::Known(text) = &found {
        let mut tx = context.db.write().await?;
        tx.record_file_at(repo, commit, path, text.as_deref(), context.clock.now()).await?;
        tx.commit().await?;
    }
    Ok(found)
}
