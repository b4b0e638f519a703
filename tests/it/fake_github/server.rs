//! The HTTP side. Every request is recorded, checked against GitHub's description and carried out
//! on the state. Its answer is checked against the description as well.

use std::panic::resume_unwind;
use std::sync::Mutex;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use serde_json::{Value, json};

use super::contract::CONTRACT;
use super::faults::{Armed, Fault, Side};
use super::reply::Reply;
use super::routes::{Call, respond};
use super::state::{Recorded, State};
use super::storm::Storm;
use super::views::sha_of;
use super::waits::{installation_of, is_write};
use super::{app, artifacts};
use crate::time::now_seconds;

/// GitHub accepts more, but the App's requests are far smaller.
const BODY_LIMIT: usize = 4 << 20;
/// How long an unanswered request stays open: far above any client's timeout.
const SILENCE: Duration = Duration::from_mins(2);

const TOO_FAST: &str =
    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";

/// State shared by the server and the test's handle.
pub(crate) struct Shared {
    /// Scheme, host and prefix of the API.
    pub base: String,
    /// `/api/v3` of an Enterprise Server, else empty.
    pub prefix: &'static str,
    pub state: Mutex<State>,
    pub armed: Mutex<Armed>,
    pub storm: Mutex<Option<Storm>>,
    /// The delay of every answer, for benchmarks.
    pub latency: Mutex<Duration>,
}

struct Incoming {
    method: String,
    path: String,
    target: String,
    query: Vec<(String, String)>,
    bearer: Option<String>,
    body: Option<Value>,
    has_user_agent: bool,
    /// The `ETag` of the answer that the client has already.
    if_none_match: Option<String>,
    installation: Option<u64>,
}

/// Closes the connection without an answer. It unwinds without a panic message, so hyper's task
/// ends and its socket with it.
fn hang_up() -> ! {
    resume_unwind(Box::new("the connection is dropped on purpose"))
}

/// Answers one request, unless an armed fault prevents it.
pub(crate) async fn serve(shared: &Shared, request: Request) -> Response {
    if let Some(page) = app::is_page(&request) {
        return app::agree(shared, page, request).await;
    }
    if let Some(id) = artifacts::is_blob(&request) {
        return artifacts::blob(shared, id, &request);
    }
    let incoming = read(shared, request).await;
    let latency = *shared.latency.lock().expect("no panic inside");
    tokio::time::sleep(latency).await;
    let (method, target) = (incoming.method.as_str(), incoming.target.as_str());
    let index = record(shared, &incoming);

    let fault = fault_for(shared, &incoming);
    match fault {
        Some(Fault::DropConnection) => hang_up(),
        Some(Fault::TimeoutBeforeWrite) => silence().await,
        Some(fault) if !fault.writes() => return finish(shared, index, &incoming, refusal_of(fault)),
        _ => {}
    }
    hold(shared, Side::BeforeWrite, method, target).await;
    let reply = carry_out(shared, &incoming, index);
    hold(shared, Side::AfterWrite, method, target).await;
    match fault {
        Some(Fault::DropAfterWrite) => hang_up(),
        Some(Fault::TimeoutAfterWrite) => silence().await,
        _ => finish(shared, index, &incoming, reply),
    }
}

/// The fault that a test has armed for this call, else a fault of the storm.
fn fault_for(shared: &Shared, incoming: &Incoming) -> Option<Fault> {
    let armed = shared.armed.lock().expect("no panic inside").take_fault(&incoming.method, &incoming.target);
    if armed.is_some() {
        return armed;
    }
    let mut storm = shared.storm.lock().expect("no panic inside");
    let storm = storm.as_mut()?;
    incoming.installation.and_then(|id| storm.spent(id)).or_else(|| storm.take())
}

async fn silence() -> ! {
    tokio::time::sleep(SILENCE).await;
    hang_up()
}

async fn hold(shared: &Shared, side: Side, method: &str, target: &str) {
    let hold = shared.armed.lock().expect("no panic inside").take_hold(side, method, target);
    if let Some(hold) = hold
        && !hold.wait().await
    {
        hang_up();
    }
}

async fn read(shared: &Shared, request: Request) -> Incoming {
    let (parts, body) = request.into_parts();
    // A client that dies while it sends has sent no request.
    let Ok(bytes) = to_bytes(body, BODY_LIMIT).await else { hang_up() };
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = header("authorization")
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token"))
        .map(|(_, token)| token.to_owned());
    let target = parts.uri.path_and_query().map_or("/", |t| t.as_str());
    let target = target
        .strip_prefix(shared.prefix)
        .map_or_else(|| format!("outside of {}: {target}", shared.prefix), str::to_owned);
    let url = reqwest::Url::parse(&format!("{}{target}", shared.base)).expect("a request target");
    let method = parts.method.as_str().to_owned();
    let body = if bytes.is_empty() {
        None
    } else if let Ok(value) = serde_json::from_slice(&bytes) {
        Some(value)
    } else {
        shared
            .state
            .lock()
            .expect("no panic inside")
            .violation(format!("{method} {target}: the body is not JSON"));
        None
    };
    let installation = {
        let state = shared.state.lock().expect("no panic inside");
        installation_of(&state, bearer.as_deref(), parts.uri.path())
    };
    Incoming {
        installation,
        if_none_match: header("if-none-match").map(str::to_owned),
        path: target.split('?').next().unwrap_or_default().to_owned(),
        query: url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect(),
        has_user_agent: header("user-agent").is_some_and(|agent| !agent.is_empty()),
        method,
        target,
        bearer,
        body,
    }
}

