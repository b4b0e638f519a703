//! Sends one call to GitHub through the rate limiter, and reads the status and headers of its answer.
//! Never retries.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt;
use octocrab::Octocrab;
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::GitHubError;
use super::answer::{Received, call_result, chain, failure, name_of, receive};
use super::blobs::Blobs;
use super::etags::Etags;
use super::rate_limiter::{
    CallKind, CallResult, HourlyQuota, NO_INSTALLATION, NoRateLimit, RateLimitError, RateLimiter,
};
use pacegate_clock::Clock;
use pacegate_engine::model::ids::{InstallationId, RepoName};

/// A connection to one GitHub: `api.github.com` or an Enterprise Server.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    octocrab: Octocrab,
    clock: Clock,
    timeout: Duration,
    rate_limiter: Arc<dyn RateLimiter>,
    /// The installation whose limits the calls count against.
    installation: InstallationId,
    etags: Etags,
    /// As reported in the last answer to this token.
    quota: Arc<Mutex<Option<HourlyQuota>>>,
    blobs: Blobs,
}

/// A parsed answer.
pub(super) struct Answer<T> {
    pub value: T,
    pub headers: http::HeaderMap,
}

impl Transport {
    /// Connects to the API at `api_url`. Octocrab puts the path of an Enterprise Server (`/api/v3`) in
    /// front of every route, as long as routes are relative.
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
        Ok(Self {
            octocrab,
            clock,
            timeout,
            rate_limiter: Arc::new(NoRateLimit),
            installation: NO_INSTALLATION,
            etags: Etags::default(),
            quota: Arc::default(),
            blobs: Blobs::new(api_url, timeout).map_err(|e| unusable(&e))?,
        })
    }

    /// Downloads from outside the API. Never sends a token.
    pub(super) fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// The address that an answer redirects to.
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

    /// Sends all calls through this rate limiter.
    pub(super) fn with_rate_limiter(self, rate_limiter: Arc<dyn RateLimiter>) -> Self {
        Self { rate_limiter, ..self }
    }

    /// Upper bound for one call, from the request to the end of its answer.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The same connection with another token: the App's JWT or an installation token. Its calls
    /// count against the limits of `installation`.
    pub(super) fn with_token(
        &self,
        token: &SecretString,
        installation: InstallationId,
    ) -> Result<Self, GitHubError> {
        let octocrab = self
            .octocrab
            .user_access_token(token.clone())
            .map_err(|e| GitHubError::Configuration(format!("a token could not be used: {e}")))?;
        Ok(Self { octocrab, installation, quota: Arc::default(), ..self.clone() })
    }

    /// Fails if the rate limiter can't allow a write to this installation soon.
    pub(super) async fn may_write(&self, installation: InstallationId) -> Result<(), GitHubError> {
        let checked = self.rate_limiter.check(installation, CallKind::Write).await;
        checked.map_err(|error| not_permitted("a write", error))
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, route: &str) -> Result<T, GitHubError> {
        Ok(self.get_with_headers(route).await?.value)
    }

    /// Also returns the headers, for paging by them. An unchanged answer (304) is taken from the
    /// cache; GitHub does not count such a call.
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

    /// The `Date` header of an answer of any status, in seconds since the epoch.
    pub(super) async fn date_of(&self, route: &str) -> Result<Option<i64>, GitHubError> {
        let answer = self
            .octocrab
            ._get(route)
            .await
            .map_err(|e| GitHubError::Unavailable { call: format!("GET {route}"), reason: chain(&e) })?;
        let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
        Ok(date.and_then(|text| chrono::DateTime::parse_from_rfc2822(text).ok()).map(|date| date.timestamp()))
    }

    /// A POST that creates nothing visible, such as minting a token. The rate limiter treats it as a
    /// read. Its answer does not report the quota of the installation.
    pub(super) async fn post_as_read<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        route: &str,
        body: &B,
    ) -> Result<T, GitHubError> {
        let sent = self.octocrab._post(route, Some(body));
        parsed("POST", route, &self.call("POST", route, CallKind::Read, false, sent).await?.body)
    }

    /// A POST without a body. The body of its answer is ignored.
    pub(super) async fn post_nothing(&self, route: &str) -> Result<(), GitHubError> {
        let sent = self.octocrab._post(route, None::<&()>);
        self.call("POST", route, CallKind::Write, true, sent).await.map(drop)
    }

    /// A POST without a body.
    pub(super) async fn post_empty<T: DeserializeOwned>(&self, route: &str) -> Result<T, GitHubError> {
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

    /// Sends a call. An unsuccessful status is an error.
    async fn call<B>(
        &self,
        method: &str,
        route: &str,
        kind: CallKind,
        reports_quota: bool,
        sent: impl Future<Output = octocrab::Result<http::Response<B>>>,
    ) -> Result<Received, GitHubError>
    where
        B: BodyExt<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send,
    {
        let (received, wait) = self.exchange(method, route, kind, reports_quota, sent).await?;
        if received.status.is_success() || received.status == http::StatusCode::NOT_MODIFIED {
            return Ok(received);
        }
        Err(failure(name_of(method, route), &received, wait))
    }

    /// Sends a call with a permit of the rate limiter and within the time limit. Reports the result to
    /// the rate limiter in every case. Also returns how long GitHub asks to wait.
    async fn exchange<B>(
        &self,
        method: &str,
        route: &str,
        kind: CallKind,
        reports_quota: bool,
        sent: impl Future<Output = octocrab::Result<http::Response<B>>>,
    ) -> Result<(Received, Option<Duration>), GitHubError>
    where
        B: BodyExt<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send,
    {
        let call = name_of(method, route);
        let permit = self.rate_limiter.acquire(self.installation, kind).await;
        let permit = permit.map_err(|error| not_permitted(&call, error))?;
        let received = tokio::time::timeout(self.timeout, receive(sent)).await;
        let received =
            received.unwrap_or_else(|_| Err(format!("no complete answer within {:?}", self.timeout)));
        let now_secs = self.clock.now().as_secs();
        let mut result =
            received.as_ref().map_or_else(|_| CallResult::default(), |got| call_result(got, now_secs));
        result.quota = result.quota.filter(|_| reports_quota);
        if let Some(quota) = result.quota {
            *self.quota.lock().unwrap_or_else(PoisonError::into_inner) = Some(quota);
        }
        let wait = self.rate_limiter.release(self.installation, permit, result).await;
        let received = received.map_err(|reason| GitHubError::Unavailable { call, reason })?;
        Ok((received, wait))
    }
}

fn not_permitted(call: &str, error: RateLimitError) -> GitHubError {
    let call = call.to_owned();
    match error {
        RateLimitError::RetryAt(until) => GitHubError::Postponed { call, until },
        RateLimitError::Unavailable(source) => GitHubError::RateLimiter { call, source },
    }
}

fn parsed<T: DeserializeOwned>(method: &str, route: &str, body: &[u8]) -> Result<T, GitHubError> {
    serde_json::from_slice(body)
        .map_err(|e| GitHubError::Unreadable { call: name_of(method, route), source: e.into() })
}

/// Client for one repository.
#[derive(Debug, Clone)]
pub struct RepoClient {
    pub(super) transport: Transport,
    pub(super) repo: RepoName,
    pub(super) app_id: u64,
}

impl RepoClient {
    /// A client with a personal token. It belongs to no App, so it finds no check run of an App.
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
        let transport = Transport::new(api_url, timeout, clock)?.with_token(token, NO_INSTALLATION)?;
        Ok(Self { transport, repo: repo.clone(), app_id: 0 })
    }

    /// The quota that GitHub's last answer to this client reported.
    #[must_use]
    pub fn hourly_quota(&self) -> Option<HourlyQuota> {
        *self.transport.quota.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
