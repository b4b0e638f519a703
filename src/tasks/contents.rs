//! Files of a repository for the jobs: may we read them, and those at a commit, which are asked
//! for once. What GitHub withholds is a word of its own, no error: every job goes on without.

use super::publishing::client;
use super::{TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_github::app_auth::Purpose;
use pacegate_github::contents::FileText;
use pacegate_github::{GitHubError, RepoClient};

/// Stands in the database for a file that is too large or no text: alone in a file it is nothing
/// else.
pub(super) const NOT_TEXT: &str = "\u{fffd}";

/// Whether files can be read.
pub(super) enum Access {
    /// They can.
    Granted(Box<RepoClient>),
    /// The installation did not grant it.
    NotGranted,
    /// There is no App, or it is not installed there.
    NoGitHub,
}

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lookup {
    /// Its text, [`NOT_TEXT`] for one that can't be read; none when there is no such file.
    Known(Option<String>),
    /// The installation did not grant it.
    NotGranted,
    /// There is no App, or it is not installed there.
    NoGitHub,
}

/// A client that reads files.
pub(super) async fn access(work: &WorkerContext, repo: RepoId) -> Result<Access, TaskError> {
    match client(work, repo, Purpose::ReadContents).await {
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

/// A file at a branch or commit, from GitHub.
pub(super) async fn fetch(client: &RepoClient, path: &str, git_ref: &str) -> Result<Lookup, TaskError> {
    match client.file(path, git_ref).await {
        Ok(file) => Ok(Lookup::Known(file.map(|file| match file {
            // PostgreSQL keeps no text with a zero character.
            FileText::Text(text) if !text.contains('\0') => text,
            FileText::Text(_) | FileText::Unreadable => NOT_TEXT.to_owned(),
        }))),
        Err(error) if error.is_not_granted() => Ok(Lookup::NotGranted),
        Err(error) => Err(error.into()),
    }
}

/// A file at a commit, which never changes: from the database, else from GitHub.
pub(super) async fn file_at(
    work: &WorkerContext,
    repo: RepoId,
    commit: &CommitSha,
    path: &str,
) -> Result<Lookup, TaskError> {
    if let Some(text) = work.db.read().await?.file_at(repo, commit, path).await? {
        return Ok(Lookup::Known(text));
    }
    let found = match access(work, repo).await? {
        Access::Granted(client) => fetch(&client, path, commit.as_str()).await?,
        Access::NotGranted => Lookup::NotGranted,
        Access::NoGitHub => Lookup::NoGitHub,
    };
    if let Lookup::Known(text) = &found {
        let mut tx = work.db.write().await?;
        tx.record_file_at(repo, commit, path, text.as_deref(), work.clock.now()).await?;
        tx.commit().await?;
    }
    Ok(found)
}
