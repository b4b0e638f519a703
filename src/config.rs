//! Configuration: each flag has an environment variable `PACEGATE_<FLAG>`. Parsed once, at
//! the start, into values that can be used; a mistake is told with what to write instead.

use std::time::Duration;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use crate::clock::Clock;
use crate::github::app_auth::App;
use crate::model::duration;
use crate::model::ids::RepoName;
use crate::store::{DatabaseUrl, StoreError};

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Part of the App's credentials is missing: half an App would fail on its first job.
    #[error(
        "{missing} is missing; the App needs PACEGATE_GITHUB_APP_ID, PACEGATE_GITHUB_PRIVATE_KEY and PACEGATE_GITHUB_WEBHOOK_SECRET, and local mode none of them"
    )]
    HalfAnApp {
        /// Which variable.
        missing: &'static str,
    },
    /// The App's number is none.
    #[error("PACEGATE_GITHUB_APP_ID `{0}` is not a number; GitHub shows it as App ID in the App's settings")]
    AppId(String),
    /// The private key names a file that can't be read.
    #[error("PACEGATE_GITHUB_PRIVATE_KEY is neither a PEM text nor a file that can be read ({path})")]
    PrivateKeyFile {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The key or the API's address is unusable.
    #[error(transparent)]
    GitHub(#[from] crate::github::GitHubError),
}

/// Where data is kept.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    /// Database: `sqlite://FILE` or `postgres://USER:PASSWORD@HOST/NAME`
    #[arg(
        long,
        env = "PACEGATE_DATABASE_URL",
        default_value = "sqlite://pacegate.db",
        hide_env_values = true
    )]
    pub database_url: SecretString,
    /// Raw traces: `file:FOLDER` or `s3://BUCKET/PREFIX`
    #[arg(long, env = "PACEGATE_TRACES_URL", default_value = "file:./pacegate-traces")]
    pub traces_url: String,
}

impl StoreArgs {
    /// The database's address. It may hold a password, so it is a secret until it is parsed:
    /// no error of the command line ever repeats it.
    ///
    /// # Errors
    /// [`StoreError::Url`] when it is of no form we know.
    pub fn database(&self) -> Result<DatabaseUrl, StoreError> {
        self.database_url.expose_secret().parse()
    }
}

/// How GitHub is reached, and as whom. None of the three credentials: local mode, in which
/// nothing is posted and the pages show what would be.
#[derive(Debug, Clone, Args)]
pub struct GitHubArgs {
    /// GitHub's API; `https://HOST/api/v3` for an Enterprise Server
    #[arg(long, env = "PACEGATE_GITHUB_API_URL", default_value = "https://api.github.com")]
    pub github_api_url: String,
    /// The App's number
    #[arg(long, env = "PACEGATE_GITHUB_APP_ID")]
    pub github_app_id: Option<String>,
    /// The App's private key: PEM text, or the path of a file that holds it
    #[arg(long, env = "PACEGATE_GITHUB_PRIVATE_KEY", hide_env_values = true)]
    pub github_private_key: Option<SecretString>,
    /// The webhook's secret; two, separated by a comma, while it is being replaced
    #[arg(long, env = "PACEGATE_GITHUB_WEBHOOK_SECRET", hide_env_values = true)]
    pub github_webhook_secret: Option<SecretString>,
}

/// Which pages anybody may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PageAccess {
    /// Every repository's.
    All,
    /// Those of repositories GitHub calls public; others with a token of the repository.
    Public,
}

/// What a worker needs beside the store and GitHub.
#[derive(Debug, Clone, Args)]
pub struct WorkArgs {
    /// How long a run has to be quiet after its root span before it is complete
    #[arg(long, env = "PACEGATE_SETTLE", default_value = "5s", value_parser = duration::parse)]
    pub settle: Duration,
    /// How long a check waits for a trace before it is concluded as neutral
    #[arg(long, env = "PACEGATE_CHECK_TIMEOUT", default_value = "2h", value_parser = duration::parse)]
    pub check_timeout: Duration,
    /// How long a job is a process's own without a sign of life; clocks of processes that share
    /// a database may differ by less
    #[arg(long, env = "PACEGATE_JOB_LEASE", default_value = "60s", value_parser = duration::parse)]
    pub job_lease: Duration,
    /// Jobs run at once
    #[arg(long, env = "PACEGATE_JOBS", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub jobs: u8,
    /// Address at which people reach the pages; links in checks and comments use it
    #[arg(long, env = "PACEGATE_PUBLIC_URL")]
    pub public_url: Option<String>,
}

/// How logs are written.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// Log filter, such as info or pacegate=debug
    #[arg(long, env = "PACEGATE_LOG", default_value = "info", global = true)]
    pub log: String,
    /// Log format
    #[arg(long, env = "PACEGATE_LOG_FORMAT", default_value = "text", global = true)]
    pub log_format: LogFormat,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// What the service listens to.