fn record(shared: &Shared, incoming: &Incoming) -> usize {
    let operation =
        CONTRACT.route(&incoming.method, &incoming.path).map(|(operation, _)| operation.id.clone());
    let mut state = shared.state.lock().expect("no panic inside");
    let installation = incoming.installation.filter(|_| is_write(&incoming.method, &incoming.path));
    if let Some(wrong) = installation.and_then(|id| state.write_during_wait(id)) {
        state.violation(format!("{} {}: {wrong}", incoming.method, incoming.target));
    }
    state.requests.push(Recorded {
        method: incoming.method.clone(),
        path: incoming.path.clone(),
        query: incoming.query.clone(),
        body: incoming.body.clone(),
        operation,
        status: None,
    });
    state.requests.len() - 1
}

fn carry_out(shared: &Shared, incoming: &Incoming, index: usize) -> Reply {
    let mut state = shared.state.lock().expect("no panic inside");
    let said = format!("{} {}", incoming.method, incoming.target);
    if !incoming.has_user_agent {
        state.violation(format!("{said}: no User-Agent, which GitHub refuses"));
        return Reply::refusal(403, "Request forbidden by administrative rules");
    }
    let Some((operation, variables)) = CONTRACT.route(&incoming.method, &incoming.path) else {
        state.violation(format!("{said}: no such route is known to this fake"));
        return Reply::not_found();
    };
    let errors = operation.request_errors(&incoming.query, incoming.body.as_ref());
    if !errors.is_empty() {
        let reply = Reply::invalid(&errors.join("; "));
        state.violations.extend(errors.into_iter().map(|error| format!("request {index}, {said}: {error}")));
        return reply;
    }
    let call = Call {
        operation: &operation.id,
        variables: &variables,
        query: &incoming.query,
        body: incoming.body.as_ref(),
        bearer: incoming.bearer.as_deref(),
        base: &shared.base,
        path: &incoming.path,
    };
    let reply = respond(&mut state, &call);
    for error in operation.response_errors(reply.status, &reply.body) {
        state.violation(format!("the fake itself is wrong: {error}"));
    }
    reply
}

fn refusal_of(fault: Fault) -> Reply {
    match fault {
        Fault::Forbidden { retry_after: None } => {
            Reply::refusal(403, "Resource not accessible by integration")
        }
        Fault::Forbidden { retry_after: Some(seconds) } => {
            Reply::refusal(403, TOO_FAST).header("retry-after", seconds.to_string())
        }
        Fault::SecondaryLimit => Reply::refusal(429, TOO_FAST),
        Fault::RateLimited { reset } => Reply::refusal(403, "API rate limit exceeded for installation.")
            .header("x-ratelimit-limit", "5000".to_owned())
            .header("x-ratelimit-remaining", "0".to_owned())
            .header("x-ratelimit-reset", reset.to_string()),
        Fault::BadGateway => Reply::new(502, json!("<html><body>Unicorn! · GitHub</body></html>")),
        Fault::Unauthorized => Reply::refusal(401, "Bad credentials"),
        Fault::TimeoutBeforeWrite
        | Fault::TimeoutAfterWrite
        | Fault::DropConnection
        | Fault::DropAfterWrite => {
            unreachable!("these have no answer")
        }
    }
}

fn finish(shared: &Shared, index: usize, incoming: &Incoming, mut reply: Reply) -> Response {
    if let (Some(storm), Some(id)) =
        (&mut *shared.storm.lock().expect("no panic inside"), incoming.installation)
        && !matches!(reply.status, 403 | 429)
    {
        let (remaining, reset) = storm.count(id);
        reply = storm.on(reply, remaining, reset);
    }
    let etag = (incoming.method == "GET" && reply.status == 200).then(|| etag_of(&reply));
    if etag.is_some() && etag == incoming.if_none_match {
        (reply.status, reply.body) = (304, Value::String(String::new()));
    }
    let mut state = shared.state.lock().expect("no panic inside");
    state.note_wait(incoming.installation, is_write(&incoming.method, &incoming.path), &reply);
    state.requests[index].status = Some(reply.status);
    drop(state);
    let (content_type, text) = match reply.body {
        Value::String(page) => ("text/html; charset=utf-8", page),
        body => ("application/json; charset=utf-8", body.to_string()),
    };
    let mut response = Response::builder()
        .status(reply.status)
        .header("content-type", content_type)
        .header("x-github-request-id", format!("FAKE:{index}"));
    if let Some(etag) = etag {
        response = response.header("etag", etag);
    }
    if !reply.headers.iter().any(|(name, _)| *name == "x-ratelimit-remaining") {
        response = response
            .header("x-ratelimit-limit", "5000")
            .header("x-ratelimit-remaining", "4999")
            .header("x-ratelimit-reset", (now_seconds() + 3600).to_string());
    }
    let offset = shared.state.lock().expect("no panic inside").clock_offset_s;
    if offset != 0 {
        response = response.header("date", http_date(now_seconds() + offset));
    }
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(text)).expect("a response")
}

/// A weak `ETag`, as GitHub's are. Equal pages have equal ones.
fn etag_of(reply: &Reply) -> String {
    let links: Vec<_> = reply.headers.iter().filter(|(name, _)| *name == "link").collect();
    format!("W/\"{}\"", sha_of(format!("{} {links:?}", reply.body).as_bytes()))
}

fn http_date(seconds: i64) -> String {
    let time = chrono::DateTime::from_timestamp(seconds, 0).expect("a time in range");
    time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
