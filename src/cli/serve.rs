//! `pacegate serve`: the service, and the start and end of everything in it.

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
use super::ports::OpenPorts;
use super::{CliError, database};
use crate::config::{GitHubArgs, PageAccess, StoreArgs, WebArgs, WorkArgs};
use crate::metrics::Metrics;
use crate::tasks::queue::rate_limiter::{DatabaseRateLimiter, WriteLimits};
use crate::tasks::{COLLECTING_MIB, TraceSettings, WorkerContext, run_tasks};
use crate::web::forward::{ForwardTarget, Forwarder, Forwarding};
use crate::web::setup::Setup;
use crate::web::{AdmissionLimits, AppState, listen, memory_of_this_machine, router};
use pacegate_clock::{Clock, Randomness};
use pacegate_github::oidc::{self, Verifier};
use pacegate_ingest::redact::Redactor;
use pacegate_ingest::sampling::Sampling;
use pacegate_store::traces::TraceStore;
use pacegate_store::{DatabaseUrl, Db};

/// How long the keys of an issuer may take: a job waits for them.
const ISSUER_ANSWERS: Duration = Duration::from_secs(5);
/// How long requests in flight may take after the stop.
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
    /// Serve only; `pacegate worker` processes run the jobs
    #[arg(long, env = "PACEGATE_NO_WORKER")]
    pub no_worker: bool,
}

/// `pacegate serve`.
pub(super) async fn serve(args: ServeArgs) -> Result<(), CliError> {
    let mut args = args;
    let rng = Randomness::from_system();
    // Listened for once: a signal between two starts is not lost.
    let mut stopped = std::pin::pin!(stop_signal());
    loop {
        let service = Service::start(args.clone(), Clock::system(), rng.clone()).await?;
        tokio::select! {
            signal = &mut stopped => {
                signal?;
                tracing::info!("stopping: requests and jobs in flight are finished first");
                service.stop().await;
                tracing::info!("stopped");
                return Ok(());
            }
            () = service.app_made.cancelled() => {
                tracing::info!("starting again with the new App");
                args.web.listen = service.address.to_string();
                service.stop().await;
            }
        }
    }
}

/// Opens the store and brings its tables up to date.
pub(super) async fn open_work(
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
        kept_whole: work.traces_full,
        link: work.trace_link.clone(),
    })
}

