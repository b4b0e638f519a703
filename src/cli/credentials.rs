//! Reads the App's credentials from its three variables, or from the file that `/setup` wrote. Without
//! either the service runs in local mode. Incomplete credentials are an error at the start.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use crate::config::GitHubArgs;
use pacegate_clock::Clock;
use pacegate_github::app_auth::App;
use pacegate_store::DatabaseUrl;
use pacegate_store::app_file::{AppFile, AppFileError, default_path};

/// Unusable credentials.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error(
        "{missing} is missing; the App needs PACEGATE_GITHUB_APP_ID, PACEGATE_GITHUB_PRIVATE_KEY and PACEGATE_GITHUB_WEBHOOK_SECRET, and local mode none of them"
    )]
    Incomplete { missing: &'static str },
    #[error("PACEGATE_GITHUB_APP_ID `{0}` is not a number; GitHub shows it as App ID in the App's settings")]
    AppId(String),
    #[error("PACEGATE_GITHUB_PRIVATE_KEY is neither a PEM text nor a file that can be read ({path})")]
    PrivateKeyFile {
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// The key or the API's address is unusable.
    #[error(transparent)]
    GitHub(#[from] pacegate_github::GitHubError),
    #[error(transparent)]
    AppFile(#[from] AppFileError),
    #[error(
        "{path} holds an App of the GitHub at {of}, but PACEGATE_GITHUB_API_URL is {configured}: change the variable, or move the file away and create another App"
    )]
    OtherGitHub { path: String, of: String, configured: String },
}

/// Complete credentials.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub app: App,
    /// Secrets that sign deliveries.
    pub webhook_secrets: Vec<SecretString>,
    /// The public address from `/setup`.
    pub public_url: Option<String>,
    /// Their file; none if they come from the variables.
    pub file: Option<PathBuf>,
}

/// The file of the App that `/setup` makes. None if it is not configured and the database has no
/// folder.
pub(super) fn app_file(args: &GitHubArgs, database: &DatabaseUrl) -> Option<PathBuf> {
    let given = args.app_file.clone().filter(|path| !path.as_os_str().is_empty());
    given.or_else(|| default_path(database))
}

/// The App's credentials: from the three variables, else from the file; none in local mode.
pub(super) fn credentials(
    args: &GitHubArgs,
    database: &DatabaseUrl,
    clock: &Clock,
) -> Result<Option<Credentials>, ConfigError> {
    if let Some(found) = of_variables(args, clock)? {
        return Ok(Some(found));
    }
    let Some(path) = app_file(args, database) else { return Ok(None) };
    let Some(file) = AppFile::load(&path)? else { return Ok(None) };
    let same = |a: &str, b: &str| a.trim_end_matches('/').eq_ignore_ascii_case(b.trim_end_matches('/'));
    if !same(&file.api_url, &args.github_api_url) {
        let (path, configured) = (path.display().to_string(), args.github_api_url.clone());
        return Err(ConfigError::OtherGitHub { path, of: file.api_url, configured });
    }
    let app = App::new(file.id, &file.private_key, &args.github_api_url, args.github_timeout, clock.clone())?;
    Ok(Some(Credentials {
        app,
        webhook_secrets: vec![file.webhook_secret],
        public_url: Some(file.public_url),
        file: Some(path),
    }))
}

fn of_variables(args: &GitHubArgs, clock: &Clock) -> Result<Option<Credentials>, ConfigError> {
    // An empty variable counts as absent: compose files set empty variables.
    let given =
        |secret: &Option<SecretString>| secret.clone().filter(|s| !s.expose_secret().trim().is_empty());
    let (key, secret) = (given(&args.github_private_key), given(&args.github_webhook_secret));
    let missing = |missing| ConfigError::Incomplete { missing };
    let id = args.github_app_id.as_deref().map(str::trim).filter(|id| !id.is_empty());
    let (id, key, secret) = match (id, key, secret) {
        (None, None, None) => return Ok(None),
        (None, ..) => return Err(missing("PACEGATE_GITHUB_APP_ID")),
        (_, None, _) => return Err(missing("PACEGATE_GITHUB_PRIVATE_KEY")),
        (.., None) => return Err(missing("PACEGATE_GITHUB_WEBHOOK_SECRET")),
        (Some(id), Some(key), Some(secret)) => (id, key, secret),
    };
    let id = id.parse().map_err(|_| ConfigError::AppId(id.chars().take(40).collect()))?;
    let app = App::new(id, &read_key(&key)?, &args.github_api_url, args.github_timeout, clock.clone())?;
    let webhook_secrets = secret
        .expose_secret()
        .split(',')
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .map(|s| SecretString::from(s.to_owned()))
        .collect();
    Ok(Some(Credentials { app, webhook_secrets, public_url: None, file: None }))
}

fn read_key(key: &SecretString) -> Result<SecretString, ConfigError> {
    let text = key.expose_secret().trim();
    if text.contains("-----BEGIN") {
        // Environment files can't hold line breaks, so `\n` stands for one.
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
            github_timeout: std::time::Duration::from_secs(30),
            github_app_id: id.map(str::to_owned),
            github_private_key: key.map(|k| k.to_owned().into()),
            github_webhook_secret: secret.map(|s| s.to_owned().into()),
            github_oidc_issuer: None,
            app_file: Some("/no/such/folder/app.json".into()),
        }
    }

    fn nowhere() -> DatabaseUrl {
        "postgres://db/pacegate".parse().expect("a URL")
    }

    #[test]
    fn incomplete_credentials_are_refused_absent_allowed() {
        let read = |args: GitHubArgs| {
            credentials(&args, &nowhere(), &Clock::system()).map(|c| c.is_some()).map_err(|e| e.to_string())
        };
        assert_eq!(read(args(None, None, None)), Ok(false));
        assert_eq!(read(args(Some(""), Some(" "), Some(""))), Ok(false), "empty counts as absent");
        for (incomplete, missing) in [
            (args(Some("1"), None, Some("s")), "PRIVATE_KEY is missing"),
            (args(Some("one"), Some("k"), Some("s")), "`one` is not a number"),
            (args(None, Some("k"), None), "APP_ID is missing"),
            (args(Some("1"), Some("k"), None), "WEBHOOK_SECRET is missing"),
            (args(Some("1"), Some("/no/such/file"), Some("s")), "neither a PEM text nor a file"),
        ] {
            let error = read(incomplete).expect_err(missing);
            assert!(error.contains(missing), "{error}");
        }
    }

    #[test]
    fn wrong_key_is_refused_and_not_shown() {
        let pem = "-----BEGIN RSA PRIVATE KEY-----\\nc2VjcmV0c2VjcmV0\\n-----END RSA PRIVATE KEY-----";
        let error = credentials(&args(Some("1"), Some(pem), Some("s")), &nowhere(), &Clock::system())
            .expect_err("not a key");
        assert!(error.to_string().contains("PRIVATE_KEY"), "{error}");
        assert!(!format!("{error:?}").contains("c2VjcmV0"), "{error:?}");
    }
}
