//! `/setup`: creates the GitHub App by GitHub's manifest flow. It exists only while no App is
//! configured, and needs the one-time code from the log. The peer's address proves nothing,
//! because requests through a proxy on this machine look local too.

mod address;
mod pending;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Form, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use secrecy::ExposeSecret;
use serde::Deserialize;

pub(crate) use self::pending::Setup;

use self::address::{address_of_request, is_account, is_local, origin_of, public_address};
use self::pending::{Pending, STATE_LIFETIME, digest};
use super::AppState;
use super::error::{PageError, WebError};
use pacegate_github::registration::{self, Choices, Manifest, RegisteredApp, is_code, web_url, webhook_url};
use pacegate_report::page::{AppGrant, CreatedApp, SetupDonePage, SetupManifestPage, SetupPage, Site};
use pacegate_store::app_file::{AppFile, probe};

/// The form has a few hundred bytes.
const FORM_LIMIT: usize = 16 << 10;
const COOKIE: &str = "pacegate_setup";

/// Routes of the set-up. They answer 404 once an App exists, except `/setup/done`.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/setup", get(show_form).post(show_manifest).layer(DefaultBodyLimit::max(FORM_LIMIT)))
        .route("/setup/callback", get(callback))
        .route("/setup/done", get(done))
}

fn site(state: &AppState) -> Site {
    Site { local_mode: state.local_mode() }
}

fn refused(state: &AppState, error: WebError) -> PageError {
    PageError { error, site: site(state), ask: false }
}

/// The set-up, if the code is right.
fn authorized<'a>(state: &'a AppState, code: Option<&str>) -> Result<&'a Arc<Setup>, PageError> {
    let Some(setup) = state.setup.as_ref().filter(|setup| !setup.made.is_cancelled()) else {
        return Err(refused(state, WebError::NotFound));
    };
    if code.is_some_and(|code| setup.opens(code)) {
        return Ok(setup);
    }
    Err(refused(
        state,
        WebError::Forbidden(
            "this page needs the one-time code from the service's log: look for /setup?code=",
        ),
    ))
}

#[derive(Deserialize)]
struct CodeQuery {
    code: Option<String>,
}

/// `GET /setup?code=…`.
async fn show_form(
    State(state): State<AppState>,
    headers: HeaderMap,
    Query(query): Query<CodeQuery>,
) -> Result<Response, PageError> {
    let setup = authorized(&state, query.code.as_deref())?;
    let public_url = state.context.public_url.clone().filter(|_| state.public_url_is_configured);
    let public_url = public_url.unwrap_or_else(|| address_of_request(&headers));
    form_page(&state, setup, public_url, None)
}

fn form_page(
    state: &AppState,
    setup: &Setup,
    public_url: String,
    problem: Option<String>,
) -> Result<Response, PageError> {
    // Checked now, because GitHub returns the App's secrets only once.
    probe(&setup.file).map_err(|error| refused(state, error.into()))?;
    let page = SetupPage {
        site: site(state),
        code: setup.code.expose_secret().to_owned(),
        github: web_url(&setup.api_url),
        public_url,
        problem,
        file: setup.file.display().to_string(),
    };
    answer(state, page.render(), "'self'")
}

/// A page whose forms go to this origin only.
fn answer(
    state: &AppState,
    page: Result<String, askama::Error>,
    form_action: &str,
) -> Result<Response, PageError> {
    let html = page.map_err(|error| refused(state, WebError::Internal(error.into())))?;
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; base-uri 'none'; form-action \
         {form_action}; frame-ancestors 'none'"
    );
    let policy =
        HeaderValue::from_str(&policy).map_err(|error| refused(state, WebError::Internal(error.into())))?;
    let mut response = Html(html).into_response();
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    // The page is for one reader and valid for one hour.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

#[derive(Deserialize)]
struct SetupForm {
    code: Option<String>,
    #[serde(default)]
    organisation: String,
    #[serde(default)]
    public_url: String,
    merge_queues: Option<String>,
    reruns: Option<String>,
}

