//! The web server: webhook, spans, pages and API on the main port, and the ports of each protocol.
//! Handlers check permission and size, commit, and answer. Measuring and comparing are background tasks.

mod access;
mod actions;
mod api;
mod error;
pub(crate) mod forward;
mod health;
pub(crate) mod ingest;
pub(crate) mod listen;
mod pages;
mod schema;
pub(crate) mod setup;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::routing::{get, post};
use secrecy::SecretString;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

use self::ingest::admission::Admission;
pub(crate) use self::ingest::admission::{AdmissionLimits, default_memory_limit};
use self::ingest::commit::Committer;
use crate::config::PageAccess;
use crate::protocols::OTLP_HTTP;
use crate::tasks::WorkerContext;
use pacegate_engine::model::ids::RepoName;
use pacegate_github::oidc::Verifier;

/// How long a request may take, from its head to the answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);

/// Large deliveries in memory at the same time; further ones wait.
const LARGE_WEBHOOKS: usize = 8;

/// State for every handler. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct AppState {
    pub context: WorkerContext,
    /// Secrets that sign deliveries; empty in local mode.
    pub webhook_secrets: Arc<[SecretString]>,
    /// Repository of spans that come from this machine without a token.
    pub default_repo: Option<RepoName>,
    pub pages: PageAccess,
    /// None if an App is configured, or `--no-setup` is.
    pub setup: Option<Arc<setup::Setup>>,
    /// Verifies the OIDC tokens of CI jobs; none without an App.
    pub oidc: Option<Arc<Verifier>>,
    pub forwarder: Option<forward::Forwarder>,
    /// Whether the public address was configured, instead of taken from the listening port.
    pub public_url_is_configured: bool,
    committer: Committer,
    admission: Arc<Admission>,
    webhook_slots: Arc<Semaphore>,
}

impl AppState {
    #[must_use]
    pub(crate) fn new(
        context: WorkerContext,
        webhook_secrets: Vec<SecretString>,
        default_repo: Option<RepoName>,
        pages: PageAccess,
        limits: AdmissionLimits,
    ) -> Self {
        Self {
            committer: Committer::new(context.clone()),
            admission: Arc::new(Admission::new(limits, context.clock.clone())),
            context,
            webhook_secrets: webhook_secrets.into(),
            default_repo,
            pages,
            setup: None,
            oidc: None,
            forwarder: None,
            public_url_is_configured: true,
            webhook_slots: Arc::new(Semaphore::new(LARGE_WEBHOOKS)),
        }
    }

    /// Offers `/setup`.
    #[must_use]
    pub(crate) fn with_setup(
        mut self,
        setup: Option<Arc<setup::Setup>>,
        public_url_is_configured: bool,
    ) -> Self {
        self.setup = setup;
        self.public_url_is_configured = public_url_is_configured;
        self
    }

    /// Forwards accepted spans.
    #[must_use]
    pub(crate) fn with_forwarder(mut self, forwarder: Option<forward::Forwarder>) -> Self {
        self.forwarder = forwarder;
        self
    }

    /// Lets CI jobs authenticate with OIDC tokens.
    #[must_use]
    pub(crate) fn with_oidc(mut self, verifier: Option<Verifier>) -> Self {
        self.oidc = verifier.map(Arc::new);
        self
    }

    /// Whether no App is configured, so that nothing is posted.
    #[must_use]
    pub(crate) fn local_mode(&self) -> bool {
        self.context.app.is_none()
    }
}

/// Every route of the main port.
pub(crate) fn router(state: AppState) -> Router {
    let routes = Router::new()
        .merge(ingest::ports::routes(OTLP_HTTP))
        .route("/webhook", post(webhook::webhook))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/schema/pacegate.schema.json", get(schema::policy))
        .nest("/api/v1/actions", actions::routes())
        .nest("/api/v1", api::routes())
        .merge(setup::routes())
        .merge(pages::routes())
        .fallback(pages::not_found)
        .layer(header_layer(header::REFERRER_POLICY, "same-origin"))
        .layer(header_layer(
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
        ));
    bounded(routes).with_state(state)
}

/// Layers of every port: a timeout, an answer for a panic, and no content sniffing.
fn bounded(routes: Router<AppState>) -> Router<AppState> {
    // 503 instead of 408, because senders of spans try again only after 503.
    let timeout = TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT);
    routes
        .layer(timeout)
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(header_layer(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
}

fn header_layer(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}
