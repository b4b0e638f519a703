//! The issuer of OIDC tokens of jobs, and the runner's address that returns such tokens. The tests
//! generate its keys, and it signs any claims, also false ones.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::keys::{self, KeyPair};
use super::views::overlay;
use crate::time::now_seconds;

/// The bearer token with which a runner requests an OIDC token.
pub(crate) const REQUEST_TOKEN: &str = "a runner's request token";

/// An issuer that listens on 127.0.0.1. Clones share the same issuer.
#[derive(Clone)]
pub(crate) struct Issuer {
    url: String,
    issued: Arc<Mutex<IssuerState>>,
}

struct IssuerState {
    /// Oldest first. The last key signs.
    published: Vec<(String, KeyPair)>,
    jwks_fetches: usize,
    down: bool,
    tokens: usize,
    of_runner: Value,
}

/// The query of a runner's token request.
#[derive(Deserialize)]
struct TokenQuery {
    audience: Option<String>,
}

impl Issuer {
    /// Listens on a free port, with one key.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let issued = IssuerState {
            published: vec![("key-1".to_owned(), keys::generate())],
            jwks_fetches: 0,
            down: false,
            tokens: 0,
            of_runner: json!({}),
        };
        let issuer = Self { url, issued: Arc::new(Mutex::new(issued)) };
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(configuration))
            .route("/.well-known/jwks", get(jwks))
            .route("/runner/token", get(of_runner))
            .with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        issuer
    }

    fn issued(&self) -> MutexGuard<'_, IssuerState> {
        self.issued.lock().expect("no panic inside")
    }

    /// The value of `PACEGATE_GITHUB_OIDC_ISSUER`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The value of a runner's `ACTIONS_ID_TOKEN_REQUEST_URL`. The caller appends `&audience=…` and
    /// sends [`REQUEST_TOKEN`] as the bearer.
    pub(crate) fn request_url(&self) -> String {
        format!("{}/runner/token?api-version=2.0", self.url)
    }

    /// Sets claims that replace those of [`Self::good_claims`] in tokens for the runner from now
    /// on.
    pub(crate) fn runner_claims(&self, claims: Value) {
        self.issued().of_runner = claims;
    }

    /// Adds a new signing key. The keys before it stay published.
    pub(crate) fn rotate(&self) {
        let mut issued = self.issued();
        let kid = format!("key-{}", issued.published.len() + 1);
        issued.published.push((kid, keys::generate()));
    }

    /// Makes every request end with an error while `down` is true.
    pub(crate) fn set_down(&self, down: bool) {
        self.issued().down = down;
    }

    pub(crate) fn jwks_fetches(&self) -> usize {
        self.issued().jwks_fetches
    }

    /// The public half of the signing key in PEM.
    pub(crate) fn public_pem(&self) -> String {
        self.issued().published.last().expect("a key").1.public_pem.clone()
    }

    /// The claims of a token of a job of `acme/my-app`: run 5001, attempt 1, job 6001, on pull
    /// request 7.
    pub(crate) fn good_claims(&self, audience: &str) -> Value {
        let mut issued = self.issued();
        issued.tokens += 1;
        let now = now_seconds();
        json!({
            "jti": format!("00000000-0000-4000-8000-{:012}", issued.tokens), "iss": self.url, "aud": audience,
            "sub": "repo:acme/my-app:pull_request", "iat": now, "nbf": now - 600, "exp": now + 900,
            "repository": "acme/my-app", "repository_id": "1296269", "repository_owner": "acme",
            "repository_owner_id": "4242", "repository_visibility": "private", "run_id": "5001",
            "run_number": "12", "run_attempt": "1", "check_run_id": "6001", "event_name": "pull_request",
            "ref": "refs/pull/7/merge", "ref_type": "branch", "head_ref": "change-7", "base_ref": "main",
            "sha": crate::webhooks::sha("a merge of seven"), "actor": "octocat", "actor_id": "583231",
            "workflow": "CI", "runner_environment": "github-hosted",
            "job_workflow_ref": "acme/my-app/.github/workflows/ci.yml@refs/pull/7/merge",
        })
    }

    /// A token with the claims of [`Self::good_claims`], replaced by these. A null removes a claim.
    pub(crate) fn mint(&self, audience: &str, claims: Value) -> String {
        let claims = overlay(self.good_claims(audience), claims);
        let issued = self.issued();
        let (kid, pair) = issued.published.last().expect("a key");
        signed(kid, pair, claims)
    }
}

