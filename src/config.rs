//! Configuration: each flag has an environment variable `PACEGATE_<FLAG>`. Holds plain values;
//! `cli/` opens the database and the App.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use secrecy::SecretString;

use crate::protocols::{PROTOCOLS, Protocol};
use pacegate_engine::model::byte_size;
use pacegate_engine::model::duration;
use pacegate_engine::model::ids::RepoName;
use pacegate_engine::model::trace_link::TraceLink;

/// Where data is kept.
#[derive(Debug, Clone, Args)]
pub(crate) struct StoreArgs {
    /// Database: `sqlite://FILE` or `postgres://USER:PASSWORD@HOST/NAME`
    #[arg(
        long,
        env = "PACEGATE_DATABASE_URL",
        default_value = "sqlite://pacegate.db",
        hide_env_values = true
    )]
    pub database_url: SecretString,
    /// Place of raw traces: `file:FOLDER` or `s3://BUCKET/PREFIX`
    #[arg(long, env = "PACEGATE_TRACES_URL", default_value = "file:./pacegate-traces")]
    pub traces_url: String,
}

/// GitHub's address and the App's credentials. Without credentials the service runs in local mode:
/// it posts nothing, and the pages show what would be posted.
#[derive(Debug, Clone, Args)]
pub(crate) struct GitHubArgs {
    /// GitHub's API; `https://HOST/api/v3` for an Enterprise Server
    #[arg(long, env = "PACEGATE_GITHUB_API_URL", default_value = "https://api.github.com")]
    pub github_api_url: String,
    /// How long a call to GitHub may take
    #[arg(long, env = "PACEGATE_GITHUB_TIMEOUT", default_value = "30s", value_parser = duration::parse)]
    pub github_timeout: Duration,
    /// The App's number
    #[arg(long, env = "PACEGATE_GITHUB_APP_ID")]
    pub github_app_id: Option<String>,
    /// The App's private key: PEM text, or the path of a file that holds it
    #[arg(long, env = "PACEGATE_GITHUB_PRIVATE_KEY", hide_env_values = true)]
    pub github_private_key: Option<SecretString>,
    /// Secret of the webhook; two, separated by a comma, while it is being replaced
    #[arg(long, env = "PACEGATE_GITHUB_WEBHOOK_SECRET", hide_env_values = true)]
    pub github_webhook_secret: Option<SecretString>,
    /// Issuer of the OIDC tokens of CI jobs [default: that of the GitHub at --github-api-url]
    #[arg(long, env = "PACEGATE_GITHUB_OIDC_ISSUER")]
    pub github_oidc_issuer: Option<String>,
    /// File with the App that /setup makes; used when the three credentials are absent
    /// [default: pacegate-app.json beside an SQLite database]
    #[arg(long, env = "PACEGATE_APP_FILE")]
    pub app_file: Option<PathBuf>,
}

/// The pages that need no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PageAccess {
    /// Every repository's
    All,
    /// Those of public repositories; others need a token of the repository
    Public,
}

