//! `/setup`: makes the GitHub App by GitHub's manifest flow. It is there only while no App is
//! configured, and only for who knows the one-time code of the log: requests that come through
//! a proxy on this machine look local too, so an address proves nothing.

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

pub use self::pending::Setup;

use self::address::{address_asked, is_account, is_local, origin_of, public_address};
use self::pending::{Pending, STATE_LIFETIME, digest};
use super::AppState;
use super::error::{PageError, WebError};
use pacegate_github::registration::{self, Choices, Manifest, RegisteredApp, is_code, web_url, webhook_url};
use pacegate_report::page::{AppGrant, CreatedApp, SetupDonePage, SetupManifestPage, SetupPage, Site};
use pacegate_store::app_file::{AppFile, probe};

/// The form is a few hundred bytes.
const FORM_LIMIT: usize = 16 << 10;
const COOKIE: &str = "pacegate_setup";

/// The routes; those of the making answer only while there is something to make.
pub fn routes() -> Router<AppState> {
    Router::new()
        .route("/setup", get(ask).post(show_manifest).layer(DefaultBodyLimit::max(FORM_LIMIT)))
        .route("/setup/callback", get(callback))
        .route("/setup/done", get(done))
}

fn site(state: &AppState) -> Site {
    Site { local_mode: state.local_mode() }
}

fn refused(state: &AppState, error: WebError) -> PageError {
    PageError { error, site: site(state), ask: false }
}

/// The set-up, for who knows its code.
fn opened<'a>(state: &'a AppState, code: Option<&str>) -> Result<&'a Arc<Setup>, PageError> {
    let Some(setup) = state.setup.as_ref().filter(|setup| !setup.made.is_cancelled()) else {
        return Err(refused(state, WebError::NotFound));
    };
    if code.is_some_and(|code| setup.opens(code)) {
        return Ok(setup);
    }
    Err(refused(
        state,
        WebError::Forbidden(
            "the address of this page, with its one-time code, is in the service's log: look for /setup?code=",
        ),
    ))
}

#[derive(Deserialize)]
struct Asking {
    code: Option<String>,
}

/// `GET /setup?code=…`.
async fn ask(
    State(state): State<AppState>,
    headers: HeaderMap,
    Query(asking): Query<Asking>,
) -> Result<Response, PageError> {
    let setup = opened(&state, asking.code.as_deref())?;
    let public_url = state.work.public_url.clone().filter(|_| state.public_url_is_chosen);
    let public_url = public_url.unwrap_or_else(|| address_asked(&headers));
    first_page(&state, setup, public_url, None)
}

fn first_page(
    state: &AppState,
    setup: &Setup,
    public_url: String,
    problem: Option<String>,
) -> Result<Response, PageError> {
    // Before GitHub hands over what it hands over only once.
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
    // What a page shows here is for one reader and one hour.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

#[derive(Deserialize)]
struct Answers {
    code: Option<String>,
    #[serde(default)]
    organisation: String,
    #[serde(default)]
    public_url: String,
    merge_queues: Option<String>,
    reruns: Option<String>,
}

/// `POST /setup`: the answers, for the page whose button goes to GitHub.
async fn show_manifest(
    State(state): State<AppState>,
    Form(answers): Form<Answers>,
) -> Result<Response, PageError> {
    let setup = opened(&state, answers.code.as_deref())?;
    let organisation = answers.organisation.trim();
    let Some(public_url) = public_address(&answers.public_url) else {
        let problem = "The public address has to begin with http:// or https:// and name a host, without user, query or fragment.";
        return first_page(
            &state,
            setup,
            answers.public_url.chars().take(200).collect(),
            Some(problem.into()),
        );
    };
    if !is_account(organisation) {
        let problem = "An organisation's name has letters, digits, hyphens and underscores, at most 39.";
        return first_page(&state, setup, public_url, Some(problem.into()));
    }
    let now = state.work.clock.now();
    let token = hex::encode(state.work.rng.bytes::<32>());
    setup.remember(&token, Pending { until: now.after(STATE_LIFETIME), public_url: public_url.clone() }, now);
    let choices = Choices { merge_queues: answers.merge_queues.is_some(), reruns: answers.reruns.is_some() };
    // Names of Apps are unique on their GitHub; whoever creates it can write another.
    let name = match organisation {
        "" => format!("Pacegate {}", hex::encode(state.work.rng.bytes::<2>())),
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
            "GitHub can't reach an address of this machine alone: its deliveries need a public address or a tunnel."
                .to_owned()
        }),
    };
    let mut response = answer(&state, page.render(), &origin_of(&github))?;
    // Lax: GitHub's redirect is a navigation from another site and has to bring it.
    let secure = if public_url.starts_with("https://") { "; Secure" } else { "" };
    let cookie = format!(
        "{COOKIE}={token}; Path=/setup; Max-Age={}; HttpOnly; SameSite=Lax{secure}",
        STATE_LIFETIME.as_secs()
    );
    let cookie =
        HeaderValue::from_str(&cookie).map_err(|error| refused(&state, WebError::Internal(error.into())))?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    // A form to another site says `Origin: null` under the pages' usual policy; this page's own
    // address holds nothing secret.
    let policy = (HeaderName::from_static("referrer-policy"), HeaderValue::from_static("strict-origin"));
    response.headers_mut().insert(policy.0, policy.1);
    Ok(response)
}

#[derive(Deserialize)]
struct Returned {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
}

/// `GET /setup/callback?code=…&state=…`: where GitHub sends the browser back.
async fn callback(
    State(state): State<AppState>,
    headers: HeaderMap,
    Query(returned): Query<Returned>,
) -> Result<Response, PageError> {
    let Some(setup) = state.setup.as_ref().filter(|setup| !setup.made.is_cancelled()) else {
        return Err(refused(&state, WebError::NotFound));
    };
    let now = state.work.clock.now();
    let is_own = cookie_of(&headers).is_some_and(|cookie| digest(cookie) == digest(&returned.state));
    let pending = is_own.then(|| setup.take(&returned.state, now)).flatten();
    let (Some(pending), true) = (pending, is_code(&returned.code)) else {
        return Err(refused(
            &state,
            WebError::Forbidden(
                "this answer of GitHub's was not asked for by this browser within the last hour; begin again at the address in the service's log",
            ),
        ));
    };
    let made =
        registration::exchange(&returned.code, &setup.api_url, setup.timeout, state.work.clock.clone());
    let app = match made.await {
        Ok(app) => app,
        Err(error) => {
            // GitHub did not take the code: the same address may be opened again.
            setup.remember(&returned.state, pending, now);
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
        // A manifest with a webhook has a secret; without one nothing could be trusted.
        webhook_secret: app.webhook_secret.ok_or_else(|| {
            refused(
                state,
                WebError::BadRequest(
                    "GitHub made the App without a webhook secret; delete it and begin again".into(),
                ),
            )
        })?,
        client_id: app.client_id,
        client_secret: app.client_secret,
    };
    file.save(&setup.file).map_err(|error| refused(state, error.into()))?;
    tracing::info!(app = file.slug, id = file.id, file = %setup.file.display(), "the App was made; its secrets are kept");
    let github = web_url(&setup.api_url);
    // Only addresses on the GitHub we asked are offered, whatever an answer says.
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

/// `GET /setup/done`: where GitHub sends people after they installed the App. What its query
/// says is anybody's word and is not read.
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
