//! Webhook deliveries as GitHub sends them: real example payloads with some fields overwritten, and
//! a signature over the raw bytes.
//!
//! The examples are read from npm `@octokit/webhooks-examples`; no payload is kept here.

use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::fake_github::actions::WorkflowRun;
use crate::fake_github::state::{PullRequest, Repository};
use crate::fake_github::views::sha_of;

static EXAMPLES: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/node_modules/@octokit/webhooks-examples/api.github.com/index.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; `make test-data` installs the examples", path.display())
    });
    serde_json::from_str(&text).expect("the examples are JSON")
});

/// Every example payload of an event. Panics if there is none.
pub(crate) fn examples(event: &str) -> Vec<Value> {
    let found = EXAMPLES.iter().find(|entry| entry["name"] == event);
    found
        .and_then(|entry| entry["examples"].as_array())
        .unwrap_or_else(|| panic!("no examples of {event}"))
        .clone()
}

pub(crate) fn events() -> Vec<String> {
    EXAMPLES.iter().filter_map(|entry| entry["name"].as_str()).map(str::to_owned).collect()
}

/// The first example of an event with that action.
pub(crate) fn example(event: &str, action: &str) -> Value {
    examples(event)
        .into_iter()
        .find(|payload| payload["action"] == action)
        .unwrap_or_else(|| panic!("no example of {event} {action}"))
}

/// `opened`, `synchronize`, `closed` or `reopened`. `before` is the old head of `synchronize`.
pub(crate) fn pull_request(action: &str, repository: &Repository, pr: &PullRequest) -> Value {
    let mut payload = example("pull_request", action);
    put_repository(&mut payload["repository"], repository);
    put_installation(&mut payload, repository);
    payload["number"] = json!(pr.number);
    if action == "synchronize" {
        payload["after"] = json!(pr.head_sha);
    }
    let view = &mut payload["pull_request"];
    view["number"] = json!(pr.number);
    view["state"] = json!(if pr.open { "open" } else { "closed" });
    put_side(&mut view["base"], repository, &pr.base_ref, &pr.base_sha);
    let of_fork;
    let head_repository = if pr.head_repo == repository.full_name() {
        repository
    } else {
        of_fork = Repository::new(repository.id + 1_000_000, &pr.head_repo);
        &of_fork
    };
    put_side(&mut view["head"], head_repository, &pr.head_ref, &pr.head_sha);
    view["head"]["repo"]["fork"] = json!(pr.head_repo != repository.full_name());
    payload
}

/// `created`, `deleted`, `suspend` or `unsuspend`.
pub(crate) fn installation(action: &str, installation_id: u64, repositories: &[&Repository]) -> Value {
    let mut payload = example("installation", action);
    payload["installation"]["id"] = json!(installation_id);
    if let Some(first) = repositories.first() {
        payload["installation"]["account"]["login"] = json!(first.owner);
    }
    payload["repositories"] = brief(repositories);
    payload
}

/// `added` or `removed`.
pub(crate) fn installation_repositories(
    action: &str,
    installation_id: u64,
    repositories: &[&Repository],
) -> Value {
    let mut payload = example("installation_repositories", action);
    payload["installation"]["id"] = json!(installation_id);
    if let Some(first) = repositories.first() {
        payload["installation"]["account"]["login"] = json!(first.owner);
    }
    let (changed, same) = match action {
        "added" => ("repositories_added", "repositories_removed"),
        _ => ("repositories_removed", "repositories_added"),
    };
    payload[changed] = brief(repositories);
    payload[same] = json!([]);
    payload
}

/// `renamed`, `transferred`, `archived`, `unarchived`, `deleted`, `privatized` or `publicized`.
pub(crate) fn repository(action: &str, repository: &Repository) -> Value {
    let mut payload = example("repository", "publicized");
    put_repository(&mut payload["repository"], repository);
    put_installation(&mut payload, repository);
    payload["repository"]["archived"] = json!(repository.archived);
    payload["action"] = json!(action);
    payload
}

