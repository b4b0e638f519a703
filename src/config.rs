//! Configuration: each flag has an environment variable `PACEGATE_<FLAG>`. Plain values here;
//! what they open (a database, an App) is opened by `cli/`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;

use pacegate_engine::model::byte_size;
use pacegate_engine::model::duration;
use pacegate_engine::model::ids::RepoName;
use pacegate_engine::model::trace_link::TraceLink;

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

/// How GitHub is reached, and as whom. None of the three credentials: local mode, in which
/// nothing is posted and the pages show what would be.
#[derive(Debug, Clone, Args)]
pub struct GitHubArgs {
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
    /// The webhook's secret; two, separated by a comma, while it is being replaced
    #[arg(long, env = "PACEGATE_GITHUB_WEBHOOK_SECRET", hide_env_values = true)]
    pub github_webhook_secret: Option<SecretString>,
    /// Issuer of the OIDC tokens of jobs [default: that of the GitHub at --github-api-url]
    #[arg(long, env = "PACEGATE_GITHUB_OIDC_ISSUER")]
    pub github_oidc_issuer: Option<String>,
    /// File of the App that /setup makes, used when the three are absent
    /// [default: pacegate-app.json beside an SQLite database]
    #[arg(long, env = "PACEGATE_APP_FILE")]
    pub app_file: Option<PathBuf>,
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
    /// How long the data of a repository is kept that no installation covers any more
    #[arg(long, env = "PACEGATE_GRACE", default_value = "720h", value_parser = duration::parse)]
    pub grace: Duration,
    /// How long a job is a process's own without a sign of life; clocks of processes that share
    /// a database may differ by less
    #[arg(long, env = "PACEGATE_JOB_LEASE", default_value = "60s", value_parser = duration::parse)]
    pub job_lease: Duration,
    /// From the end of a write to an installation on GitHub to the next; GitHub asks for a second
    #[arg(long, env = "PACEGATE_GITHUB_WRITE_SPACING", default_value = "1s", value_parser = duration::parse)]
    pub github_write_spacing: Duration,
    /// Writes to an installation on GitHub in an hour; GitHub takes 500
    #[arg(long, env = "PACEGATE_GITHUB_WRITES_PER_HOUR", default_value_t = 480, value_parser = clap::value_parser!(u32).range(1..))]
    pub github_writes_per_hour: u32,
    /// How often GitHub is asked for deliveries that failed and pull requests that changed unheard;
    /// 0s: never
    #[arg(long, env = "PACEGATE_RECONCILE_INTERVAL", default_value = "15m", value_parser = duration::parse)]
    pub reconcile_interval: Duration,
    /// Jobs run at once
    #[arg(long, env = "PACEGATE_JOBS", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub jobs: u8,
    /// Branch whose runs are the baseline where GitHub does not say it [default: main or master]
    #[arg(long, env = "PACEGATE_BASE_BRANCH")]
    pub base_branch: Option<String>,
    /// Further attributes whose values are masked: comma-separated parts of keys, or globs over keys
    #[arg(long, env = "PACEGATE_REDACT_KEYS", default_value = "", hide_default_value = true)]
    pub redact_keys: String,
    /// Attributes that are harmless though their key sounds like a secret, written likewise
    #[arg(long, env = "PACEGATE_REDACT_ALLOW", default_value = "", hide_default_value = true)]
    pub redact_allow: String,
    /// How long every raw trace is kept; afterwards those that a policy keeps
    #[arg(long, env = "PACEGATE_TRACES_FULL", default_value = "168h", value_parser = duration::parse)]
    pub traces_full: Duration,
    /// File with the policies that keep raw traces [default: by the pipeline's priority]
    #[arg(long, env = "PACEGATE_RETENTION")]
    pub retention: Option<PathBuf>,
    /// Where people look at a trace, such as `https://jaeger.example.com/trace/{trace_id}`
    #[arg(long, env = "PACEGATE_TRACE_LINK")]
    pub trace_link: Option<TraceLink>,
    /// Address at which people reach the pages; links in checks and comments use it
    #[arg(long, env = "PACEGATE_PUBLIC_URL", value_parser = public_url)]
    pub public_url: Option<String>,
}

/// An address that links can lead to. Without a scheme they would lead below the page they stand on.
fn public_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    if host.is_some_and(|host| !host.is_empty()) {
        Ok(text.to_owned())
    } else {
        Err("it has to begin with https:// or http://".to_owned())
    }
}

/// The address of a port, or that it is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
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

