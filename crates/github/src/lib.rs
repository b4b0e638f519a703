//! Client for GitHub, with octocrab as its transport: requests, answers, webhooks and tokens. Classifies
//! errors for a retry but never retries: the task queue does, after the delay that GitHub asks for.

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

/// Why a call to GitHub failed. `call`: its method and route.
#[derive(Debug, thiserror::Error)]
pub enum GitHubError {
    /// GitHub's rate limit. The wait is from the answer, or else from GitHub's documentation.
    #[error("GitHub asks to wait {} s before the next call ({call})", wait.as_secs())]
    RateLimited { call: String, wait: Duration },
    /// Our rate limiter: an earlier answer asked to wait, or other writes to the installation come
    /// first.
    #[error("the next call to this installation is allowed at {until} ({call})")]
    Postponed { call: String, until: Timestamp },
    /// The state of our rate limiter could not be read.
    #[error("the rate limit could not be looked up ({call})")]
    RateLimiter {
        call: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// GitHub could not be reached, or answered with a server error.
    #[error("GitHub could not answer ({call}): {reason}")]
    Unavailable {
        call: String,
        /// Status or transport error.
        reason: String,
    },
    /// Missing, or hidden from this App.
    #[error(
        "GitHub finds nothing there for this App ({call}): was it uninstalled or the repository removed?"
    )]
    NotFound { call: String },
    /// GitHub rejected the call.
    #[error("GitHub refused ({call}): {status} {message}")]
    Refused { call: String, status: u16, message: String },
    /// GitHub's answer does not match its API description.
    #[error("GitHub's answer could not be read ({call})")]
    Unreadable {
        call: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The App's key or the API's address can't be used. An operator has to correct it.
    #[error("{0}")]
    Configuration(String),
}

/// Query parameters, percent-encoded.
fn query(parameters: &[(&str, &str)]) -> String {
    let url = reqwest::Url::parse_with_params("https://github.invalid", parameters);
    url.ok().and_then(|url| url.query().map(str::to_owned)).unwrap_or_default()
}

/// When a task may retry after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryClass {
    /// After this delay, which GitHub asks for.
    After(Duration),
    /// At this time.
    At(Timestamp),
    /// After a growing delay, for as long as an outage may last.
    Outage,
    /// After a growing delay.
    Backoff,
    /// The same call would get the same answer.
    Never,
}

impl GitHubError {
    /// Whether the installation lacks a permission. GitHub then refuses the token, or the call that
    /// uses it.
    #[must_use]
    pub fn is_not_granted(&self) -> bool {
        matches!(self, Self::Refused { status: 403 | 422, .. })
    }

    /// Replaces the name of the call. For a route that holds a secret.
    #[must_use]
    pub(crate) fn with_call(mut self, name: &str) -> Self {
        match &mut self {
            Self::RateLimited { call, .. }
            | Self::Postponed { call, .. }
            | Self::RateLimiter { call, .. }
            | Self::Unavailable { call, .. }
            | Self::NotFound { call }
            | Self::Refused { call, .. }
            | Self::Unreadable { call, .. } => name.clone_into(call),
            Self::Configuration(_) => {}
        }
        self
    }

    #[must_use]
    pub fn retry_class(&self) -> RetryClass {
        match self {
            Self::RateLimited { wait, .. } => RetryClass::After(*wait),
            Self::Postponed { until, .. } => RetryClass::At(*until),
            Self::Unavailable { .. } => RetryClass::Outage,
            // 401: the token may just have been revoked, or the installation is new. Redirects: the
            // repository was renamed, and a delivery will bring its new name. An answer that can't be
            // read is probably the page of a proxy, and does not last.
            Self::RateLimiter { .. }
            | Self::Refused { status: 401 | 301 | 302 | 307 | 308, .. }
            | Self::Unreadable { .. } => RetryClass::Backoff,
            Self::NotFound { .. } | Self::Refused { .. } | Self::Configuration(_) => RetryClass::Never,
        }
    }
}
