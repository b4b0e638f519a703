//! The App's state on GitHub, for operators: webhook, failed deliveries, installations, rate limit and
//! GitHub's clock. Reads only, and each read is bounded.

use std::collections::HashMap;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::GitHubError;
use super::app_auth::App;
use pacegate_engine::model::ids::InstallationId;
use pacegate_engine::model::time::Timestamp;

/// Installations that are listed at most: one page.
pub const INSTALLATIONS: usize = 100;
/// Failed deliveries that are counted at most: one page.
pub const DELIVERIES: usize = 100;

/// The App's webhook settings.
#[derive(Debug, Clone, Deserialize)]
pub struct WebhookConfig {
    /// None when the webhook is off.
    pub url: Option<String>,
    /// `json` or `form`.
    pub content_type: Option<String>,
    /// Asterisks in place of the secret; none without a secret.
    pub secret: Option<String>,
    insecure_ssl: Option<serde_json::Value>,
}

impl WebhookConfig {
    /// Whether GitHub checks the TLS certificate of our address.
    #[must_use]
    pub fn verifies_certificates(&self) -> bool {
        self.insecure_ssl.as_ref().is_none_or(|value| *value != "1" && *value != 1)
    }
}

/// An installation of the App.
#[derive(Debug, Clone, Deserialize)]
pub struct Installation {
    pub id: i64,
    account: Option<Account>,
    suspended_at: Option<String>,
    #[serde(default)]
    permissions: HashMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Account {
    login: Option<String>,
    // Of an enterprise, which has no login.
    slug: Option<String>,
}

impl Installation {
    /// Name of the account; empty if GitHub sent none.
    #[must_use]
    pub fn account(&self) -> &str {
        let account = self.account.as_ref();
        account.and_then(|account| account.login.as_deref().or(account.slug.as_deref())).unwrap_or_default()
    }

    /// Whether it has the permission of this name, at any level.
    #[must_use]
    pub fn grants(&self, permission: &str) -> bool {
        self.permissions.contains_key(permission)
    }

    /// Whether GitHub refuses calls for it at present.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.suspended_at.is_some()
    }
}

/// Repositories and remaining calls of an installation.
#[derive(Debug, Clone)]
pub struct InstallationAccess {
    /// Number of repositories that it covers.
    pub repositories: u64,
    /// Names of the first few.
    pub names: Vec<String>,
    /// Calls left in this hour; none where GitHub sets no limit.
    pub remaining: Option<u64>,
    /// Calls per hour.
    pub limit: Option<u64>,
}

#[derive(Serialize)]
struct TokenRequest {
    permissions: Permissions,
}

#[derive(Serialize)]
struct Permissions {
    metadata: &'static str,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: SecretString,
}

impl App {
    /// How far GitHub's clock is ahead of ours, in seconds. Measured by the `Date` header of an answer
    /// of any status; none without this header.
    pub async fn clock_offset_s(&self) -> Result<Option<i64>, GitHubError> {
        let date = self.app_transport()?.date_of("/app").await?;
        Ok(date.map(|github| github - self.clock().now().as_secs()))
    }

    pub async fn webhook_config(&self) -> Result<WebhookConfig, GitHubError> {
        self.app_transport()?.get("/app/hook/config").await
    }

    /// Number of deliveries in the last `within` that got no success from us, at most [`DELIVERIES`].
    pub async fn failed_deliveries(&self, within: Duration) -> Result<usize, GitHubError> {
        #[derive(Deserialize)]
        struct Delivery {
            delivered_at: String,
            status_code: i64,
        }
        let route = format!("/app/hook/deliveries?status=failure&per_page={DELIVERIES}");
        let deliveries: Vec<Delivery> = self.app_transport()?.get(&route).await?;
        let since = self.clock().now().before(within);
        let failed = deliveries.iter().filter(|delivery| {
            // An Enterprise Server may ignore the filter.
            !(200..300).contains(&delivery.status_code)
                && Timestamp::parse_rfc3339(&delivery.delivered_at).is_none_or(|at| at > since)
        });
        Ok(failed.count())
    }

    /// The first [`INSTALLATIONS`] installations.
    pub async fn installations(&self) -> Result<Vec<Installation>, GitHubError> {
        self.app_transport()?.get(&format!("/app/installations?per_page={INSTALLATIONS}")).await
    }

    /// The present state of an installation; none when it was removed.
    pub async fn installation(&self, id: InstallationId) -> Result<Option<Installation>, GitHubError> {
        match self.app_transport()?.get(&format!("/app/installations/{}", id.0)).await {
            Ok(found) => Ok(Some(found)),
            Err(GitHubError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Repositories and remaining calls of an installation.
    pub async fn installation_access(&self, id: InstallationId) -> Result<InstallationAccess, GitHubError> {
        #[derive(Deserialize)]
        struct Repositories {
            total_count: u64,
            repositories: Vec<Repository>,
        }
        #[derive(Deserialize)]
        struct Repository {
            full_name: String,
        }
        #[derive(Deserialize)]
        struct Limits {
            rate: Rate,
        }
        #[derive(Deserialize)]
        struct Rate {
            limit: u64,
            remaining: u64,
        }
        let route = format!("/app/installations/{}/access_tokens", id.0);
        let request = TokenRequest { permissions: Permissions { metadata: "read" } };
        let token: TokenAnswer = self.app_transport()?.post(&route, &request).await?;
        let client = self.transport_with(&token.token)?;
        let seen: Repositories = client.get("/installation/repositories?per_page=5").await?;
        let rate = match client.get::<Limits>("/rate_limit").await {
            Ok(limits) => Some(limits.rate),
            // An Enterprise Server without rate limits.
            Err(GitHubError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(InstallationAccess {
            repositories: seen.total_count,
            names: seen.repositories.into_iter().map(|repository| repository.full_name).collect(),
            remaining: rate.as_ref().map(|rate| rate.remaining),
            limit: rate.as_ref().map(|rate| rate.limit),
        })
    }
}
