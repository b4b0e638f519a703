//! What an operator wants to know of the App, as GitHub says it: where it delivers, what was not
//! delivered, where it is installed, what is left of the rate limit, what time it is. Reads
//! only, each bounded; nothing here is needed to do the work.

use std::collections::HashMap;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::GitHubError;
use super::app_auth::App;
use pacegate_engine::model::ids::InstallationId;
use pacegate_engine::model::time::Timestamp;

/// Installations that are listed: a page.
pub const INSTALLATIONS: usize = 100;
/// Failed deliveries that are counted: a page.
pub const DELIVERIES: usize = 100;

/// Where GitHub delivers.
#[derive(Debug, Clone, Deserialize)]
pub struct WebhookConfig {
    /// The address; none when the webhook is off.
    pub url: Option<String>,
    /// `json` or `form`.
    pub content_type: Option<String>,
    /// Stars in place of a secret; none when there is no secret.
    pub secret: Option<String>,
    insecure_ssl: Option<serde_json::Value>,
}

impl WebhookConfig {
    /// Whether GitHub checks the certificate of our address.
    #[must_use]
    pub fn verifies_certificates(&self) -> bool {
        self.insecure_ssl.as_ref().is_none_or(|value| *value != "1" && *value != 1)
    }
}

/// An installation, as GitHub lists and answers it.
#[derive(Debug, Clone, Deserialize)]
pub struct Installation {
    /// GitHub's number.
    pub id: i64,
    account: Option<Account>,
    suspended_at: Option<String>,
    #[serde(default)]
    permissions: HashMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Account {
    login: Option<String>,
    // What an enterprise has instead.
    slug: Option<String>,
}

impl Installation {
    /// The account it is on.
    #[must_use]
    pub fn account(&self) -> &str {
        let account = self.account.as_ref();
        account.and_then(|account| account.login.as_deref().or(account.slug.as_deref())).unwrap_or_default()
    }

    /// Whether it lets us read what a permission of this name is about.
    #[must_use]
    pub fn grants(&self, permission: &str) -> bool {
        self.permissions.contains_key(permission)
    }

    /// Whether nothing may be called for it now.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.suspended_at.is_some()
    }
}

/// What an installation may still do and where.
#[derive(Debug, Clone)]
pub struct Reach {
    /// How many repositories it sees.
    pub repositories: u64,
    /// A few of their names.
    pub names: Vec<String>,
    /// Calls left of this hour's; none where GitHub sets no limit.
    pub remaining: Option<u64>,
    /// Calls of an hour.
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
    /// How far GitHub's clock is ahead of ours, in seconds, by the `Date` of an answer,
    /// whatever it answers. None when the answer has none.
    pub async fn clock_offset_s(&self) -> Result<Option<i64>, GitHubError> {
        let date = self.as_itself()?.date_of("/app").await?;
        Ok(date.map(|github| github - self.clock().now().as_secs()))
    }

    /// Where GitHub delivers.
    pub async fn webhook_config(&self) -> Result<WebhookConfig, GitHubError> {
        self.as_itself()?.get("/app/hook/config").await
    }

    /// How many deliveries of this last while were not answered with success, at most
    /// [`DELIVERIES`].
    pub async fn failed_deliveries(&self, within: Duration) -> Result<usize, GitHubError> {
        #[derive(Deserialize)]
        struct Delivery {
            delivered_at: String,
            status_code: i64,
        }
        let route = format!("/app/hook/deliveries?status=failure&per_page={DELIVERIES}");
        let deliveries: Vec<Delivery> = self.as_itself()?.get(&route).await?;
        let since = self.clock().now().before(within);
        let failed = deliveries.iter().filter(|delivery| {
            // An Enterprise Server may not know the filter.
            !(200..300).contains(&delivery.status_code)
                && Timestamp::parse_rfc3339(&delivery.delivered_at).is_none_or(|at| at > since)
        });
        Ok(failed.count())
    }

    /// Where the App is installed: the first [`INSTALLATIONS`].
    pub async fn installations(&self) -> Result<Vec<Installation>, GitHubError> {
        self.as_itself()?.get(&format!("/app/installations?per_page={INSTALLATIONS}")).await
    }

    /// An installation as it is now; none when it was removed.
    pub async fn installation(&self, id: InstallationId) -> Result<Option<Installation>, GitHubError> {
        match self.as_itself()?.get(&format!("/app/installations/{}", id.0)).await {
            Ok(found) => Ok(Some(found)),
            Err(GitHubError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What an installation sees, and what is left of its calls.
    pub async fn reach(&self, id: InstallationId) -> Result<Reach, GitHubError> {
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
        let token: TokenAnswer = self.as_itself()?.post(&route, &request).await?;
        let client = self.speaking_with(&token.token)?;
        let seen: Repositories = client.get("/installation/repositories?per_page=5").await?;
        let rate = match client.get::<Limits>("/rate_limit").await {
            Ok(limits) => Some(limits.rate),
            // An Enterprise Server without rate limits.
            Err(GitHubError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Reach {
            repositories: seen.total_count,
            names: seen.repositories.into_iter().map(|repository| repository.full_name).collect(),
            remaining: rate.as_ref().map(|rate| rate.remaining),
            limit: rate.as_ref().map(|rate| rate.limit),
        })
    }
}
