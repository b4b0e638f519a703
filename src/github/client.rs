//! One call to GitHub: through the gate, over the transport, and the reading of its status and
//! headers. It tries once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use octocrab::Octocrab;
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::GitHubError;
use super::etags::Etags;
use super::gate::{CallFacts, CallGate, CallKind, HourOfCalls, Limit, NoGate, Refusal, THE_APP_ITSELF};
use crate::clock::Clock;
use crate::model::ids::{InstallationId, RepoName};
use crate::model::time::Timestamp;

/// The largest answer that is read.
const ANSWER_LIMIT: usize = 10 << 20;

/// A connection to one GitHub: `api.github.com` or an Enterprise Server.
#[derive(Debug, Clone)]
pub struct Transport {
    octocrab: Octocrab,
    clock: Clock,
    timeout: Duration,
    gate: Arc<dyn CallGate>,
    /// Whose limits its calls count against.
    installation: InstallationId,
    etags: Etags,
    /// What the last answer to this token told of its hour of calls.
    hour: Arc<Mutex<Option<HourOfCalls>>>,
}

/// A whole answer.
pub(super) struct Answer<T> {
    pub value: T,
    pub headers: http::HeaderMap,
}

struct Received {
    status: http::StatusCode,
    headers: http::HeaderMap,
    body: Vec<u8>,
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
        let (gate, installation) = (Arc::new(NoGate), THE_APP_ITSELF);
        Ok(Self {
            octocrab,
            clock,
            timeout,
            gate,
            installation,
            etags: Etags::default(),
            hour: Arc::default(),
        })
    }

    /// The same connection behind a gate.
    pub(super) fn with_gate(self, gate: Arc<dyn CallGate>) -> Self {
        Self { gate, ..self }
    }

    /// How long a call may take as a whole.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The same connection, speaking with a token (an App's JWT or an installation's); its
    /// calls count against the limits of that installation.
    pub(super) fn with_token(
        &self,
        token: &SecretString,
        installation: InstallationId,
    ) -> Result<Self, GitHubError> {
        let octocrab = self
            .octocrab
            .user_access_token(token.clone())
            .map_err(|e| GitHubError::Configuration(format!("a token could not be used: {e}")))?;
        Ok(Self { octocrab, installation, hour: Arc::default(), ..self.clone() })
    }

    /// Whether an installation can be written to soon.
    pub(super) async fn may_write(&self, installation: InstallationId) -> Result<(), GitHubError> {
        let outlook = self.gate.outlook(installation, CallKind::Write).await;
        outlook.map_err(|refusal| refused_by_gate("a write", refusal))
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, route: &str) -> Result<T, GitHubError> {
        Ok(self.get_with_headers(route).await?.value)
    }

    /// With the answer's headers, for what is paged by them. An answer that was given before and
    /// is still so is not sent again, and not counted.
    pub(super) async fn get_with_headers<T: DeserializeOwned>(
        &self,
        route: &str,
    ) -> Result<Answer<T>, GitHubError> {
        let known = self.etags.get(route);
        let condition = known
            .as_ref()
            .map(|known| http::HeaderMap::from_iter([(http::header::IF_NONE_MATCH, known.etag.clone())]));
        let sent = self.octocrab._get_with_headers(route, condition);
        let mut received = self.call("GET", route, CallKind::Read, true, sent).await?;
        match known {
            Some(known) if received.status == http::StatusCode::NOT_MODIFIED => {
                received.body = known.body.to_vec();
            }
            _ => {
                if let Some(etag) = received.headers.remove(http::header::ETAG) {
                    self.etags.put(route, etag, &received.body);
                }
            }
        }
        let value = parsed("GET", route, &received.body)?;
        Ok(Answer { value, headers: received.headers })
    }

    pub(super) async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        route: &str,
        body: &B,
    ) -> Result<T, GitHubError> {
        let sent = self.octocrab._post(route, Some(body));
        parsed("POST", route, &self.call("POST", route, CallKind::Write, true, sent).await?.body)
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

    /// A POST that changes nothing people see, such as minting a token: it may go while others
    /// write, and what its answer tells is not of the installation's own hour.
    pub(super) async fn post_aside<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        route: &str,
        body: &B,
    ) -> Result<T, GitHubError> {
        let sent = self.octocrab._post(route, Some(body));
        parsed("POST", route, &self.call("POST", route, CallKind::Read, false, sent).await?.body)
    }

    /// A POST without a body, whose answer says nothing further.
    pub(super) async fn post_nothing(&self, route: &str) -> Result<(), GitHubError> {
        let sent = self.octocrab._post(route, None::<&()>);
        self.call("POST", route, CallKind::Write, true, sent).await.map(drop)
    }

    /// A POST without a body, for its answer.
    pub(super) async fn post_for_answer<T: DeserializeOwned>(&self, route: &str) -> Result<T, GitHubError> {
        let sent = self.octocrab._post(route, None::<&()>);
        parsed("POST", route, &self.call("POST", route, CallKind::Write, true, sent).await?.body)
    }

    pub(super) async fn patch<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        route: &str,
        body: &B,
    ) -> Result<T, GitHubError> {
        let sent = self.octocrab._patch(route, Some(body));
        parsed("PATCH", route, &self.call("PATCH", route, CallKind::Write, true, sent).await?.body)
    }

    /// One call: let through by the gate, ended in time, and told to the gate whatever comes.
    async fn call<B>(
        &self,
        method: &str,
        route: &str,
        kind: CallKind,
        is_of_the_hour: bool,
        sent: impl Future<Output = octocrab::Result<http::Response<B>>>,
    ) -> Result<Received, GitHubError>
    where
        B: BodyExt<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send,
    {
        let call = name_of(method, route);
        let permit = self.gate.admit(self.installation, kind).await;
        let permit = permit.map_err(|refusal| refused_by_gate(&call, refusal))?;
        let received = tokio::time::timeout(self.timeout, receive(sent)).await;
        let received = received.unwrap_or_else(|_| Err(format!("no whole answer within {:?}", self.timeout)));
        let now_secs = self.clock.now().as_secs();
        let mut facts =
            received.as_ref().map_or_else(|_| CallFacts::default(), |got| facts_of(got, now_secs));
        facts.hour = facts.hour.filter(|_| is_of_the_hour);
        if let Some(hour) = facts.hour {
            *self.hour.lock().unwrap_or_else(PoisonError::into_inner) = Some(hour);
        }
        let wait = self.gate.report(self.installation, permit, facts).await;
        let received = received.map_err(|reason| GitHubError::Unavailable { call: call.clone(), reason })?;
        let status = received.status;
        if status.is_success() || status == http::StatusCode::NOT_MODIFIED {
            return Ok(received);
        }
        Err(match (status.as_u16(), wait) {
            (_, Some(wait)) => GitHubError::RateLimited { call, wait },
            (404 | 410, None) => GitHubError::NotFound { call },
            (500.., None) => GitHubError::Unavailable { call, reason: status.to_string() },
            (status, None) => GitHubError::Refused { call, status, message: error_message(&received.body) },
        })
    }
}

