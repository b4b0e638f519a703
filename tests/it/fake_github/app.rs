//! The App as a whole: the page on which a person accepts its manifest, the exchange of the code
//! for the App, its webhook, its installations and their repositories.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use serde_json::{Value, json};

use super::access::verify_jwt;
use super::contract::CONTRACT;
use super::reply::Reply;
use super::routes::{Call, page};
use super::server::Shared;
use super::state::{App, State};
use super::{keys, views};
use crate::time::{now_seconds, rfc3339};

/// The webhook secret that the exchange returns.
pub(crate) const WEBHOOK_SECRET: &str = "a secret GitHub made";

/// The organization that is to own the App (empty for a person), if the request is for the manifest
/// page. This page is not part of the API.
pub(crate) fn is_page(request: &Request) -> Option<String> {
    let path = request.uri().path();
    let owner = path.strip_suffix("/settings/apps/new")?;
    Some(owner.strip_prefix("/organizations/").unwrap_or_default().to_owned())
}

/// Accepts at once: redirects the browser back with a code.
pub(crate) async fn agree(shared: &Shared, owner: String, request: Request) -> Response {
    let state_text = query(request.uri().query().unwrap_or_default(), "state").unwrap_or_default();
    let body = to_bytes(request.into_body(), 64 << 10).await.unwrap_or_default();
    let manifest = query(&String::from_utf8_lossy(&body), "manifest").expect("the form has a manifest");
    let mut manifest: Value = serde_json::from_str(&manifest).expect("the manifest is JSON");
    for needed in ["name", "url", "redirect_url", "hook_attributes", "default_permissions", "default_events"]
    {
        assert!(!manifest[needed].is_null(), "the manifest has no {needed}");
    }
    manifest["owner"] = json!(owner);
    let mut state = shared.state.lock().expect("no panic inside");
    let code = format!("code{}", state.next_id());
    let back = format!("{}?code={code}&state={state_text}", manifest["redirect_url"].as_str().expect("text"));
    state.manifests.insert(code, manifest);
    Response::builder().status(302).header("location", back).body(Body::empty()).expect("a response")
}

fn query(text: &str, name: &str) -> Option<String> {
    let url = reqwest::Url::parse(&format!("http://fake/?{text}")).ok()?;
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Exchanges a code for the App. Each code works once.
pub(crate) fn create(state: &mut State, call: &Call) -> Result<Reply, Reply> {
    let manifest = state.manifests.remove(call.variable("code")).ok_or_else(Reply::not_found)?;
    let slug = manifest["name"].as_str().expect("a name").to_lowercase().replace(' ', "-");
    let mut app = App::new(4711, &slug);
    app.permissions = serde_json::from_value(manifest["default_permissions"].clone()).expect("permissions");
    app.events = serde_json::from_value(manifest["default_events"].clone()).expect("events");
    app.hook_url = manifest["hook_attributes"]["url"].as_str().map(str::to_owned).expect("an address");
    let site = call.base.trim_end_matches("/api/v3");
    let mut view = views::overlay(
        CONTRACT.example("apps/create-from-manifest", 201),
        json!({
            "id": app.id, "slug": slug, "name": manifest["name"], "events": app.events,
            "permissions": app.permissions, "html_url": format!("{site}/apps/{slug}"),
            "pem": keys::app().private_pem, "webhook_secret": WEBHOOK_SECRET,
        }),
    );
    view["owner"]["login"] = manifest["owner"].clone();
    state.app = Some(app);
    Ok(Reply::new(201, view))
}

pub(crate) fn webhook_config(state: &State, call: &Call) -> Result<Reply, Reply> {
    let app = verify_jwt(state, call.bearer)?;
    let url = json!({ "url": app.hook_url });
    Ok(Reply::ok(views::overlay(CONTRACT.example("apps/get-webhook-config-for-app", 200), url)))
}

/// The App's failed deliveries, and an old failed delivery.
pub(crate) fn deliveries(state: &State, call: &Call) -> Result<Reply, Reply> {
    let app = verify_jwt(state, call.bearer)?;
    let example = CONTRACT.example("apps/list-webhook-deliveries", 200)[0].take();
    let delivered = |ago: i64| {
        let at = rfc3339(now_seconds() - ago);
        let over = json!({ "delivered_at": at, "status": "Service Unavailable", "status_code": 503 });
        views::overlay(example.clone(), over)
    };
    let mut found: Vec<Value> = (0..app.failed_deliveries).map(|_| delivered(3_600)).collect();
    found.push(delivered(2 * 86_400));
    let size = call.parameter("per_page").and_then(|size| size.parse().ok()).unwrap_or(30);
    found.truncate(size);
    Ok(Reply::ok(Value::Array(found)))
}

pub(crate) fn installations(state: &State, call: &Call) -> Result<Reply, Reply> {
    let app = verify_jwt(state, call.bearer)?;
    let view = |installation| views::installation("apps/get-installation", app, installation);
    let found = state.installations.iter().map(view).collect();
    Ok(page(call, found, |items, _| Value::Array(items)))
}

/// The repositories in reach of a token.
pub(crate) fn repositories(state: &State, call: &Call) -> Result<Reply, Reply> {
    const ID: &str = "apps/list-repos-accessible-to-installation";
    let token = call
        .bearer
        .and_then(|text| state.live_token(text))
        .ok_or_else(|| Reply::refusal(401, "Bad credentials"))?;
    let example = CONTRACT.example(ID, 200)["repositories"][0].take();
    let seen = state.repositories.iter().filter(|r| token.repositories.contains(&r.id));
    let seen = seen.map(|r| {
        let over = json!({ "id": r.id, "name": r.name, "full_name": r.full_name(), "private": r.private });
        views::overlay(example.clone(), over)
    });
    let body = |items: Vec<Value>, total: usize| json!({ "total_count": total, "repositories": items });
    Ok(page(call, seen.collect(), body))
}
