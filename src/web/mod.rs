//! The service's door: webhook, spans, pages and API on one port. Handlers are thin: check who
//! asks and how much, hand bytes down, commit, answer.

mod access;
mod actions;
mod api;
mod error;
pub mod forward;
mod health;
pub mod ingest;
pub mod listen;
mod pages;
mod schema;
pub mod setup;
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
pub use self::ingest::admission::{AdmissionLimits, memory_of_this_machine};
use self::ingest::commit::Committer;
use crate::config::PageAccess;
use crate::tasks::WorkerContext;
use pacegate_engine::model::ids::RepoName;
use pacegate_github::oidc::Verifier;

/// How long a request may take, from its head to the answer.
const REQUEST: Duration = Duration::from_secs(90);

/// Large deliveries that are held in memory at once; further ones wait.
const WEBHOOKS_AT_ONCE: usize = 8;

/// What every handler may use. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AppState {
    /// Database, clock, chance, counters.
    pub work: WorkerContext,
    /// Secrets that sign deliveries; empty in local mode.
    pub webhook_secrets: Arc<[SecretString]>,
    /// Repository of spans that come without a token from this machine.
    pub default_repo: Option<RepoName>,
    /// Which pages anybody may read.
    pub pages: PageAccess,
    /// Makes the App; none when there is one, or none is wanted.
    pub setup: Option<Arc<setup::Setup>>,
    /// Verifies the tokens of jobs; none without an App.
    pub oidc: Option<Arc<Verifier>>,
    /// Where accepted spans also go.
    pub forwarder: Option<forward::Forwarder>,
    /// Whether somebody configured the public address, or it is just where we listen.
    pub public_url_is_chosen: bool,
    committer: Committer,
    admission: Arc<Admission>,
    webhook_slots: Arc<Semaphore>,
}

impl AppState {
    /// The state of one process.
    #[must_use]
    pub fn new(
        work: WorkerContext,
        webhook_secrets: Vec<SecretString>,
        default_repo: Option<RepoName>,
        pages: PageAccess,
        limits: AdmissionLimits,
    ) -> Self {
        Self {
            committer: Committer::new(work.clone()),
            admission: Arc::new(Admission::new(limits, work.clock.clone())),
            work,
            webhook_secrets: webhook_secrets.into(),
            default_repo,
            pages,
            setup: None,
            oidc: None,
            forwarder: None,
            public_url_is_chosen: true,
            webhook_slots: Arc::new(Semaphore::new(WEBHOOKS_AT_ONCE)),
        }
    }

    /// The same state of a service without an App that can be given one.
    #[must_use]
    pub fn with_setup(mut self, setup: Option<Arc<setup::Setup>>, public_url_is_chosen: bool) -> Self {
        self.setup = setup;
        self.public_url_is_chosen = public_url_is_chosen;
        self
    }

    /// The same state, whose accepted spans also go elsewhere.
    #[must_use]
    pub fn with_forwarder(mut self, forwarder: Option<forward::Forwarder>) -> Self {
        self.forwarder = forwarder;
        self
    }

    /// The same state, which jobs can prove to who they are.
    #[must_use]
    pub fn with_oidc(mut self, verifier: Option<Verifier>) -> Self {
        self.oidc = verifier.map(Arc::new);
        self
    }

    /// Whether nothing is posted: there is no App.
    #[must_use]
    pub fn local_mode(&self) -> bool {
        self.work.app.is_none()
    }
}

/// Every route of the main port.
pub fn router(state: AppState) -> Router {
    let routes = Router::new()
        .route("/v1/traces", post(ingest::otlp_http::traces))
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

/// What holds on every port: a request has its time, a panic is an answer, and nobody guesses
/// what an answer is.
fn bounded(routes: Router<AppState>) -> Router<AppState> {
    // A slow sender may take its time, but not forever. 503, because senders of spans come
    // again after it and not after a 408.
    let late = TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST);
    routes
        .layer(late)
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(header_layer(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
}

fn header_layer(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}