/// `rerequested`, for a check run of the App.
pub(crate) fn check_run_rerequested(
    repository: &Repository,
    check_run_id: u64,
    head_sha: &str,
    external_id: &str,
) -> Value {
    let mut payload = example("check_run", "rerequested");
    put_repository(&mut payload["repository"], repository);
    put_installation(&mut payload, repository);
    let check = &mut payload["check_run"];
    check["id"] = json!(check_run_id);
    check["head_sha"] = json!(head_sha);
    check["external_id"] = json!(external_id);
    check["check_suite"]["head_sha"] = json!(head_sha);
    check["pull_requests"] = json!([]);
    payload
}

/// `requested_action`: a press of a button on a check run of the App.
pub(crate) fn check_run_action(
    repository: &Repository,
    head_sha: &str,
    external_id: &str,
    identifier: &str,
    sender: &str,
) -> Value {
    let mut payload = example("check_run", "requested_action");
    put_repository(&mut payload["repository"], repository);
    put_installation(&mut payload, repository);
    payload["check_run"]["head_sha"] = json!(head_sha);
    payload["check_run"]["external_id"] = json!(external_id);
    payload["check_run"]["pull_requests"] = json!([]);
    payload["requested_action"]["identifier"] = json!(identifier);
    payload["sender"]["login"] = json!(sender);
    payload
}

/// `rerequested`, for all checks of a commit.
pub(crate) fn check_suite_rerequested(repository: &Repository, head_sha: &str) -> Value {
    let mut payload = example("check_suite", "rerequested");
    put_repository(&mut payload["repository"], repository);
    put_installation(&mut payload, repository);
    payload["check_suite"]["head_sha"] = json!(head_sha);
    payload
}

/// `checks_requested` or `destroyed`, for a merge queue's group for `main`.
pub(crate) fn merge_group(action: &str, repository: &Repository, head_sha: &str, base_sha: &str) -> Value {
    let mut payload = example("merge_group", "checks_requested");
    put_repository(&mut payload["repository"], repository);
    put_installation(&mut payload, repository);
    payload["action"] = json!(action);
    payload["merge_group"]["head_sha"] = json!(head_sha);
    payload["merge_group"]["base_sha"] = json!(base_sha);
    payload["merge_group"]["base_ref"] = json!("refs/heads/main");
    payload
}

/// A push that moves a branch to this commit.
pub(crate) fn push(repository: &Repository, branch: &str, head_sha: &str) -> Value {
    let mut payload = examples("push").into_iter().next().expect("an example");
    put_repository(&mut payload["repository"], repository);
    put_installation(&mut payload, repository);
    payload["ref"] = json!(format!("refs/heads/{branch}"));
    payload["after"] = json!(head_sha);
    payload["deleted"] = json!(false);
    payload
}

/// `requested`, `in_progress` or `completed` of a workflow run.
pub(crate) fn workflow_run(action: &str, repository: &Repository, run: &WorkflowRun) -> Value {
    let mut payload = example("workflow_run", "completed");
    put_repository(&mut payload["repository"], repository);
    put_installation(&mut payload, repository);
    payload["action"] = json!(action);
    let view = &mut payload["workflow_run"];
    view["id"] = json!(run.id);
    view["workflow_id"] = json!(run.workflow_id);
    view["name"] = json!(run.workflow);
    view["path"] = json!(format!(".github/workflows/{}.yml", run.workflow.to_lowercase()));
    view["event"] = json!(run.event);
    view["head_sha"] = json!(run.head_sha);
    view["head_branch"] = json!(run.head_branch);
    view["run_attempt"] = json!(run.attempt);
    view["status"] = json!(if action == "completed" { "completed" } else { "in_progress" });
    payload
}

fn brief(repositories: &[&Repository]) -> Value {
    repositories
        .iter()
        .map(|r| {
            json!({
                "id": r.id, "node_id": format!("R_{}", r.id), "name": r.name,
                "full_name": r.full_name(), "private": r.private,
            })
        })
        .collect()
}

fn put_repository(view: &mut Value, repository: &Repository) {
    view["id"] = json!(repository.id);
    view["name"] = json!(repository.name);
    view["full_name"] = json!(repository.full_name());
    view["private"] = json!(repository.private);
    view["default_branch"] = json!(repository.default_branch);
    view["owner"]["login"] = json!(repository.owner);
}

