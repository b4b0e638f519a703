//! The service's door: webhook, spans, pages and API on one port. Handlers are thin: check who
//! asks and how much, hand bytes down, commit, answer.

mod access;
mod api;
mod error;
mod health;
mod ingest;
mod pages;
mod schema;
pub mod setup;
mod webhook;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::routing::{get, post};
use secrecy::SecretString;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

use self::ingest::commit::Committer;
use crate::config::PageAccess;
use crate::jobs::Work;
use crate::model::ids::{RepoId, RepoName};

/// Requests with spans that are held in memory at once; more are asked to come again.
const INGEST_AT_ONCE: usize = 16;
/// Of those, as many for one repository.
const INGEST_SHARE: usize = 6;
/// Of those, bodies that are decoded at once.
const DECODE_AT_ONCE: usize = 2;

/// Large deliveries that are held in memory at once; further ones wait.
const WEBHOOKS_AT_ONCE: usize = 8;

/// What every handler may use. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AppState {
    /// Database, clock, chance, counters.
    pub work: Work,
    /// Secrets that sign deliveries; empty in local mode.
    pub webhook_secrets: Arc<[SecretString]>,
    /// Repository of spans that come without a token from this machine.
    pub default_repo: Option<RepoName>,
    /// Which pages anybody may read.
    pub pages: PageAccess,
    /// Makes the App; none when there is one, or none is wanted.
    pub setup: Option<Arc<setup::Setup>>,
    /// Whether somebody configured the public address, or it is just where we listen.
    pub public_url_is_chosen: bool,
    committer: Committer,
    ingest_slots: Arc<Semaphore>,
    decode_slots: Arc<Semaphore>,
    webhook_slots: Arc<Semaphore>,
    shares: Arc<Mutex<HashMap<RepoId, Arc<Semaphore>>>>,
}

impl AppState {
    /// The state of one process.
    #[must_use]
    pub fn new(
        work: Work,
        webhook_secrets: Vec<SecretString>,
        default_repo: Option<RepoName>,
        pages: PageAccess,
    ) -> Self {
        Self {
            committer: Committer::new(work.clone()),
            work,
            webhook_secrets: webhook_secrets.into(),
            default_repo,
            pages,
            setup: None,
            public_url_is_chosen: true,
            ingest_slots: Arc::new(Semaphore::new(INGEST_AT_ONCE)),
            decode_slots: Arc::new(Semaphore::new(DECODE_AT_ONCE)),
            webhook_slots: Arc::new(Semaphore::new(WEBHOOKS_AT_ONCE)),
            shares: Arc::default(),
        }
    }

    /// The same state of a service without an App that can be given one.
    #[must_use]
    pub fn with_setup(mut self, setup: Option<Arc<setup::Setup>>, public_url_is_chosen: bool) -> Self {
        self.setup = setup;
        self.public_url_is_chosen = public_url_is_chosen;
        self
    }

    /// A repository's share of the requests that are held in memory.
    fn share_of(&self, repo: RepoId) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.entry(repo).or_insert_with(|| Arc::new(Semaphore::new(INGEST_SHARE))).clone()
    }

    /// Whether nothing is posted: there is no App.
    #[must_use]
    pub fn local_mode(&self) -> bool {
        self.work.app.is_none()
    }
}

/// Every route.
pub fn router(state: AppState) -> Router {
    // A slow sender may take its time, but not forever. 503, because senders of spans come
    // again after it and not after a 408.
    let within = |seconds| {
        TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(seconds))
    };
    let spans = post(ingest::otlp_http::traces)
        .layer::<_, Infallible>(RequestDecompressionLayer::new().gzip(true).deflate(true))
        .layer(DefaultBodyLimit::disable()); // bounded after inflation, in the handler
    Router::new()
        .route("/v1/traces", spans)
        .route("/webhook", post(webhook::webhook))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/schema/pacegate.schema.json", get(schema::policy))
        .nest("/api/v1", api::routes())
        .merge(setup::routes())
        .merge(pages::routes())
        .fallback(pages::not_found)
        .layer(within(90))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(header_layer(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header_layer(header::REFERRER_POLICY, "same-origin"))
        .layer(header_layer(
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
        ))
        .with_state(state)
}

fn header_layer(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}
