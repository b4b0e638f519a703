//! From the App's three variables, or the file that `/setup` wrote, to an App that can be used,
//! or to local mode. Half an App is a mistake that is told at once, not at the first job.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use crate::config::GitHubArgs;
use pacegate_clock::Clock;
use pacegate_github::app_auth::App;
use pacegate_store::DatabaseUrl;
use pacegate_store::app_file::{AppFile, AppFileError, default_path};

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
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
    GitHub(#[from] pacegate_github::GitHubError),
    /// The file of the App that `/setup` made is unusable.
    #[error(transparent)]
    AppFile(#[from] AppFileError),
    /// The file is of an App of another GitHub.
    #[error(
        "{path} holds an App of the GitHub at {of}, and PACEGATE_GITHUB_API_URL is {asked}: set that, or move the file away and make another App"
    )]
    OtherGitHub {
        /// Which file.
        path: String,
        /// Its GitHub.
        of: String,
        /// Ours.
        asked: String,
    },
}

/// The App's credentials, complete.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    /// The App.
    pub app: App,
    /// Secrets that sign deliveries.
    pub webhook_secrets: Vec<SecretString>,
    /// Where people reach the pages, as it was said when `/setup` made the App.
    pub public_url: Option<String>,
    /// The file they come from; none for the variables.
    pub file: Option<PathBuf>,
}

/// The file of the App that `/setup` makes; none where nobody says it and none can be guessed.
pub(super) fn app_file(args: &GitHubArgs, database: &DatabaseUrl) -> Option<PathBuf> {
    let given = args.app_file.clone().filter(|path| !path.as_os_str().is_empty());
    given.or_else(|| default_path(database))
}

/// The App's credentials, of the three variables, else of the file; none in local mode.
///
/// # Errors
/// [`ConfigError`] when only a part is there, or the key or the file can't be used.
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
        let (path, asked) = (path.display().to_string(), args.github_api_url.clone());
        return Err(ConfigError::OtherGitHub { path, of: file.api_url, asked });
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
    // A variable that is set to nothing is not set: compose files do that.
    let given =
        |secret: &Option<SecretString>| secret.clone().filter(|s| !s.expose_secret().trim().is_empty());
    let (key, secret) = (given(&args.github_private_key), given(&args.github_webhook_secret));
    let missing = |missing| ConfigError::HalfAnApp { missing };
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
    fn no_credentials_are_local_mode_and_half_of_them_a_mistake() {
        let read = |args: GitHubArgs| {
            credentials(&args, &nowhere(), &Clock::system()).map(|c| c.is_some()).map_err(|e| e.to_string())
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
        let error = credentials(&args(Some("1"), Some(pem), Some("s")), &nowhere(), &Clock::system())
            .expect_err("not a key");
        assert!(error.to_string().contains("PRIVATE_KEY"), "{error}");
        assert!(!format!("{error:?}").contains("c2VjcmV0"), "{error:?}");
    }
}