/// Settings of a worker, beside the store and GitHub.
#[derive(Debug, Clone, Args)]
pub(crate) struct WorkArgs {
    /// A run is complete when its root span has arrived and no span came for this long
    #[arg(long, env = "PACEGATE_SETTLE", default_value = "5s", value_parser = duration::parse)]
    pub settle: Duration,
    /// A check that waited this long for a trace is concluded as neutral
    #[arg(long, env = "PACEGATE_CHECK_TIMEOUT", default_value = "2h", value_parser = duration::parse)]
    pub check_timeout: Duration,
    /// How long a repository's data is kept after its installation ended
    #[arg(long, env = "PACEGATE_GRACE", default_value = "720h", value_parser = duration::parse)]
    pub grace: Duration,
    /// How long a process keeps a background task without renewing its lease; the clocks of
    /// processes that share a database may differ by less
    #[arg(long, env = "PACEGATE_JOB_LEASE", default_value = "60s", value_parser = duration::parse)]
    pub job_lease: Duration,
    /// Pause between two writes to an installation on GitHub, which asks for a second
    #[arg(long, env = "PACEGATE_GITHUB_WRITE_SPACING", default_value = "1s", value_parser = duration::parse)]
    pub github_write_spacing: Duration,
    /// Writes to an installation on GitHub in an hour; GitHub allows 500
    #[arg(long, env = "PACEGATE_GITHUB_WRITES_PER_HOUR", default_value_t = 480, value_parser = clap::value_parser!(u32).range(1..))]
    pub github_writes_per_hour: u32,
    /// How often GitHub is asked for missed deliveries and for changed pull requests; 0s: never
    #[arg(long, env = "PACEGATE_RECONCILE_INTERVAL", default_value = "15m", value_parser = duration::parse)]
    pub reconcile_interval: Duration,
    /// Background tasks that this process runs at once
    #[arg(long, env = "PACEGATE_JOBS", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub jobs: u8,
    /// Branch whose runs are the baseline, where GitHub does not name it [default: main or master]
    #[arg(long, env = "PACEGATE_BASE_BRANCH")]
    pub base_branch: Option<String>,
    /// Further attributes whose values are masked: parts of keys, or globs over keys, separated by commas
    #[arg(long, env = "PACEGATE_REDACT_KEYS", default_value = "", hide_default_value = true)]
    pub redact_keys: String,
    /// Attributes that are harmless although their key sounds like a secret; same form
    #[arg(long, env = "PACEGATE_REDACT_ALLOW", default_value = "", hide_default_value = true)]
    pub redact_allow: String,
    /// How long every raw trace is kept; after that only those that a policy keeps
    #[arg(long, env = "PACEGATE_TRACES_FULL", default_value = "168h", value_parser = duration::parse)]
    pub traces_full: Duration,
    /// File with the policies that keep raw traces [default: by pipeline.priority]
    #[arg(long, env = "PACEGATE_RETENTION")]
    pub retention: Option<PathBuf>,
    /// Where people look at a trace, such as `https://jaeger.example.com/trace/{trace_id}`
    #[arg(long, env = "PACEGATE_TRACE_LINK")]
    pub trace_link: Option<TraceLink>,
    /// Address where people reach the pages; links in checks and comments use it
    #[arg(long, env = "PACEGATE_PUBLIC_URL", value_parser = public_url)]
    pub public_url: Option<String>,
}

/// Without a scheme, a link would be relative to the page that contains it.
fn public_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    if host.is_some_and(|host| !host.is_empty()) {
        Ok(text.to_owned())
    } else {
        Err("it has to begin with https:// or http://".to_owned())
    }
}

/// Where a port listens, if at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListenAddress {
    /// `off`.
    Off,
    /// `HOST:PORT`.
    At(String),
}

impl std::str::FromStr for ListenAddress {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let off = text.is_empty() || text.eq_ignore_ascii_case("off");
        Ok(if off { Self::Off } else { Self::At(text.to_owned()) })
    }
}

/// The ports for spans, beside the main one.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PortArgs {
    #[command(flatten)]
    pub listen: ListenArgs,
    /// Repository of spans that come over UDP (OWNER/NAME) [default: that of --default-repo]
    #[arg(long, env = "PACEGATE_JAEGER_UDP_REPO")]
    pub jaeger_udp_repo: Option<RepoName>,
}

/// The configured addresses of the ports for spans, by the protocol's name. A protocol that is
/// absent has its default address, which may be in use.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListenArgs(BTreeMap<&'static str, ListenAddress>);

impl ListenArgs {
    /// Every port closed.
    #[must_use]
    pub(crate) fn closed() -> Self {
        Self(PROTOCOLS.iter().map(|protocol| (protocol.name, ListenAddress::Off)).collect())
    }

    /// The configured address of a protocol's port; none where the default applies.
    pub(crate) fn of(&self, protocol: &Protocol) -> Option<&ListenAddress> {
        self.0.get(protocol.name)
    }
}

