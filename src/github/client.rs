//! One call to GitHub: the transport, and the reading of its status and headers.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use octocrab::Octocrab;
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::GitHubError;
use crate::clock::Clock;
use crate::model::ids::RepoName;

/// The largest answer that is read.
const ANSWER_LIMIT: usize = 10 << 20;

/// A connection to one GitHub: `api.github.com` or an Enterprise Server.
#[derive(Debug, Clone)]
pub struct Transport {
    octocrab: Octocrab,
    clock: Clock,
}

impl Transport {
    /// Connects to the API at this address. Octocrab keeps the path of an Enterprise Server
    /// (`/api/v3`) in front of every route, as long as routes are relative.
    ///
    /// # Errors
    /// [`GitHubError::Configuration`] when the address can't be used.
    pub fn new(api_url: &str, timeout: Duration, clock: Clock) -> Result<Self, GitHubError> {
        let unusable = |e: &dyn std::fmt::Display| {
            GitHubError::Configuration(format!("PACEGATE_GITHUB_API_URL `{api_url}` can't be used: {e}"))
        };
        let octocrab = Octocrab::builder()
            .base_uri(api_url.trim_end_matches('/'))
            .map_err(|e| unusable(&e))?
            .set_connect_timeout(Some(timeout.min(Duration::from_secs(10))))
            .set_read_timeout(Some(timeout))
            .set_write_timeout(Some(timeout))
            .build()
            .map_err(|e| unusable(&e))?;
        Ok(Self { octocrab, clock })
    }

    /// The same connection, speaking with a token (an App's JWT or an installation's).
    pub(super) fn with_token(&self, token: &SecretString) -> Result<Self, GitHubError> {
        let octocrab = self
            .octocrab
            .user_access_token(token.clone())
            .map_err(|e| GitHubError::Configuration(format!("a token could not be used: {e}")))?;
        Ok(Self { octocrab, clock: self.clock.clone() })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, route: &str) -> Result<T, GitHubError> {
        let sent = self.octocrab._get(route).await;
        self.read("GET", route, sent).await
    }

    pub(super) async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        route: &str,
        body: &B,
    ) -> Result<T, GitHubError> {
        let sent = self.octocrab._post(route, Some(body)).await;
        self.read("POST", route, sent).await
    }

    /// The `Date` of an answer, whatever it answers, in seconds since the epoch.
    pub(super) async fn date_of(&self, route: &str) -> Result<Option<i64>, GitHubError> {
        let answer = self
            .octocrab
            ._get(route)
            .await
            .map_err(|e| GitHubError::Unavailable { call: format!("GET {route}"), reason: chain(&e) })?;
        let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
        Ok(date.and_then(|text| chrono::DateTime::parse_from_rfc2822(text).ok()).map(|date| date.timestamp()))
    }

    /// A POST without a body.
    pub(super) async fn post_nothing<T: DeserializeOwned>(&self, route: &str) -> Result<T, GitHubError> {
        let sent = self.octocrab._post(route, None::<&()>).await;
        self.read("POST", route, sent).await
    }

    pub(super) async fn patch<B: Serialize, T: DeserializeOwned>(
        &self,
        route: &str,
        body: &B,
    ) -> Result<T, GitHubError> {
        let sent = self.octocrab._patch(route, Some(body)).await;
        self.read("PATCH", route, sent).await
    }

    async fn read<T: DeserializeOwned, B>(
        &self,
        method: &str,
        route: &str,
        sent: octocrab::Result<http::Response<B>>,
    ) -> Result<T, GitHubError>
    where
        B: http_body_util::BodyExt<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send,
    {
        let call = || format!("{method} {}", route.split('?').next().unwrap_or_default());
        let unavailable = |reason: String| GitHubError::Unavailable { call: call(), reason };
        let answer = sent.map_err(|e| unavailable(chain(&e)))?;
        let status = answer.status();
        let wait = rate_limit_wait(status.as_u16(), answer.headers(), self.clock.now().as_secs());
        let body = Limited::new(answer.into_body(), ANSWER_LIMIT)
            .collect()
            .await
            .map_err(|e| unavailable(e.to_string()))?
            .to_bytes();
        if status.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|e| GitHubError::Unreadable { call: call(), source: e.into() });
        }
        let message = error_message(&body);
        Err(match (status.as_u16(), wait) {
            (_, Some(wait)) => GitHubError::RateLimited { call: call(), wait },
            (403 | 429, None) if message.to_ascii_lowercase().contains("rate limit") => {
                GitHubError::RateLimited { call: call(), wait: Duration::from_mins(1) }
            }
            (429, None) => GitHubError::RateLimited { call: call(), wait: Duration::from_mins(1) },
            (404 | 410, None) => GitHubError::NotFound { call: call() },
            (500.., None) => unavailable(status.to_string()),
            (status, None) => GitHubError::Refused { call: call(), status, message },
        })
    }
}

/// How long GitHub asks to wait: `retry-after`, else the time until `x-ratelimit-reset` when
/// nothing remains. GitHub's documentation, "Rate limits for the REST API".
fn rate_limit_wait(status: u16, headers: &http::HeaderMap, now_secs: i64) -> Option<Duration> {
    if !matches!(status, 403 | 429 | 503) {
        return None;
    }
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    // A day is the longest that is believed: a wrong header must not silence the gate.
    let bounded = |seconds: i64| Duration::from_secs(u64::try_from(seconds.clamp(1, 86_400)).unwrap_or(1));
    number("retry-after").map(bounded).or_else(|| {
        (number("x-ratelimit-remaining") == Some(0))
            .then(|| number("x-ratelimit-reset"))
            .flatten()
            .map(|reset| bounded(reset.saturating_sub(now_secs)))
    })
}

fn error_message(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Answer {
        message: String,
        #[serde(default)]
        errors: serde_json::Value,
    }
    let text = match serde_json::from_slice::<Answer>(body) {
        Ok(answer) if answer.errors.is_null() => answer.message,
        Ok(answer) => format!("{} {}", answer.message, answer.errors),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    text.chars().take(500).collect()
}

/// An error and its causes in one line: octocrab's own text is just "Service Error".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        cause = error.source();
    }
    text.chars().take(500).collect()
}

/// Speaks for an installation about one repository.
#[derive(Debug, Clone)]
pub struct RepoClient {
    pub(super) transport: Transport,
    pub(super) repo: RepoName,
    pub(super) app_id: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> http::HeaderMap {
        pairs.iter().map(|(k, v)| (http::HeaderName::from_static(k), v.parse().expect("a value"))).collect()
    }

    #[test]
    fn the_wait_is_github_s_own() {
        let wait = |status, pairs: &[(&'static str, &str)]| rate_limit_wait(status, &headers(pairs), 1_000);
        assert_eq!(wait(403, &[("retry-after", "7")]), Some(Duration::from_secs(7)));
        let reset = &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1060")];
        assert_eq!(wait(429, reset), Some(Duration::from_mins(1)));
        assert_eq!(wait(403, &[("x-ratelimit-remaining", "12"), ("x-ratelimit-reset", "1060")]), None);
        assert_eq!(wait(404, &[("retry-after", "7")]), None);
        assert_eq!(wait(403, &[("retry-after", "99999999999")]), Some(Duration::from_hours(24)));
        assert_eq!(
            wait(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "3")]),
            Some(Duration::from_secs(1))
        );
    }
}