/// `POST /setup`: takes the answers and shows the page with the button to GitHub.
async fn show_manifest(
    State(state): State<AppState>,
    Form(form): Form<SetupForm>,
) -> Result<Response, PageError> {
    let setup = authorized(&state, form.code.as_deref())?;
    let organisation = form.organisation.trim();
    let Some(public_url) = public_address(&form.public_url) else {
        let problem = "The public address has to begin with http:// or https:// and name a host, without user, query or fragment.";
        return form_page(&state, setup, form.public_url.chars().take(200).collect(), Some(problem.into()));
    };
    if !is_account(organisation) {
        let problem = "An organisation's name has letters, digits, hyphens and underscores, at most 39.";
        return form_page(&state, setup, public_url, Some(problem.into()));
    }
    let now = state.context.clock.now();
    let token = hex::encode(state.context.rng.bytes::<32>());
    setup.remember(&token, Pending { until: now.after(STATE_LIFETIME), public_url: public_url.clone() }, now);
    let choices = Choices { merge_queues: form.merge_queues.is_some(), reruns: form.reruns.is_some() };
    // Names of Apps are unique on a GitHub. The operator can change this one on GitHub's page.
    let name = match organisation {
        "" => format!("Pacegate {}", hex::encode(state.context.rng.bytes::<2>())),
        organisation => format!("Pacegate {organisation}"),
    };
    let manifest = Manifest::new(&name, &public_url, choices);
    let github = web_url(&setup.api_url);
    let page = SetupManifestPage {
        site: site(&state),
        action: match organisation {
            "" => format!("{github}/settings/apps/new?state={token}"),
            organisation => format!("{github}/organizations/{organisation}/settings/apps/new?state={token}"),
        },
        manifest: serde_json::to_string(&manifest)
            .map_err(|error| refused(&state, WebError::Internal(error.into())))?,
        organisation: Some(organisation.to_owned()).filter(|name| !name.is_empty()),
        permissions: choices
            .permissions()
            .iter()
            .map(|p| AppGrant { name: format!("{}: {}", p.name, p.level), why: p.why.to_owned() })
            .collect(),
        events: choices.events().join(", "),
        webhook: webhook_url(&public_url),
        warning: is_local(&public_url).then(|| {
            "GitHub can't reach this local address: its deliveries need a public address or a tunnel."
                .to_owned()
        }),
    };
    let mut response = answer(&state, page.render(), &origin_of(&github))?;
    // Lax, because GitHub's redirect is a navigation from another site and has to send the cookie.
    let secure = if public_url.starts_with("https://") { "; Secure" } else { "" };
    let cookie = format!(
        "{COOKIE}={token}; Path=/setup; Max-Age={}; HttpOnly; SameSite=Lax{secure}",
        STATE_LIFETIME.as_secs()
    );
    let cookie =
        HeaderValue::from_str(&cookie).map_err(|error| refused(&state, WebError::Internal(error.into())))?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    // Under the usual policy a form to another site sends `Origin: null`. This page's address holds
    // no secret.
    let policy = (HeaderName::from_static("referrer-policy"), HeaderValue::from_static("strict-origin"));
    response.headers_mut().insert(policy.0, policy.1);
    Ok(response)
}

#[derive(Deserialize)]
struct CallbackQuery {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
}

/// `GET /setup/callback?code=…&state=…`: GitHub redirects the browser here.
async fn callback(
    State(state): State<AppState>,
    headers: HeaderMap,
    Query(query): Query<CallbackQuery>,
) -> Result<Response, PageError> {
    let Some(setup) = state.setup.as_ref().filter(|setup| !setup.made.is_cancelled()) else {
        return Err(refused(&state, WebError::NotFound));
    };
    let now = state.context.clock.now();
    let is_own = cookie_of(&headers).is_some_and(|cookie| digest(cookie) == digest(&query.state));
    let pending = is_own.then(|| setup.take(&query.state, now)).flatten();
    let (Some(pending), true) = (pending, is_code(&query.code)) else {
        return Err(refused(
            &state,
            WebError::Forbidden(
                "this browser did not start a set-up within the last hour; begin again at the address in the service's log",
            ),
        ));
    };
    let made =
        registration::exchange(&query.code, &setup.api_url, setup.timeout, state.context.clock.clone());
    let app = match made.await {
        Ok(app) => app,
        Err(error) => {
            // The exchange failed, so the same address may be opened again.
            setup.remember(&query.state, pending, now);
            return Err(refused(&state, error.into()));
        }
    };
    let page = keep(&state, setup, app, &pending)?;
    setup.made.cancel();
    answer(&state, page.render(), "'none'")
}

fn keep(
    state: &AppState,
    setup: &Setup,
    app: RegisteredApp,
    pending: &Pending,
) -> Result<SetupDonePage, PageError> {
    let file = AppFile {
        id: app.id,
        slug: app.slug,
        html_url: app.html_url,
        api_url: setup.api_url.clone(),
        public_url: pending.public_url.clone(),
        private_key: app.pem,
        // Without a webhook secret no delivery can be verified.
        webhook_secret: app.webhook_secret.ok_or_else(|| {
            refused(
                state,
                WebError::BadRequest(
                    "GitHub created the App without a webhook secret; delete it and begin again".into(),
                ),
            )
        })?,
        client_id: app.client_id,
        client_secret: app.client_secret,
    };
    file.save(&setup.file).map_err(|error| refused(state, error.into()))?;
    tracing::info!(app = file.slug, id = file.id, file = %setup.file.display(), "the App was created and saved");
    let github = web_url(&setup.api_url);
    // Links lead only to the configured GitHub, even if its answer names another address.
    let page = if file.html_url.starts_with(&format!("{github}/")) {
        file.html_url.clone()
    } else {
        format!("{github}/apps/{}", file.slug)
    };
    Ok(SetupDonePage {
        site: site(state),
        created: Some(CreatedApp {
            install_href: format!("{page}/installations/new"),
            settings_href: page,
            slug: file.slug,
            id: file.id,
            file: setup.file.display().to_string(),
        }),
    })
}

/// `GET /setup/done`: GitHub sends people here after they installed the App. The query is ignored,
/// because anyone can write it.
async fn done(State(state): State<AppState>) -> Result<Response, PageError> {
    if state.local_mode() {
        return Err(refused(&state, WebError::NotFound));
    }
    let page = SetupDonePage { site: site(&state), created: None };
    answer(&state, page.render(), "'none'")
}

fn cookie_of(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}