fn put_installation(payload: &mut Value, repository: &Repository) {
    let id = repository.installation.expect("a repository of an installation");
    payload["installation"] = json!({ "id": id, "node_id": "MDIzOkludGVncmF0aW9uSW5zdGFsbGF0aW9u" });
}

fn put_side(side: &mut Value, repository: &Repository, git_ref: &str, sha: &str) {
    side["ref"] = json!(git_ref);
    side["sha"] = json!(sha);
    side["label"] = json!(format!("{}:{git_ref}", repository.owner));
    put_repository(&mut side["repo"], repository);
}

/// One delivery: its headers and the exact bytes of the signed body.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub id: String,
    pub event: String,
    pub body: Vec<u8>,
    /// `None` sends no signature header.
    pub signature: Option<String>,
}

/// A signed delivery with a new id. A clone of it is a redelivery.
pub(crate) fn delivery(event: &str, payload: &Value, secret: &str) -> Delivery {
    let body = serde_json::to_vec(payload).expect("JSON");
    let signature = Some(signature(secret, &body));
    Delivery { id: fresh_id(), event: event.to_owned(), body, signature }
}

impl Delivery {
    /// The request that delivers it to the service at `base`.
    pub(crate) fn to(&self, client: &reqwest::Client, base: &str) -> reqwest::RequestBuilder {
        let request = client
            .post(format!("{base}/webhook"))
            .header("content-type", "application/json")
            .header("user-agent", "GitHub-Hookshot/044aadd")
            .header("x-github-delivery", &self.id)
            .header("x-github-event", &self.event)
            .header("x-github-hook-id", "292430182")
            .header("x-github-hook-installation-target-type", "integration");
        let request = match &self.signature {
            Some(signature) => request.header("x-hub-signature-256", signature),
            None => request,
        };
        request.body(self.body.clone())
    }
}

/// `sha256=` and the HMAC of the raw bytes.
pub(crate) fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// A delivery id in GitHub's format, unique within a test run.
fn fresh_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let hash = hex::encode(Sha256::digest(format!("{} {count}", std::process::id())));
    format!("{}-{}-{}-{}-{}", &hash[..8], &hash[8..12], &hash[12..16], &hash[16..20], &hash[20..32])
}

/// A commit SHA derived from a text, for tests that need several.
pub(crate) fn sha(seed: &str) -> String {
    sha_of(seed.as_bytes())
}

#[test]
fn signature_matches_github_published_example() {
    // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    let expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert_eq!(signature("It's a Secret to Everybody", b"Hello, World!"), expected);
}

#[test]
fn every_test_payload_has_a_real_example() {
    let repository = Repository { installation: Some(99), ..Repository::new(5, "octo-org/web") };
    let pr = PullRequest {
        head_repo: "someone/web".to_owned(),
        ..PullRequest::new(7, "octo-org/web", &sha("head"))
    };
    for action in ["opened", "synchronize", "closed", "reopened"] {
        let payload = pull_request(action, &repository, &pr);
        assert_eq!(payload["action"], action);
        assert_eq!(payload["installation"]["id"], 99);
        assert_eq!(payload["pull_request"]["head"]["repo"]["full_name"], "someone/web");
        assert_eq!(payload["pull_request"]["base"]["repo"]["id"], 5);
    }
    for action in ["created", "deleted", "suspend", "unsuspend"] {
        assert_eq!(installation(action, 99, &[&repository])["repositories"][0]["full_name"], "octo-org/web");
    }
    assert_eq!(installation_repositories("added", 99, &[&repository])["repositories_added"][0]["id"], 5);
    assert_eq!(installation_repositories("removed", 99, &[&repository])["repositories_removed"][0]["id"], 5);
    assert_eq!(check_run_rerequested(&repository, 3, &sha("head"), "e")["check_run"]["id"], 3);
    assert!(events().len() > 40);
}

#[test]
fn delivery_carries_github_headers() {
    let delivery = delivery("ping", &json!({ "zen": "Keep it logically awesome." }), "secret");
    let request = delivery.to(&reqwest::Client::new(), "http://127.0.0.1:1").build().expect("a request");
    assert_eq!(request.headers()["x-github-delivery"].len(), 36);
    assert_eq!(request.headers()["x-hub-signature-256"].to_str().ok(), delivery.signature.as_deref());
    assert_eq!(request.url().path(), "/webhook");
}
