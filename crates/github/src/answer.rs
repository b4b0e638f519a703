//! Reads GitHub's answers: the body within a size limit, the rate limit headers, and the error that
//! a failed call becomes. Makes no call.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};

use super::GitHubError;
use super::rate_limiter::{CallResult, HourlyQuota, RequestedWait};
use pacegate_engine::model::time::Timestamp;

/// The largest answer that is read, bytes.
const ANSWER_LIMIT: usize = 10 << 20;

/// An answer with its whole body, not yet parsed.
pub(super) struct Received {
    pub status: http::StatusCode,
    pub headers: http::HeaderMap,
    pub body: Vec<u8>,
}

/// The error for an unsuccessful answer. `wait`: how long GitHub asks to wait.
pub(super) fn failure(call: String, received: &Received, wait: Option<Duration>) -> GitHubError {
    match (received.status.as_u16(), wait) {
        (_, Some(wait)) => GitHubError::RateLimited { call, wait },
        (404 | 410, None) => GitHubError::NotFound { call },
        (500.., None) => GitHubError::Unavailable { call, reason: received.status.to_string() },
        (status, None) => GitHubError::Refused { call, status, message: error_message(&received.body) },
    }
}

/// Method and route for errors. The query is left out: it may identify a person.
pub(super) fn name_of(method: &str, route: &str) -> String {
    format!("{method} {}", route.split('?').next().unwrap_or_default())
}

/// Reads the whole answer. The error says why there is none.
pub(super) async fn receive<B>(
    sent: impl Future<Output = octocrab::Result<http::Response<B>>>,
) -> Result<Received, String>
where
    B: BodyExt<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send,
{
    let (head, body) = sent.await.map_err(|e| chain(&e))?.into_parts();
    let body = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(|e| e.to_string())?.to_bytes().into();
    Ok(Received { status: head.status, headers: head.headers, body })
}

/// Reads what an answer says about rate limits: the headers first, then the error message.
pub(super) fn call_result(received: &Received, now_secs: i64) -> CallResult {
    let status = received.status.as_u16();
    let wait = rate_limit_wait(status, &received.headers, now_secs).map(RequestedWait::For).or_else(|| {
        let mentions_limit = || error_message(&received.body).to_ascii_lowercase().contains("rate limit");
        (status == 429 || (status == 403 && mentions_limit())).then_some(RequestedWait::Unspecified)
    });
    // Other resources, such as search, have limits of their own.
    let is_core = received.headers.get("x-ratelimit-resource").is_none_or(|name| name == "core");
    let quota = number(&received.headers, "x-ratelimit-limit")
        .zip(number(&received.headers, "x-ratelimit-remaining"))
        .zip(number(&received.headers, "x-ratelimit-reset"))
        .filter(|((limit, _), _)| is_core && *limit > 0)
        .map(|((limit, remaining), reset)| HourlyQuota {
            limit,
            remaining: remaining.clamp(0, limit),
            reset_at: Timestamp(0).after(Duration::from_secs(u64::try_from(reset).unwrap_or(0))),
        });
    let succeeded = received.status.is_success() || received.status == http::StatusCode::NOT_MODIFIED;
    CallResult { succeeded, wait, quota }
}

fn number(headers: &http::HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// How long GitHub asks to wait: `retry-after`, else the time until `x-ratelimit-reset` if no
/// calls remain. Source: GitHub's documentation, "Rate limits for the REST API".
fn rate_limit_wait(status: u16, headers: &http::HeaderMap, now_secs: i64) -> Option<Duration> {
    if !matches!(status, 403 | 429 | 503) {
        return None;
    }
    // At most a day: a wrong header must not stop all calls for longer.
    let bounded = |seconds: i64| Duration::from_secs(u64::try_from(seconds.clamp(1, 86_400)).unwrap_or(1));
    number(headers, "retry-after").map(bounded).or_else(|| {
        (number(headers, "x-ratelimit-remaining") == Some(0))
            .then(|| number(headers, "x-ratelimit-reset"))
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
pub(super) fn chain(error: &dyn std::error::Error) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> http::HeaderMap {
        pairs.iter().map(|(k, v)| (http::HeaderName::from_static(k), v.parse().expect("a value"))).collect()
    }

    #[test]
    fn rate_limit_wait_follows_the_headers() {
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