/// The ports that spans come to, beside the main one. None: the default, which may be in use.
#[derive(Debug, Clone, Default, Args)]
pub struct PortArgs {
    /// Address of OTLP over gRPC; `off` closes it, as for each of these [default: 127.0.0.1:4317]
    #[arg(long, env = "PACEGATE_OTLP_GRPC_LISTEN")]
    pub otlp_grpc_listen: Option<ListenAddress>,
    /// Address of OTLP over HTTP, which the main port takes too [default: 127.0.0.1:4318]
    #[arg(long, env = "PACEGATE_OTLP_HTTP_LISTEN")]
    pub otlp_http_listen: Option<ListenAddress>,
    /// Address of Zipkin, versions 1 and 2 [default: 127.0.0.1:9411]
    #[arg(long, env = "PACEGATE_ZIPKIN_LISTEN")]
    pub zipkin_listen: Option<ListenAddress>,
    /// Address of Jaeger's thrift over HTTP [default: 127.0.0.1:14268]
    #[arg(long, env = "PACEGATE_JAEGER_HTTP_LISTEN")]
    pub jaeger_http_listen: Option<ListenAddress>,
    /// Address of Jaeger's gRPC [default: 127.0.0.1:14250]
    #[arg(long, env = "PACEGATE_JAEGER_GRPC_LISTEN")]
    pub jaeger_grpc_listen: Option<ListenAddress>,
    /// Address of Jaeger's compact thrift over UDP, usually 127.0.0.1:6831 [default: off]
    #[arg(long, env = "PACEGATE_JAEGER_UDP_COMPACT_LISTEN")]
    pub jaeger_udp_compact_listen: Option<ListenAddress>,
    /// Address of Jaeger's binary thrift over UDP, usually 127.0.0.1:6832 [default: off]
    #[arg(long, env = "PACEGATE_JAEGER_UDP_BINARY_LISTEN")]
    pub jaeger_udp_binary_listen: Option<ListenAddress>,
    /// Repository of spans that come over UDP (OWNER/NAME) [default: that of --default-repo]
    #[arg(long, env = "PACEGATE_JAEGER_UDP_REPO")]
    pub jaeger_udp_repo: Option<RepoName>,
}

impl PortArgs {
    /// Every port closed.
    #[must_use]
    pub fn closed() -> Self {
        let off = || Some(ListenAddress::Off);
        Self {
            otlp_grpc_listen: off(),
            otlp_http_listen: off(),
            zipkin_listen: off(),
            jaeger_http_listen: off(),
            jaeger_grpc_listen: off(),
            jaeger_udp_compact_listen: off(),
            jaeger_udp_binary_listen: off(),
            jaeger_udp_repo: None,
        }
    }
}

/// How much may be pushed.
#[derive(Debug, Clone, Default, Args)]
pub struct AdmissionArgs {
    /// Resident memory at which pushes are asked to come again, such as 512MiB
    /// [default: three quarters of the container's or machine's, at most 2GiB]
    #[arg(long, env = "PACEGATE_MEMORY_LIMIT", value_parser = byte_size::parse)]
    pub memory_limit: Option<u64>,
    /// What one token may push in a second; 0: no limit
    #[arg(long, env = "PACEGATE_TOKEN_RATE", default_value = "64MiB", value_parser = byte_size::parse)]
    pub token_rate: u64,
    /// What one token may push at once above its rate
    #[arg(long, env = "PACEGATE_TOKEN_BURST", default_value = "1GiB", value_parser = byte_size::parse)]
    pub token_burst: u64,
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
    /// Address of the main port: the webhook, OTLP over HTTP, the pages and the API
    #[arg(long, env = "PACEGATE_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: String,
    /// Repository of spans that come without a token from this machine (OWNER/NAME)
    #[arg(long, env = "PACEGATE_DEFAULT_REPO")]
    pub default_repo: Option<RepoName>,
    /// Where accepted spans also go: an endpoint for OTLP over HTTP
    #[arg(long, env = "PACEGATE_FORWARD_URL")]
    pub forward_url: Option<String>,
    /// Headers for it: `name=value,name=value`
    #[arg(long, env = "PACEGATE_FORWARD_HEADERS", hide_env_values = true)]
    pub forward_headers: Option<SecretString>,
    /// Which pages anybody may read [default: all in local mode, public with an App]
    #[arg(long, env = "PACEGATE_PAGES")]
    pub pages: Option<PageAccess>,
    /// Offer no page that makes the GitHub App: local mode is wanted
    #[arg(long, env = "PACEGATE_NO_SETUP")]
    pub no_setup: bool,
    /// The ports that spans come to.
    #[command(flatten)]
    pub ports: PortArgs,
    /// How much may be pushed.
    #[command(flatten)]
    pub admission: AdmissionArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_address_has_a_scheme() {
        for good in ["https://pg.example.com", "http://127.0.0.1:8080/", " https://pg.example.com/here "] {
            assert_eq!(public_url(good).as_deref(), Ok(good.trim()));
        }
        for bad in ["", "pg.example.com", "https://", "ftp://pg.example.com", "//pg.example.com"] {
            assert!(public_url(bad).is_err_and(|sentence| sentence.contains("https://")), "{bad}");
        }
    }
}