#[derive(Debug, Clone, Args)]
pub struct WebArgs {
    /// Address of the webhook, OTLP over HTTP, the pages and the API
    #[arg(long, env = "PACEGATE_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: String,
    /// Repository of spans that come without a token from this machine (OWNER/NAME)
    #[arg(long, env = "PACEGATE_DEFAULT_REPO")]
    pub default_repo: Option<RepoName>,
    /// Which pages anybody may read [default: all in local mode, public with an App]
    #[arg(long, env = "PACEGATE_PAGES")]
    pub pages: Option<PageAccess>,
}

/// The App's credentials, complete.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The App.
    pub app: App,
    /// Secrets that sign deliveries.
    pub webhook_secrets: Vec<SecretString>,
}

impl GitHubArgs {
    /// The App's credentials; none in local mode.
    ///
    /// # Errors
    /// [`ConfigError`] when only a part is there or the key can't be used.
    pub fn credentials(&self, clock: &Clock) -> Result<Option<Credentials>, ConfigError> {
        // A variable that is set to nothing is not set: compose files do that.
        let given =
            |secret: &Option<SecretString>| secret.clone().filter(|s| !s.expose_secret().trim().is_empty());
        let (key, secret) = (given(&self.github_private_key), given(&self.github_webhook_secret));
        let missing = |missing| ConfigError::HalfAnApp { missing };
        let id = self.github_app_id.as_deref().map(str::trim).filter(|id| !id.is_empty());
        let (id, key, secret) = match (id, key, secret) {
            (None, None, None) => return Ok(None),
            (None, ..) => return Err(missing("PACEGATE_GITHUB_APP_ID")),
            (_, None, _) => return Err(missing("PACEGATE_GITHUB_PRIVATE_KEY")),
            (.., None) => return Err(missing("PACEGATE_GITHUB_WEBHOOK_SECRET")),
            (Some(id), Some(key), Some(secret)) => (id, key, secret),
        };
        let id = id.parse().map_err(|_| ConfigError::AppId(id.chars().take(40).collect()))?;
        let app = App::new(id, &read_key(&key)?, &self.github_api_url, clock.clone())?;
        let webhook_secrets = secret
            .expose_secret()
            .split(',')
            .map(str::trim)
            .filter(|s| !s.is_empty())
            .map(|s| SecretString::from(s.to_owned()))
            .collect();
        Ok(Some(Credentials { app, webhook_secrets }))
    }
}

fn read_key(key: &SecretString) -> Result<SecretString, ConfigError> {
    let text = key.expose_secret().trim();
    if text.contains("-----BEGIN") {
        // Environment files can't hold line breaks: `\n` is written for them.
        return Ok(text.replace("\\n", "\n").into());
    }
    std::fs::read_to_string(text)
        .map(SecretString::from)
        .map_err(|source| ConfigError::PrivateKeyFile { path: text.chars().take(200).collect(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(id: Option<&str>, key: Option<&str>, secret: Option<&str>) -> GitHubArgs {
        GitHubArgs {
            github_api_url: "https://api.github.com".into(),
            github_app_id: id.map(str::to_owned),
            github_private_key: key.map(|k| k.to_owned().into()),
            github_webhook_secret: secret.map(|s| s.to_owned().into()),
        }
    }

    #[test]
    fn no_credentials_are_local_mode_and_half_of_them_a_mistake() {
        let read = |args: GitHubArgs| {
            args.credentials(&Clock::system()).map(|c| c.is_some()).map_err(|e| e.to_string())
        };
        assert_eq!(read(args(None, None, None)), Ok(false));
        assert_eq!(read(args(Some(""), Some(" "), Some(""))), Ok(false), "empty is not set");
        for (half, missing) in [
            (args(Some("1"), None, Some("s")), "PRIVATE_KEY is missing"),
            (args(Some("one"), Some("k"), Some("s")), "`one` is not a number"),
            (args(None, Some("k"), None), "APP_ID is missing"),
            (args(Some("1"), Some("k"), None), "WEBHOOK_SECRET is missing"),
            (args(Some("1"), Some("/no/such/file"), Some("s")), "neither a PEM text nor a file"),
        ] {
            let error = read(half).expect_err(missing);
            assert!(error.contains(missing), "{error}");
        }
    }

    #[test]
    fn a_wrong_key_is_refused_without_showing_it() {
        let pem = "-----BEGIN RSA PRIVATE KEY-----\\nc2VjcmV0c2VjcmV0\\n-----END RSA PRIVATE KEY-----";
        let error =
            args(Some("1"), Some(pem), Some("s")).credentials(&Clock::system()).expect_err("not a key");
        assert!(error.to_string().contains("PRIVATE_KEY"), "{error}");
        assert!(!format!("{error:?}").contains("c2VjcmV0"), "{error:?}");
    }
}
