//! `pacegate serve`: starts and stops the service. Handles no request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::credentials::{Credentials, app_file, credentials};
use super::ports::{Addresses, OpenPorts};
use super::{CliError, database};
use crate::config::{GitHubArgs, PageAccess, StoreArgs, WebArgs, WorkArgs};
use crate::metrics::Metrics;
use crate::tasks::queue::rate_limiter::{DatabaseRateLimiter, WriteLimits};
use crate::tasks::{COLLECTING_MIB, TraceSettings, WorkerContext, run_tasks};
use crate::web::forward::{ForwardTarget, Forwarder, Forwarding};
use crate::web::setup::Setup;
use crate::web::{AdmissionLimits, AppState, default_memory_limit, listen, router};
use pacegate_clock::{Clock, Randomness};
use pacegate_github::oidc::{self, Verifier};
use pacegate_ingest::redact::Redactor;
use pacegate_ingest::sampling::Sampling;
use pacegate_store::traces::TraceStore;
use pacegate_store::{DatabaseUrl, Db};

/// Timeout for the keys of an OIDC issuer: a CI job waits for them.
const ISSUER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long requests in flight may take after a stop.
const GRACE: Duration = Duration::from_secs(10);

/// Arguments of `serve`.
#[derive(Debug, Clone, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub github: GitHubArgs,
    #[command(flatten)]
    pub work: WorkArgs,
    #[command(flatten)]
    pub web: WebArgs,
    /// Serve only: `pacegate worker` processes run the background tasks
    #[arg(long, env = "PACEGATE_NO_WORKER")]
    pub no_worker: bool,
}

/// `pacegate serve`.
pub(super) async fn serve(args: ServeArgs) -> Result<(), CliError> {
    let mut args = args;
    let rng = Randomness::from_system();
    // One listener for all starts, so that no signal between two starts is lost.
    let mut stopped = std::pin::pin!(stop_signal());
    loop {
        let service = Service::start(args.clone(), Clock::system(), rng.clone()).await?;
        tokio::select! {
            signal = &mut stopped => {
                signal?;
                tracing::info!("stopping: requests and background tasks in flight are finished first");
                service.stop().await;
                tracing::info!("stopped");
                return Ok(());
            }
            () = service.app_made.cancelled() => {
                tracing::info!("restarting with the new App");
                args.web.listen = service.address.to_string();
                service.stop().await;
            }
        }
    }
}

/// Opens the store, brings its tables up to date and prepares the App.
pub(super) async fn open_context(
    store: &StoreArgs,
    work: &WorkArgs,
    credentials: Option<&Credentials>,
    clock: Clock,
    rng: Randomness,
) -> Result<WorkerContext, CliError> {
    let db = Db::connect(&database(store)?, u32::from(work.jobs) + 8).await?;
    db.migrate().await?;
    let app = credentials.map(|credentials| {
        let limits = WriteLimits {
            spacing: work.github_write_spacing,
            an_hour: work.github_writes_per_hour,
            call_timeout: credentials.app.call_timeout(),
        };
        let gate = DatabaseRateLimiter::new(db.clone(), clock.clone(), rng.clone(), limits);
        credentials.app.clone().with_rate_limiter(Arc::new(gate))
    });
    Ok(WorkerContext {
        db,
        traces: TraceStore::open(&store.traces_url)?,
        trace_settings: trace_settings(work)?,
        app,
        clock,
        rng,
        metrics: Metrics::default(),
        settle: work.settle,
        check_timeout: work.check_timeout,
        grace: work.grace,
        collecting: Arc::new(tokio::sync::Semaphore::new(COLLECTING_MIB as usize)),
        lease: work.job_lease.max(Duration::from_secs(1)),
        reconcile_interval: work.reconcile_interval,
        base_branch: work.base_branch.clone(),
        public_url: work.public_url.clone().or_else(|| credentials.and_then(|c| c.public_url.clone())),
    })
}

