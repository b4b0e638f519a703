//! GitHub, seen through octocrab as a transport: what we send, what we read back and what an
//! error means for a retry. Nothing here retries by itself: the job queue does, with the
//! delay GitHub asks for.

pub mod app_auth;
pub mod checks;
mod client;
pub mod comments;
pub mod contents;
pub mod pulls;
pub mod webhook;

use std::time::Duration;

pub use client::RepoClient;

/// Why GitHub did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum GitHubError {
    /// A rate limit: GitHub said, or its documentation says, how long to wait.
    #[error("GitHub asks to wait {} s before the next call ({call})", wait.as_secs())]
    RateLimited {
        /// Method and route.
        call: String,
        /// How long.
        wait: Duration,
    },
    /// GitHub could not be reached, or answered that it is in trouble.
    #[error("GitHub could not answer ({call}): {reason}")]
    Unavailable {
        /// Method and route.
        call: String,
        /// Status or transport error.
        reason: String,
    },
    /// What was asked for is not there, or not for us.
    #[error("GitHub has nothing there for this App ({call}): was it uninstalled or the repository removed?")]
    NotFound {
        /// Method and route.
        call: String,
    },
    /// GitHub understood and refused.
    #[error("GitHub refused ({call}): {status} {message}")]
    Refused {
        /// Method and route.
        call: String,
        /// HTTP status.
        status: u16,
        /// GitHub's message.
        message: String,
    },
    /// GitHub's answer is not what its description promises.
    #[error("GitHub's answer could not be read ({call})")]
    Unreadable {
        /// Method and route.
        call: String,
        /// What was wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The App's key or the API's address is unusable: somebody has to configure it.
    #[error("{0}")]
    Configuration(String),
}

/// What an error means for the job that met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryClass {
    /// Again after this long, as GitHub asks.
    After(Duration),
    /// Again after a growing delay.
    Backoff,
    /// Never: the same call gets the same answer.
    Never,
}

impl GitHubError {
    /// Whether GitHub refused because the installation did not grant what was asked for: by a
    /// refusal of the token, or of the call made with it.
    #[must_use]
    pub fn is_not_granted(&self) -> bool {
        matches!(self, Self::Refused { status: 403 | 422, .. })
    }

    /// What this error means for a retry.
    #[must_use]
    pub fn retry_class(&self) -> RetryClass {
        match self {
            Self::RateLimited { wait, .. } => RetryClass::After(*wait),
            // 401: a token may have been revoked in flight, an installation may be settling.
            Self::Unavailable { .. } | Self::Refused { status: 401, .. } => RetryClass::Backoff,
            Self::NotFound { .. }
            | Self::Refused { .. }
            | Self::Unreadable { .. }
            | Self::Configuration(_) => RetryClass::Never,
        }
    }
}
