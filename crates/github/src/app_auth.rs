//! The App's identity: a short-lived JWT for the App itself, and installation tokens. Each token is
//! minted for one repository and has only the permissions that its purpose needs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::GitHubError;
use super::client::{RepoClient, Transport};
use super::rate_limiter::{NO_INSTALLATION, RateLimiter};
use pacegate_clock::Clock;
use pacegate_engine::model::ids::{InstallationId, RepoName};
use pacegate_engine::model::time::Timestamp;

/// The purpose of a token. It decides the permissions: exactly those that the calls need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Read the permissions of collaborators.
    ReadMetadata,
    ReadPullRequests,
    RerunJobs,
    WriteChecks,
    WriteComments,
    ReadContents,
    ReadActions,
}

#[derive(Serialize, Default)]
struct Permissions {
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contents: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_requests: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<&'static str>,
}

impl Purpose {
    fn writes(self) -> bool {
        match self {
            Self::ReadMetadata | Self::ReadPullRequests | Self::ReadContents | Self::ReadActions => false,
            Self::RerunJobs | Self::WriteChecks | Self::WriteComments => true,
        }
    }

    fn permissions(self) -> Permissions {
        let none = Permissions::default();
        match self {
            Self::ReadMetadata => Permissions { metadata: Some("read"), ..none },
            Self::ReadPullRequests => Permissions { pull_requests: Some("read"), ..none },
            Self::RerunJobs => Permissions { actions: Some("write"), ..none },
            Self::WriteChecks => Permissions { checks: Some("write"), ..none },
            Self::WriteComments => Permissions { pull_requests: Some("write"), ..none },
            Self::ReadActions => Permissions { actions: Some("read"), ..none },
            Self::ReadContents => Permissions { contents: Some("read"), ..none },
        }
    }
}

/// GitHub's description of the App.
#[derive(Debug, Clone, Deserialize)]
pub struct AppFacts {
    pub name: String,
    /// The short name. Comments are signed `{slug}[bot]`.
    pub slug: String,
    /// Permissions that the App asks for: name and level.
    #[serde(default)]
    pub permissions: HashMap<String, String>,
    #[serde(default)]
    pub events: Vec<String>,
    pub owner: Option<AppOwner>,
}

/// The account that owns the App.
#[derive(Debug, Clone, Deserialize)]
pub struct AppOwner {
    /// Empty for an enterprise.
    #[serde(default)]
    pub login: String,
    #[serde(default, rename = "type")]
    kind: String,
}

impl AppOwner {
    #[must_use]
    pub fn is_organisation(&self) -> bool {
        self.kind == "Organization"
    }
}

/// Client for the App. Cheap to clone; clones share their tokens.
#[derive(Clone)]
pub struct App {
    id: u64,
    key: Arc<EncodingKey>,
    transport: Transport,
    clock: Clock,
    tokens: Arc<Mutex<HashMap<TokenKey, CachedToken>>>,
}

type TokenKey = (InstallationId, RepoName, Purpose);

#[derive(Clone)]
struct CachedToken {
    token: SecretString,
    expires_at: Timestamp,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "App({})", self.id)
    }
}

#[derive(Serialize)]
struct Claims {
    iat: i64,
    exp: i64,
    iss: String,
}

#[derive(Serialize)]
struct TokenRequest<'a> {
    repositories: [&'a str; 1],
    permissions: Permissions,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: SecretString,
    expires_at: String,
}

impl App {
    /// `private_key` is an RSA key in PEM. `timeout` bounds each call.
    ///
    /// # Errors
    /// [`GitHubError::Configuration`] when the key or the address can't be used.
    pub fn new(
        id: u64,
        private_key: &SecretString,
        api_url: &str,
        timeout: Duration,
        clock: Clock,
    ) -> Result<Self, GitHubError> {
        let key = EncodingKey::from_rsa_pem(private_key.expose_secret().as_bytes()).map_err(|e| {
            GitHubError::Configuration(format!(
                "PACEGATE_GITHUB_PRIVATE_KEY is not an RSA private key in PEM: {e}"
            ))
        })?;
        let transport = Transport::new(api_url, timeout, clock.clone())?;
        Ok(Self { id, key: Arc::new(key), transport, clock, tokens: Arc::default() })
    }