fn name_of(method: &str, route: &str) -> String {
    format!("{method} {}", route.split('?').next().unwrap_or_default())
}

fn refused_by_gate(call: &str, refusal: Refusal) -> GitHubError {
    let call = call.to_owned();
    match refusal {
        Refusal::NotBefore(until) => GitHubError::Postponed { call, until },
        Refusal::Unknown(source) => GitHubError::Gate { call, source },
    }
}

fn parsed<T: DeserializeOwned>(method: &str, route: &str, body: &[u8]) -> Result<T, GitHubError> {
    serde_json::from_slice(body)
        .map_err(|e| GitHubError::Unreadable { call: name_of(method, route), source: e.into() })
}

/// The whole answer, or why there is none.
async fn receive<B>(
    sent: impl Future<Output = octocrab::Result<http::Response<B>>>,
) -> Result<Received, String>
where
    B: BodyExt<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send,
{
    let (head, body) = sent.await.map_err(|e| chain(&e))?.into_parts();
    let body = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(|e| e.to_string())?.to_bytes().into();
    Ok(Received { status: head.status, headers: head.headers, body })
}

/// What an answer tells of limits: by its headers, and where those are silent, its words.
fn facts_of(received: &Received, now_secs: i64) -> CallFacts {
    let status = received.status.as_u16();
    let limit = rate_limit_wait(status, &received.headers, now_secs).map(Limit::For).or_else(|| {
        let speaks_of_it = || error_message(&received.body).to_ascii_lowercase().contains("rate limit");
        (status == 429 || (status == 403 && speaks_of_it())).then_some(Limit::Unsaid)
    });
    // Search and its like have limits of their own.
    let is_core = received.headers.get("x-ratelimit-resource").is_none_or(|name| name == "core");
    let hour = number(&received.headers, "x-ratelimit-limit")
        .zip(number(&received.headers, "x-ratelimit-remaining"))
        .zip(number(&received.headers, "x-ratelimit-reset"))
        .filter(|((limit, _), _)| is_core && *limit > 0)
        .map(|((limit, remaining), reset)| HourOfCalls {
            limit,
            remaining: remaining.clamp(0, limit),
            reset_at: Timestamp(0).after(Duration::from_secs(u64::try_from(reset).unwrap_or(0))),
        });
    let succeeded = received.status.is_success() || received.status == http::StatusCode::NOT_MODIFIED;
    CallFacts { succeeded, limit, hour }
}

fn number(headers: &http::HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// How long GitHub asks to wait: `retry-after`, else the time until `x-ratelimit-reset` when
/// nothing remains. GitHub's documentation, "Rate limits for the REST API".
fn rate_limit_wait(status: u16, headers: &http::HeaderMap, now_secs: i64) -> Option<Duration> {
    if !matches!(status, 403 | 429 | 503) {
        return None;
    }
    // A day is the longest that is believed: a wrong header must not silence the gate.
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

/// Speaks for an installation about one repository.
#[derive(Debug, Clone)]
pub struct RepoClient {
    pub(super) transport: Transport,
    pub(super) repo: RepoName,
    pub(super) app_id: u64,
}

impl RepoClient {
    /// A client that speaks for a person, by a token of theirs: it is no App, so it finds no
    /// check run of one.
    ///
    /// # Errors
    /// [`GitHubError::Configuration`] when token or address can't be used.
    pub fn of_person(
        token: &SecretString,
        repo: &RepoName,
        api_url: &str,
        timeout: Duration,
        clock: Clock,
    ) -> Result<Self, GitHubError> {
        let transport = Transport::new(api_url, timeout, clock)?.with_token(token, THE_APP_ITSELF)?;
        Ok(Self { transport, repo: repo.clone(), app_id: 0 })
    }

    /// What GitHub's last answer to this client said of the rate limit.
    #[must_use]
    pub fn hour_of_calls(&self) -> Option<HourOfCalls> {
        *self.transport.hour.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
