//! The App's identity: a short-lived JWT for the App itself, and installation tokens that are
//! minted for one repository with only the permissions a job needs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::GitHubError;
use super::client::{RepoClient, Transport};
use super::rate_limiter::{RateLimiter, THE_APP_ITSELF};
use pacegate_clock::Clock;
use pacegate_engine::model::ids::{InstallationId, RepoName};
use pacegate_engine::model::time::Timestamp;

/// What a job may do to a repository. Each is exactly what its calls need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Read who may do what.
    ReadMetadata,
    /// Read pull requests.
    ReadPullRequests,
    /// Run jobs again.
    RerunJobs,
    /// Write check runs.
    WriteChecks,
    /// Write comments on pull requests.
    WriteComments,
    /// Read files.
    ReadContents,
    /// Read workflow runs and their jobs.
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
    /// Whether anything is made or changed.
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

/// The App as GitHub describes it.
#[derive(Debug, Clone, Deserialize)]
pub struct AppFacts {
    /// Its name.
    pub name: String,
    /// Its short name: comments are signed `{slug}[bot]`.
    pub slug: String,
    /// Permissions it asks for.
    #[serde(default)]
    pub permissions: HashMap<String, String>,
    /// Events it subscribed to.
    #[serde(default)]
    pub events: Vec<String>,
    /// Whose it is.
    pub owner: Option<AppOwner>,
}

/// The account that owns the App.
#[derive(Debug, Clone, Deserialize)]
pub struct AppOwner {
    /// Its login; an enterprise has none.
    #[serde(default)]
    pub login: String,
    #[serde(default, rename = "type")]
    kind: String,
}

impl AppOwner {
    /// Whether it is an organisation.
    #[must_use]
    pub fn is_organisation(&self) -> bool {
        self.kind == "Organization"
    }
}

/// The App. Cheap to clone; clones share their tokens.
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
    /// An App with its private key (PEM, RSA); `timeout` bounds each answer.
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

    /// A JWT that says "this is the App": valid from a minute ago (clocks differ) for nine
    /// minutes (GitHub allows ten).
    fn jwt(&self) -> Result<SecretString, GitHubError> {
        let now = self.clock.now().as_secs();
        let claims = Claims { iat: now - 60, exp: now + 9 * 60, iss: self.id.to_string() };
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.key)
            .map(SecretString::from)
            .map_err(|e| GitHubError::Configuration(format!("PACEGATE_GITHUB_PRIVATE_KEY can't sign: {e}")))
    }

    /// Speaks with a token that was minted for it.
    pub(super) fn speaking_with(&self, token: &SecretString) -> Result<Transport, GitHubError> {
        self.transport.with_token(token, THE_APP_ITSELF)
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The same App, whose calls pass this gate.
    #[must_use]
    pub fn with_gate(self, gate: Arc<dyn RateLimiter>) -> Self {
        Self { transport: self.transport.with_gate(gate), ..self }
    }

    /// How long a call may take as a whole.
    #[must_use]
    pub fn call_timeout(&self) -> Duration {
        self.transport.timeout()
    }

    /// Speaks as the App, for no installation.
    pub(super) fn as_itself(&self) -> Result<Transport, GitHubError> {
        self.transport.with_token(&self.jwt()?, THE_APP_ITSELF)
    }

    /// The App as GitHub knows it: proves that id and key belong together.
    pub async fn facts(&self) -> Result<AppFacts, GitHubError> {
        self.as_itself()?.get("/app").await
    }

    /// The installation that covers a repository, by GitHub's word.
    pub async fn installation_of(&self, repo: &RepoName) -> Result<InstallationId, GitHubError> {
        #[derive(Deserialize)]
        struct Answer {
            id: i64,
        }
        let answer: Answer = self.as_itself()?.get(&format!("/repos/{repo}/installation")).await?;
        Ok(InstallationId(answer.id))
    }

    /// A client for one repository, with a token that can do no more than the purpose. Whoever
    /// wants to write is told here when that can't be soon: the reads before it are saved.
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
        let answer: TokenAnswer = minting.post_aside(&route, &request).await?;
        let expires_at = Timestamp::parse_rfc3339(&answer.expires_at).unwrap_or(now);
        let cached = CachedToken { token: answer.token.clone(), expires_at };
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(key, cached);
        Ok(answer.token)
    }

    /// Forgets every token: GitHub no longer takes one of them.
    pub fn forget_tokens(&self) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