    /// A JWT that identifies the App. It is valid from a minute ago, because clocks differ, until
    /// nine minutes from now; GitHub allows ten.
    fn jwt(&self) -> Result<SecretString, GitHubError> {
        let now = self.clock.now().as_secs();
        let claims = Claims { iat: now - 60, exp: now + 9 * 60, iss: self.id.to_string() };
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.key)
            .map(SecretString::from)
            .map_err(|e| GitHubError::Configuration(format!("PACEGATE_GITHUB_PRIVATE_KEY can't sign: {e}")))
    }

    /// A transport with an installation token, outside the limits of any installation.
    pub(super) fn transport_with(&self, token: &SecretString) -> Result<Transport, GitHubError> {
        self.transport.with_token(token, NO_INSTALLATION)
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Sends all calls through this rate limiter.
    #[must_use]
    pub fn with_rate_limiter(self, rate_limiter: Arc<dyn RateLimiter>) -> Self {
        Self { transport: self.transport.with_rate_limiter(rate_limiter), ..self }
    }

    /// Upper bound for one call, from the request to the end of its answer.
    #[must_use]
    pub fn call_timeout(&self) -> Duration {
        self.transport.timeout()
    }

    /// A transport with the App's JWT, for calls that belong to no installation.
    pub(super) fn app_transport(&self) -> Result<Transport, GitHubError> {
        self.transport.with_token(&self.jwt()?, NO_INSTALLATION)
    }

    /// Fetches GitHub's description of the App. Success proves that id and key belong together.
    pub async fn facts(&self) -> Result<AppFacts, GitHubError> {
        self.app_transport()?.get("/app").await
    }

    /// The installation that covers a repository.
    pub async fn installation_of(&self, repo: &RepoName) -> Result<InstallationId, GitHubError> {
        #[derive(Deserialize)]
        struct Answer {
            id: i64,
        }
        let answer: Answer = self.app_transport()?.get(&format!("/repos/{repo}/installation")).await?;
        Ok(InstallationId(answer.id))
    }

    /// A client for one repository, with a token that has only the permissions of `purpose`.
    ///
    /// For a purpose that writes, it fails at once if the rate limiter can't allow a write soon. So
    /// the caller does not spend calls on the reads that come before the write.
    pub async fn repository(
        &self,
        installation: InstallationId,
        repo: &RepoName,
        purpose: Purpose,
    ) -> Result<RepoClient, GitHubError> {
        if purpose.writes() {
            self.transport.may_write(installation).await?;
        }
        let token = self.token(installation, repo, purpose).await?;
        let transport = self.transport.with_token(&token, installation)?;
        Ok(RepoClient { transport, repo: repo.clone(), app_id: self.id })
    }

    async fn token(
        &self,
        installation: InstallationId,
        repo: &RepoName,
        purpose: Purpose,
    ) -> Result<SecretString, GitHubError> {
        let key = (installation, repo.clone(), purpose);
        let now = self.clock.now();
        {
            let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.retain(|_, cached| cached.expires_at > now.after(Duration::from_mins(5)));
            if let Some(cached) = tokens.get(&key) {
                return Ok(cached.token.clone());
            }
        }
        let request = TokenRequest { repositories: [repo.name()], permissions: purpose.permissions() };
        let route = format!("/app/installations/{}/access_tokens", installation.0);
        let minting = self.transport.with_token(&self.jwt()?, installation)?;
        let answer: TokenAnswer = minting.post_as_read(&route, &request).await?;
        let expires_at = Timestamp::parse_rfc3339(&answer.expires_at).unwrap_or(now);
        let cached = CachedToken { token: answer.token.clone(), expires_at };
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(key, cached);
        Ok(answer.token)
    }

    /// Drops all cached tokens. For use after GitHub rejected one.
    pub fn forget_tokens(&self) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
