//! GitHub, seen through octocrab as a transport: what we send, what we read back and what an
//! error means for a retry. Nothing here retries by itself: the job queue does, with the
//! delay GitHub asks for.

pub mod actions;
mod answer;
pub mod app_auth;
pub mod artifacts;
mod blobs;
pub mod checks;
mod client;
pub mod collaborators;
pub mod comments;
pub mod contents;
pub mod deliveries;
mod etags;
pub mod inspection;
pub mod oidc;
pub mod pulls;
pub mod rate_limiter;
pub mod registration;
pub mod repositories;
pub mod webhook;

use std::time::Duration;

pub use client::RepoClient;

use pacegate_engine::model::time::Timestamp;

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
    /// Our own gate: an earlier answer asked to wait, or others write to this installation.
    #[error("no call to this installation before {until} ({call})")]
    Postponed {
        /// Method and route.
        call: String,
        /// Until when.
        until: Timestamp,
    },
    /// Our own gate could not say whether the call may go.
    #[error("the budget of calls could not be looked up ({call})")]
    Gate {
        /// Method and route.
        call: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
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

/// Query parameters, percent-encoded.
fn query(parameters: &[(&str, &str)]) -> String {
    let url = reqwest::Url::parse_with_params("https://github.invalid", parameters);
    url.ok().and_then(|url| url.query().map(str::to_owned)).unwrap_or_default()
}

/// What an error means for the job that met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryClass {
    /// Again after this long, as GitHub asks.
    After(Duration),
    /// Again at this time.
    At(Timestamp),
    /// Again after a growing delay, for as long as an outage may last.
    Outage,
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

    /// The same error of a call that is named otherwise: where a route holds a secret.
    #[must_use]
    pub fn with_call(mut self, name: &str) -> Self {
        match &mut self {
            Self::RateLimited { call, .. }
            | Self::Postponed { call, .. }
            | Self::Gate { call, .. }
            | Self::Unavailable { call, .. }
            | Self::NotFound { call }
            | Self::Refused { call, .. }
            | Self::Unreadable { call, .. } => name.clone_into(call),
            Self::Configuration(_) => {}
        }
        self
    }

    /// What this error means for a retry.
    #[must_use]
    pub fn retry_class(&self) -> RetryClass {
        match self {
            Self::RateLimited { wait, .. } => RetryClass::After(*wait),
            Self::Postponed { until, .. } => RetryClass::At(*until),
            Self::Unavailable { .. } => RetryClass::Outage,
            // 401: a token may have been revoked in flight, an installation may be settling.
            // 301 and its like: the repository has another name, of which a delivery will tell. What
            // can't be read is a page of somebody between us, and gone when they are.
            Self::Gate { .. }
            | Self::Refused { status: 401 | 301 | 302 | 307 | 308, .. }
            | Self::Unreadable { .. } => RetryClass::Backoff,
            Self::NotFound { .. } | Self::Refused { .. } | Self::Configuration(_) => RetryClass::Never,
        }
    }
}
