//! One call to GitHub: through the gate, over the transport, and the reading of its status and
//! headers. It tries once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt;
use octocrab::Octocrab;
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::GitHubError;
use super::answer::{Received, chain, facts_of, failure, name_of, receive};
use super::blobs::Blobs;
use super::etags::Etags;
use super::rate_limiter::{
    CallFacts, CallKind, HourOfCalls, RateLimiter, Refusal, THE_APP_ITSELF, Unlimited,
};
use pacegate_clock::Clock;
use pacegate_engine::model::ids::{InstallationId, RepoName};

/// A connection to one GitHub: `api.github.com` or an Enterprise Server.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    octocrab: Octocrab,
    clock: Clock,
    timeout: Duration,
    gate: Arc<dyn RateLimiter>,
    /// Whose limits its calls count against.
    installation: InstallationId,
    etags: Etags,
    /// What the last answer to this token told of its hour of calls.
    hour: Arc<Mutex<Option<HourOfCalls>>>,
    blobs: Blobs,
}

/// A whole answer.
pub(super) struct Answer<T> {
    pub value: T,
    pub headers: http::HeaderMap,
}

impl Transport {
    /// Connects to the API at this address. Octocrab keeps the path of an Enterprise Server
    /// (`/api/v3`) in front of every route, as long as routes are relative.
    ///
    /// # Errors
    /// [`GitHubError::Configuration`] when the address can't be used.
    pub(crate) fn new(api_url: &str, timeout: Duration, clock: Clock) -> Result<Self, GitHubError> {
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
        let (gate, installation) = (Arc::new(Unlimited), THE_APP_ITSELF);
        Ok(Self {
            octocrab,
            clock,
            timeout,
            gate,
            installation,
            etags: Etags::default(),
            hour: Arc::default(),
            blobs: Blobs::new(api_url, timeout).map_err(|e| unusable(&e))?,
        })
    }

    /// Fetches what GitHub keeps elsewhere, and never shows a token.
    pub(super) fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Where an answer leads that is kept elsewhere.
    pub(super) async fn location_of(&self, route: &str) -> Result<String, GitHubError> {
        let sent = self.octocrab._get(route);
        let (received, wait) = self.exchange("GET", route, CallKind::Read, true, sent).await?;
        let location = received.headers.get(http::header::LOCATION).and_then(|value| value.to_str().ok());
        match location.filter(|_| received.status.is_redirection()) {
            Some(location) => Ok(location.to_owned()),
            None if received.status.is_success() => Err(GitHubError::Unreadable {
                call: name_of("GET", route),
                source: "a redirect was expected".into(),
            }),
            None => Err(failure(name_of("GET", route), &received, wait)),
        }
    }

    /// The same connection behind a gate.
    pub(super) fn with_gate(self, gate: Arc<dyn RateLimiter>) -> Self {
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

    /// A call that has to succeed.
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
        let (received, wait) = self.exchange(method, route, kind, is_of_the_hour, sent).await?;
        if received.status.is_success() || received.status == http::StatusCode::NOT_MODIFIED {
            return Ok(received);
        }
        Err(failure(name_of(method, route), &received, wait))
    }

    /// One call: let through by the gate, ended in time, and told to the gate whatever comes. With
    /// the answer, how long GitHub asks to wait.
    async fn exchange<B>(
        &self,
        method: &str,
        route: &str,
        kind: CallKind,
        is_of_the_hour: bool,
        sent: impl Future<Output = octocrab::Result<http::Response<B>>>,
    ) -> Result<(Received, Option<Duration>), GitHubError>
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
        let received = received.map_err(|reason| GitHubError::Unavailable { call, reason })?;
        Ok((received, wait))
    }
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