fn trace_settings(work: &WorkArgs) -> Result<TraceSettings, CliError> {
    let redactor = Redactor::new(&work.redact_keys, &work.redact_allow);
    let redactor = redactor
        .map_err(|e| CliError::Input(format!("PACEGATE_REDACT_KEYS or PACEGATE_REDACT_ALLOW: {e}")))?;
    let sampling = match &work.retention {
        None => Sampling::default(),
        Some(path) => {
            let wrong = |e: &dyn std::error::Error| {
                CliError::Input(format!("PACEGATE_RETENTION, {}: {e}", path.display()))
            };
            let text = std::fs::read_to_string(path).map_err(|e| wrong(&e))?;
            Sampling::from_yaml(&text).map_err(|e| wrong(&e))?
        }
    };
    Ok(TraceSettings {
        redactor,
        sampling: Arc::new(sampling),
        full_retention: work.traces_full,
        link: work.trace_link.clone(),
    })
}

/// A running service.
pub(super) struct Service {
    /// Of the main port.
    pub address: SocketAddr,
    pub context: WorkerContext,
    /// Cancelled when `/setup` made an App. The service has to restart to use it.
    pub app_made: CancellationToken,
    stop: CancellationToken,
    listeners: JoinSet<()>,
    forwarding: Option<Forwarding>,
    workers: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts a service. It answers requests once this returns.
    pub(super) async fn start(args: ServeArgs, clock: Clock, rng: Randomness) -> Result<Self, CliError> {
        let database = database(&args.store)?;
        let credentials = credentials(&args.github, &database, &clock)?;
        let mut context = open_context(&args.store, &args.work, credentials.as_ref(), clock, rng).await?;
        let failed = |source| CliError::Listen {
            variable: "PACEGATE_LISTEN",
            address: args.web.listen.clone(),
            source,
        };
        let listener = TcpListener::bind(&args.web.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let ports = OpenPorts::open(&args.web.ports, args.web.default_repo.as_ref()).await?;
        let public_url_is_configured = context.public_url.is_some();
        // In local mode the readers of the report are usually on this machine.
        if context.app.is_none() && context.public_url.is_none() {
            context.public_url = Some(format!("http://{address}"));
        }
        let local_mode = context.app.is_none();
        let pages = args.web.pages.unwrap_or(if local_mode { PageAccess::All } else { PageAccess::Public });
        let secrets = credentials.map(|c| c.webhook_secrets).unwrap_or_default();
        let setup = (local_mode && !args.web.no_setup)
            .then(|| offer_setup(&args.github, &database, &context))
            .flatten()
            .map(Arc::new);
        let app_made = setup.as_ref().map(|setup| setup.made.clone()).unwrap_or_default();
        let oidc = if local_mode { None } else { Some(verifier(&args.github, context.clock.clone())?) };
        let admission = &args.web.admission;
        let limits = AdmissionLimits {
            memory: admission.memory_limit.unwrap_or_else(default_memory_limit),
            token_rate: admission.token_rate,
            token_burst: admission.token_burst,
        };
        let state = AppState::new(context.clone(), secrets, args.web.default_repo.clone(), pages, limits)
            .with_setup(setup, public_url_is_configured);
        let (forwarder, forwarding) = forward(&args.web, &context)?.unzip();
        let state = state.with_forwarder(forwarder).with_oidc(oidc);
        let stop = CancellationToken::new();
        let span_ports = ports.addresses();
        let mut listeners = JoinSet::new();
        listeners.spawn(listen::serve(listener, router(state.clone()), stop.clone()));
        ports.serve(&state, &stop, &mut listeners);
        let workers = (!args.no_worker)
            .then(|| tokio::spawn(run_tasks(context.clone(), usize::from(args.work.jobs), stop.clone())));
        let mode = if local_mode { "local" } else { "app" };
        log_listening(address, context.db.kind(), mode, !args.no_worker, &span_ports);
        Ok(Self { address, context, app_made, stop, listeners, forwarding, workers })
    }

    /// Refuses new requests, answers those in flight and lets running background tasks end.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        let all = async { while self.listeners.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, all).await.is_err() {
            tracing::warn!("requests still run at the end of the grace time and are cut off");
            self.listeners.shutdown().await;
        }
        // After the last request, which may still forward spans.
        if let Some(forwarding) = self.forwarding {
            forwarding.stop().await;
        }
        if let Some(workers) = self.workers {
            // The workers have a grace time of their own.
            let _ended = workers.await;
        }
        self.context.db.close().await;
    }
}

