//! Dispatches an operation of GitHub's description to its handler. The reads without a file of
//! their own are here: installations, tokens, repositories, pull requests, contents.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::{Value, json};

use super::access::{authorise, mint, verify_jwt};
use super::reply::Reply;
use super::state::{PullRequest, Repository, State};
use super::{actions, app, artifacts, checks, comments, deliveries, views};
use crate::time::{now_seconds, rfc3339};

/// A routed request.
pub(crate) struct Call<'a> {
    pub operation: &'a str,
    pub variables: &'a BTreeMap<String, String>,
    pub query: &'a [(String, String)],
    pub body: Option<&'a Value>,
    pub bearer: Option<&'a str>,
    /// Scheme and host of this fake.
    pub base: &'a str,
    /// The path of the request, for links to further pages.
    pub path: &'a str,
}

impl Call<'_> {
    pub(crate) fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.variable(name).parse().unwrap_or(0)
    }

    /// A number in the path, if the operation has it.
    pub(crate) fn parameter_of_path(&self, name: &str) -> Option<u64> {
        self.variables.get(name)?.parse().ok()
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn repository(&self, state: &State, needs: &[(&str, &str)]) -> Result<Repository, Reply> {
        authorise(state, self.bearer, self.variable("owner"), self.variable("repo"), needs)
    }
}

/// Carries out a request on the state.
pub(crate) fn respond(state: &mut State, call: &Call) -> Reply {
    let unmodelled: Vec<_> =
        call.query.iter().filter(|(name, _)| !modelled(call.operation).contains(&name.as_str())).collect();
    for (name, _) in unmodelled {
        state.violation(format!("{}: this fake does not model the parameter {name:?}", call.operation));
    }
    let outcome = match call.operation {
        "apps/get-authenticated" => verify_jwt(state, call.bearer).map(|app| Reply::ok(views::app(app))),
        "apps/create-from-manifest" => app::create(state, call),
        "apps/get-webhook-config-for-app" => app::webhook_config(state, call),
        "apps/list-webhook-deliveries" if call.parameter("status").is_some() => app::deliveries(state, call),
        "apps/list-installations" => app::installations(state, call),
        "apps/list-repos-accessible-to-installation" => app::repositories(state, call),
        "apps/get-installation" => installation(state, call),
        "apps/create-installation-access-token" => access_token(state, call),
        "apps/get-repo-installation" => repository_installation(state, call),
        "repos/get" => call
            .repository(state, &[("metadata", "read")])
            .map(|repository| Reply::ok(views::repository("repos/get", &repository))),
        "apps/list-webhook-deliveries" => deliveries::list(state, call),
        "apps/redeliver-webhook-delivery" => deliveries::redeliver(state, call),
        "pulls/get" => pull_request(state, call),
        "pulls/list" => pull_requests(state, call),
        "actions/get-workflow-run" | "actions/get-workflow-run-attempt" => actions::run(state, call),
        "actions/list-jobs-for-workflow-run-attempt" => actions::jobs(state, call),
        "actions/list-repo-workflows" => actions::workflows(state, call),
        "actions/re-run-job-for-workflow-run" => actions::rerun(state, call),
        "actions/list-workflow-runs" | "actions/list-workflow-runs-for-repo" => actions::runs(state, call),
        "actions/list-workflow-run-artifacts" => artifacts::list(state, call),
        "actions/download-artifact" => artifacts::download(state, call),
        "repos/list-pull-requests-associated-with-commit" => pull_requests_of_commit(state, call),
        "repos/get-content" => contents(state, call),
        "repos/get-collaborator-permission-level" => permission(state, call),
        "rate-limit/get" => Ok(Reply::ok(views::rate_limit())),
        "checks/create" => checks::create(state, call),
        "checks/update" => checks::update(state, call),
        "checks/list-for-ref" => checks::list(state, call),
        "checks/list-annotations" => checks::annotations(state, call),
        "issues/list-comments" => comments::list(state, call),
        "issues/create-comment" => comments::create(state, call),
        "issues/update-comment" => comments::update(state, call),
        other => {
            state.violation(format!("{other} is described but this fake does not answer it"));
            Err(Reply::not_found())
        }
    };
    outcome.unwrap_or_else(|refusal| refusal)
}

fn modelled(operation: &str) -> &'static [&'static str] {
    match operation {
        "actions/list-workflow-runs" | "actions/list-workflow-runs-for-repo" => {
            &["branch", "status", "head_sha", "created", "per_page", "page"]
        }
        "pulls/list" => &["state", "head", "sort", "direction", "per_page", "page"],
        "checks/list-for-ref" => &["check_name", "app_id", "filter", "status", "per_page", "page"],
        "actions/list-jobs-for-workflow-run-attempt"
        | "actions/list-repo-workflows"
        | "actions/list-workflow-run-artifacts"
        | "issues/list-comments"
        | "checks/list-annotations"
        | "repos/list-pull-requests-associated-with-commit"
        | "apps/list-installations"
        | "apps/list-repos-accessible-to-installation" => &["per_page", "page"],
        "repos/get-content" => &["ref"],
        "apps/list-webhook-deliveries" => &["status", "per_page", "cursor"],
        _ => &[],
    }
}

fn installation(state: &State, call: &Call) -> Result<Reply, Reply> {
    let app = verify_jwt(state, call.bearer)?;
    let found = state.installation(call.number("installation_id")).ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(views::installation("apps/get-installation", app, found)))
}

fn repository_installation(state: &State, call: &Call) -> Result<Reply, Reply> {
    let app = verify_jwt(state, call.bearer)?;
    let repository =
        state.repository(call.variable("owner"), call.variable("repo")).ok_or_else(Reply::not_found)?;
    let found = repository.installation.and_then(|id| state.installation(id)).ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(views::installation("apps/get-repo-installation", app, found)))
}