/// A token with these claims, signed with any key and any key id.
pub(crate) fn signed(kid: &str, pair: &KeyPair, mut claims: Value) -> String {
    claims.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::RS256) };
    jsonwebtoken::encode(&header, &claims, &key_of(pair)).expect("a JWT")
}

fn key_of(pair: &KeyPair) -> EncodingKey {
    EncodingKey::from_rsa_pem(pair.private_pem.as_bytes()).expect("a key")
}

async fn configuration(State(issuer): State<Issuer>) -> Response {
    if issuer.issued().down {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let url = issuer.url();
    Json(json!({
        "issuer": url, "jwks_uri": format!("{url}/.well-known/jwks"), "response_types_supported": ["id_token"],
        "id_token_signing_alg_values_supported": ["RS256"], "subject_types_supported": ["public", "pairwise"],
    }))
    .into_response()
}

async fn jwks(State(issuer): State<Issuer>) -> Response {
    let mut issued = issuer.issued();
    issued.jwks_fetches += 1;
    if issued.down {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let published = issued.published.iter().map(|(kid, pair)| {
        let key = Jwk::from_encoding_key(&key_of(pair), Algorithm::RS256).expect("a public key");
        overlay(serde_json::to_value(key).expect("JSON"), json!({ "kid": kid, "use": "sig" }))
    });
    Json(json!({ "keys": published.collect::<Vec<_>>() })).into_response()
}

async fn of_runner(
    State(issuer): State<Issuer>,
    Query(asked): Query<TokenQuery>,
    headers: HeaderMap,
) -> Response {
    let sent = headers.get("authorization").and_then(|value| value.to_str().ok());
    if sent != Some(&format!("Bearer {REQUEST_TOKEN}")) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let claims = issuer.issued().of_runner.clone();
    let audience = asked.audience.unwrap_or_else(|| "https://github.com/acme".to_owned());
    let token = issuer.mint(&audience, claims);
    Json(json!({ "count": token.len(), "value": token })).into_response()
}

#[tokio::test]
async fn runner_token_verifies_with_published_keys() {
    use jsonwebtoken::{DecodingKey, Validation};

    let issuer = Issuer::start().await;
    issuer.rotate();
    issuer.runner_claims(json!({ "run_id": "77", "check_run_id": null }));
    let client = reqwest::Client::new();
    let ask =
        |bearer| client.get(format!("{}&audience=https%3A%2F%2Fx", issuer.request_url())).bearer_auth(bearer);
    assert_eq!(ask("something else").send().await.expect("an answer").status(), 401);
    let answer: Value = ask(REQUEST_TOKEN).send().await.expect("an answer").json().await.expect("JSON");
    let token = answer["value"].as_str().expect("a token");
    let keys = client.get(format!("{}/.well-known/jwks", issuer.url())).send().await.expect("an answer");
    let keys: jsonwebtoken::jwk::JwkSet = keys.json().await.expect("JSON");
    let key = DecodingKey::from_jwk(keys.find("key-2").expect("the newest")).expect("a key");
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&["https://x"]);
    let claims = jsonwebtoken::decode::<Value>(token, &key, &validation).expect("signed by it").claims;
    assert_eq!((&claims["run_id"], &claims["check_run_id"]), (&json!("77"), &Value::Null));
    assert_eq!((issuer.jwks_fetches(), keys.keys.len()), (1, 2));
    issuer.set_down(true);
    let down = client.get(format!("{}/.well-known/openid-configuration", issuer.url())).send().await;
    assert_eq!(down.expect("an answer").status(), 503);
}