// Written out instead of derived, so that a protocol needs no field of its own.
impl Args for ListenArgs {
    fn augment_args(command: Command) -> Command {
        PROTOCOLS.iter().fold(command, |command, protocol| {
            let Protocol { flag, variable, title, port, .. } = protocol;
            let help = match protocol.default_address() {
                Some(address) => format!("Address for {title}; `off` closes the port [default: {address}]"),
                None => format!("Address for {title}, usually 127.0.0.1:{port} [default: off]"),
            };
            command.arg(
                Arg::new(protocol.name)
                    .long(flag)
                    .env(variable)
                    .value_name(variable.trim_start_matches("PACEGATE_"))
                    .value_parser(clap::value_parser!(ListenAddress))
                    .help(help),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ListenArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut listen = Self::default();
        listen.update_from_arg_matches(matches)?;
        Ok(listen)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for Protocol { name, .. } in PROTOCOLS {
            if let Some(address) = matches.get_one::<ListenAddress>(name) {
                self.0.insert(name, address.clone());
            }
        }
        Ok(())
    }
}

/// Limits for pushes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AdmissionArgs {
    /// Resident memory at which pushes are refused for now, such as 512MiB
    /// [default: three quarters of the container's or machine's, at most 2GiB]
    #[arg(long, env = "PACEGATE_MEMORY_LIMIT", value_parser = byte_size::parse)]
    pub memory_limit: Option<u64>,
    /// Bytes that one token may push in a second; 0: no limit
    #[arg(long, env = "PACEGATE_TOKEN_RATE", default_value = "64MiB", value_parser = byte_size::parse)]
    pub token_rate: u64,
    /// Bytes that one token may push at once above its rate
    #[arg(long, env = "PACEGATE_TOKEN_BURST", default_value = "1GiB", value_parser = byte_size::parse)]
    pub token_burst: u64,
}

/// Filter and format of the log.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogArgs {
    /// Log filter, such as info or pacegate=debug
    #[arg(long, env = "PACEGATE_LOG", default_value = "info", global = true)]
    pub log: String,
    /// Log format
    #[arg(long, env = "PACEGATE_LOG_FORMAT", default_value = "text", global = true)]
    pub log_format: LogFormat,
}

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object on each line
    Json,
}

/// Settings of the web server.
#[derive(Debug, Clone, Args)]
pub(crate) struct WebArgs {
    /// Address of the main port: the webhook, OTLP over HTTP, the pages and the API
    #[arg(long, env = "PACEGATE_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: String,
    /// Repository of spans that come from this machine without a token (OWNER/NAME)
    #[arg(long, env = "PACEGATE_DEFAULT_REPO")]
    pub default_repo: Option<RepoName>,
    /// Endpoint for OTLP over HTTP that also gets accepted spans
    #[arg(long, env = "PACEGATE_FORWARD_URL")]
    pub forward_url: Option<String>,
    /// Headers for that endpoint: `name=value,name=value`
    #[arg(long, env = "PACEGATE_FORWARD_HEADERS", hide_env_values = true)]
    pub forward_headers: Option<SecretString>,
    /// Repositories whose pages anyone may read [default: all in local mode, public with an App]
    #[arg(long, env = "PACEGATE_PAGES")]
    pub pages: Option<PageAccess>,
    /// Do not offer the page that creates a GitHub App, because local mode is wanted
    #[arg(long, env = "PACEGATE_NO_SETUP")]
    pub no_setup: bool,
    #[command(flatten)]
    pub ports: PortArgs,
    #[command(flatten)]
    pub admission: AdmissionArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_address_needs_a_scheme() {
        for good in ["https://pg.example.com", "http://127.0.0.1:8080/", " https://pg.example.com/here "] {
            assert_eq!(public_url(good).as_deref(), Ok(good.trim()));
        }
        for bad in ["", "pg.example.com", "https://", "ftp://pg.example.com", "//pg.example.com"] {
            assert!(public_url(bad).is_err_and(|sentence| sentence.contains("https://")), "{bad}");
        }
    }
}