fn permission(state: &State, call: &Call) -> Result<Reply, Reply> {
    let repository = call.repository(state, &[("metadata", "read")])?;
    let login = call.variable("username");
    // GitHub gives known users at least `read` in a public repository. The fake knows only the
    // collaborators, and gives everyone else no permission.
    let level = state.collaborators.get(&(repository.id, login.to_owned())).map_or("none", String::as_str);
    Ok(Reply::ok(views::permission(login, level)))
}

fn access_token(state: &mut State, call: &Call) -> Result<Reply, Reply> {
    verify_jwt(state, call.bearer)?;
    let token = mint(state, call.number("installation_id"), call.body)?;
    let selection = if token.requested_repositories.is_some() { "selected" } else { "all" };
    let body = json!({
        "token": token.text,
        "expires_at": rfc3339(token.expires_at),
        "permissions": token.permissions,
        "repository_selection": selection,
    });
    Ok(Reply::new(201, body))
}

fn pull_request(state: &State, call: &Call) -> Result<Reply, Reply> {
    let repository = call.repository(state, &[("pull_requests", "read")])?;
    let found = state.pull_request(repository.id, call.number("pull_number")).ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(views::pull_request("pulls/get", state, &repository, found)))
}

/// Sorted by number. The tests rely on no other order.
fn pull_requests_of_commit(state: &State, call: &Call) -> Result<Reply, Reply> {
    const ID: &str = "repos/list-pull-requests-associated-with-commit";
    let repository = call.repository(state, &[("pull_requests", "read")])?;
    let sha = call.variable("commit_sha");
    // GitHub finds a commit only in the repository it was pushed to: not a fork's commit in the
    // base repository.
    let here = |pr: &&PullRequest| pr.head_sha == sha && pr.head_repo == repository.full_name();
    let found = state.pull_requests.iter().filter(|(repo, _)| *repo == repository.id).map(|(_, pr)| pr);
    let found = found.filter(here).map(|pr| views::pull_request(ID, state, &repository, pr)).collect();
    Ok(page(call, found, |items, _| Value::Array(items)))
}

fn pull_requests(state: &State, call: &Call) -> Result<Reply, Reply> {
    let repository = call.repository(state, &[("pull_requests", "read")])?;
    let wanted = call.parameter("state").unwrap_or("open");
    let matches = |pr: &&PullRequest| {
        let owner = pr.head_repo.split('/').next().unwrap_or_default();
        let head = format!("{owner}:{}", pr.head_ref);
        (wanted == "all" || pr.open == (wanted == "open"))
            && call.parameter("head").is_none_or(|asked| asked == head)
    };
    let here = state.pull_requests.iter().filter(|(repo, _)| *repo == repository.id).map(|(_, pr)| pr);
    let mut found: Vec<_> = here.filter(matches).collect();
    found.sort_by_key(|pr| std::cmp::Reverse(pr.number));
    let view = |pr| views::pull_request("pulls/list", state, &repository, pr);
    let found = found.into_iter().map(view).collect();
    Ok(page(call, found, |items, _| Value::Array(items)))
}

fn contents(state: &State, call: &Call) -> Result<Reply, Reply> {
    let repository = call.repository(state, &[("contents", "read")])?;
    let git_ref = call.parameter("ref").unwrap_or(&repository.default_branch).to_owned();
    let path = call.variable("path").to_owned();
    let bytes = state.contents.get(&(repository.id, git_ref, path.clone())).ok_or_else(Reply::not_found)?;
    let name = path.rsplit('/').next().unwrap_or_default();
    let url = format!("{}/repos/{}/contents/{path}", call.base, repository.full_name());
    // GitHub's base64 has line breaks.
    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
    let lines: String = encoded.as_bytes().chunks(60).fold(String::new(), |mut text, line| {
        text.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        text.push('\n');
        text
    });
    let sha = views::sha_of(bytes);
    Ok(Reply::ok(json!({
        "type": "file", "encoding": "base64", "size": bytes.len(), "name": name, "path": path,
        "content": lines, "sha": sha, "url": url, "git_url": url, "html_url": url, "download_url": url,
        "_links": { "git": url, "self": url, "html": url },
    })))
}

/// One page of a list, with the `Link` header for the other pages.
pub(crate) fn page(call: &Call, items: Vec<Value>, body: impl Fn(Vec<Value>, usize) -> Value) -> Reply {
    let number = |name: &str, otherwise: usize| {
        call.parameter(name).and_then(|text| text.parse().ok()).filter(|n| *n > 0).unwrap_or(otherwise)
    };
    let (size, current) = (number("per_page", 30).min(100), number("page", 1));
    let total = items.len();
    let last = total.div_ceil(size).max(1);
    let shown: Vec<Value> = items.into_iter().skip((current - 1) * size).take(size).collect();
    let link = |page: usize, rel: &str| {
        let mut url = reqwest::Url::parse(&format!("{}{}", call.base, call.path)).expect("our own address");
        url.query_pairs_mut()
            .extend_pairs(call.query.iter().filter(|(name, _)| name != "page"))
            .append_pair("page", &page.to_string());
        format!("<{url}>; rel=\"{rel}\"")
    };
    let mut links = Vec::new();
    if current > 1 {
        links.extend([link(current - 1, "prev"), link(1, "first")]);
    }
    if current < last {
        links.extend([link(current + 1, "next"), link(last, "last")]);
    }
    let reply = Reply::ok(body(shown, total));
    if links.is_empty() { reply } else { reply.header("link", links.join(", ")) }
}

/// Now, in GitHub's time format.
pub(crate) fn now_text() -> String {
    rfc3339(now_seconds())
}