/// A service that runs.
pub(super) struct Service {
    /// Where it listens.
    pub address: SocketAddr,
    /// What its jobs use.
    pub work: WorkerContext,
    /// Cancelled when `/setup` made an App: this service has to start again to use it.
    pub app_made: CancellationToken,
    stop: CancellationToken,
    doors: JoinSet<()>,
    forwarding: Option<Forwarding>,
    workers: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts a service: when this returns, it answers.
    pub(super) async fn start(args: ServeArgs, clock: Clock, rng: Randomness) -> Result<Self, CliError> {
        let database = database(&args.store)?;
        let credentials = credentials(&args.github, &database, &clock)?;
        let mut work = open_work(&args.store, &args.work, credentials.as_ref(), clock, rng).await?;
        let failed = |source| CliError::Listen {
            variable: "PACEGATE_LISTEN",
            address: args.web.listen.clone(),
            source,
        };
        let listener = TcpListener::bind(&args.web.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let ports = OpenPorts::open(&args.web.ports, args.web.default_repo.as_ref()).await?;
        let public_url_is_chosen = work.public_url.is_some();
        // In local mode whoever reads the comment sits at this machine.
        if work.app.is_none() && work.public_url.is_none() {
            work.public_url = Some(format!("http://{address}"));
        }
        let local_mode = work.app.is_none();
        let pages = args.web.pages.unwrap_or(if local_mode { PageAccess::All } else { PageAccess::Public });
        let secrets = credentials.map(|c| c.webhook_secrets).unwrap_or_default();
        let setup = (local_mode && !args.web.no_setup)
            .then(|| offer_setup(&args.github, &database, &work))
            .flatten()
            .map(Arc::new);
        let app_made = setup.as_ref().map(|setup| setup.made.clone()).unwrap_or_default();
        let oidc = if local_mode { None } else { Some(verifier(&args.github, work.clock.clone())?) };
        let admission = &args.web.admission;
        let limits = AdmissionLimits {
            memory: admission.memory_limit.unwrap_or_else(memory_of_this_machine),
            token_rate: admission.token_rate,
            token_burst: admission.token_burst,
        };
        let state = AppState::new(work.clone(), secrets, args.web.default_repo.clone(), pages, limits)
            .with_setup(setup, public_url_is_chosen);
        let (forwarder, forwarding) = forward(&args.web, &work)?.unzip();
        let state = state.with_forwarder(forwarder).with_oidc(oidc);
        let stop = CancellationToken::new();
        let spans = ports.addresses();
        let mut doors = JoinSet::new();
        doors.spawn(listen::serve(listener, router(state.clone()), stop.clone()));
        ports.serve(&state, &stop, &mut doors);
        let workers = (!args.no_worker)
            .then(|| tokio::spawn(run_tasks(work.clone(), usize::from(args.work.jobs), stop.clone())));
        tracing::info!(
            address = %address,
            database = work.db.kind(),
            mode = if local_mode { "local" } else { "app" },
            workers = !args.no_worker,
            otlp_grpc = spans.named("otlp_grpc"),
            otlp_http = spans.named("otlp_http"),
            zipkin = spans.named("zipkin"),
            jaeger_http = spans.named("jaeger_http"),
            jaeger_grpc = spans.named("jaeger_grpc"),
            jaeger_udp_compact = spans.named("jaeger_udp_compact"),
            jaeger_udp_binary = spans.named("jaeger_udp_binary"),
            "listening"
        );
        Ok(Self { address, work, app_made, stop, doors, forwarding, workers })
    }

    /// Stops: no new requests, those in flight are answered, running jobs end.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        let all = async { while self.doors.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, all).await.is_err() {
            tracing::warn!("requests still ran at the end of the grace time; they are cut off");
            self.doors.shutdown().await;
        }
        // After the last request, whose spans it may still be given.
        if let Some(forwarding) = self.forwarding {
            forwarding.stop().await;
        }
        if let Some(workers) = self.workers {
            // Bounded by its own grace time.
            let _ended = workers.await;
        }
        self.work.db.close().await;
    }
}

/// Verifies the tokens of jobs: those of the issuer that is named, or of the GitHub that is used.
pub(super) fn verifier(args: &GitHubArgs, clock: Clock) -> Result<Verifier, CliError> {
    let issuer = args.github_oidc_issuer.clone().unwrap_or_else(|| oidc::issuer_of(&args.github_api_url));
    Verifier::new(&issuer, args.github_timeout.min(ISSUER_ANSWERS), clock)
        .map_err(|e| CliError::Input(e.to_string()))
}

/// The queue to another endpoint, if one is named.
fn forward(args: &WebArgs, work: &WorkerContext) -> Result<Option<(Forwarder, Forwarding)>, CliError> {
    let Some(url) = &args.forward_url else { return Ok(None) };
    let target = ForwardTarget::new(url, args.forward_headers.as_ref()).map_err(CliError::Input)?;
    tracing::info!(host = target.url.host_str(), "accepted spans are forwarded");
    let started = Forwarder::start(target, work.metrics.clone());
    started.map(Some).map_err(|e| CliError::Input(format!("PACEGATE_FORWARD_URL: TLS can't be set up: {e}")))
}

/// The page that makes the App, and the line of the log that leads to it: whoever reads the log
/// runs the service.
fn offer_setup(args: &GitHubArgs, database: &DatabaseUrl, work: &WorkerContext) -> Option<Setup> {
    let Some(file) = app_file(args, database) else {
        tracing::info!("no GitHub App is configured: PACEGATE_APP_FILE says where /setup may keep one");
        return None;
    };
    let setup = Setup::new(args.github_api_url.clone(), args.github_timeout, file, &work.rng);
    let address = work.public_url.as_deref().unwrap_or_default().trim_end_matches('/');
    tracing::info!(
        open = format!("{address}/setup?code={}", setup.code.expose_secret()),
        "no GitHub App is configured, so nothing is posted; the address makes one"
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