/// The address of each port, for operators.
fn log_listening(address: SocketAddr, database: &str, mode: &str, workers: bool, ports: &Addresses) {
    tracing::info!(
        address = %address,
        database,
        mode,
        workers,
        otlp_grpc = ports.named("otlp_grpc"),
        otlp_http = ports.named("otlp_http"),
        zipkin = ports.named("zipkin"),
        jaeger_http = ports.named("jaeger_http"),
        jaeger_grpc = ports.named("jaeger_grpc"),
        jaeger_udp_compact = ports.named("jaeger_udp_compact"),
        jaeger_udp_binary = ports.named("jaeger_udp_binary"),
        "listening"
    );
}

/// Verifies the OIDC tokens of CI jobs. Without a configured issuer it is that of the configured GitHub.
pub(super) fn verifier(args: &GitHubArgs, clock: Clock) -> Result<Verifier, CliError> {
    let issuer = args.github_oidc_issuer.clone().unwrap_or_else(|| oidc::issuer_of(&args.github_api_url));
    Verifier::new(&issuer, args.github_timeout.min(ISSUER_TIMEOUT), clock)
        .map_err(|e| CliError::Input(e.to_string()))
}

/// Starts forwarding, if an endpoint is configured.
fn forward(args: &WebArgs, context: &WorkerContext) -> Result<Option<(Forwarder, Forwarding)>, CliError> {
    let Some(url) = &args.forward_url else { return Ok(None) };
    let target = ForwardTarget::new(url, args.forward_headers.as_ref()).map_err(CliError::Input)?;
    tracing::info!(host = target.url.host_str(), "accepted spans are forwarded");
    let started = Forwarder::start(target, context.metrics.clone());
    started.map(Some).map_err(|e| CliError::Input(format!("PACEGATE_FORWARD_URL: TLS can't be set up: {e}")))
}

/// Offers the page that creates the App, and logs its address. Only operators read the log.
fn offer_setup(args: &GitHubArgs, database: &DatabaseUrl, context: &WorkerContext) -> Option<Setup> {
    let Some(file) = app_file(args, database) else {
        tracing::info!(
            "no GitHub App is configured: set PACEGATE_APP_FILE to a file where /setup can save one"
        );
        return None;
    };
    let setup = Setup::new(args.github_api_url.clone(), args.github_timeout, file, &context.rng);
    let address = context.public_url.as_deref().unwrap_or_default().trim_end_matches('/');
    tracing::info!(
        open = format!("{address}/setup?code={}", setup.code.expose_secret()),
        "no GitHub App is configured, so nothing is posted; open the address to create one"
    );
    Some(setup)
}

/// Waits for SIGTERM or SIGINT.
pub(super) async fn stop_signal() -> Result<(), CliError> {
    let failed = |source| CliError::System { what: "to listen for signals", source };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::protocols::PROTOCOLS;

    #[test]
    fn log_line_names_every_protocol() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let writer = Arc::new(file.reopen().expect("the same file"));
        let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(writer).finish();
        tracing::subscriber::with_default(subscriber, || {
            log_listening(([127, 0, 0, 1], 8080).into(), "SQLite", "local", true, &Addresses::default());
        });
        let line = std::fs::read_to_string(file.path()).expect("a log");
        let line: serde_json::Value = serde_json::from_str(&line).expect("one JSON object");
        for protocol in PROTOCOLS {
            assert_eq!(line[protocol.name], "off", "{}: {line}", protocol.name);
        }
    }
}
