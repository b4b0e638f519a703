//! The state in GitHub's format: the description's example of each answer, overwritten with the
//! fake's data.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::contract::CONTRACT;
use super::state::{App, CheckRun, Comment, Installation, PullRequest, Repository, State};
use crate::time::now_seconds;

/// A stable git hash of some content. It is not git's own hash.
pub(crate) fn sha_of(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes)[..20])
}

/// Replaces fields of `base` with the fields of `over`, whole values at a time.
pub(crate) fn overlay(mut base: Value, over: Value) -> Value {
    let Value::Object(fields) = over else { panic!("fields to put over an example") };
    for (name, value) in fields {
        base[name] = value;
    }
    base
}

/// The only element of an example that is a list.
fn first(mut example: Value) -> Value {
    if example.is_array() { example[0].take() } else { example }
}

pub(crate) fn app(app: &App) -> Value {
    overlay(
        CONTRACT.example("apps/get-authenticated", 200),
        json!({
            "id": app.id, "slug": app.slug, "name": app.slug,
            "permissions": app.permissions, "events": app.events,
        }),
    )
}

pub(crate) fn installation(operation: &str, app: &App, installation: &Installation) -> Value {
    let mut view = overlay(
        CONTRACT.example(operation, 200),
        json!({
            "id": installation.id, "app_id": app.id, "app_slug": app.slug,
            "permissions": installation.permissions,
            "suspended_at": installation.suspended.then_some("2026-01-01T00:00:00Z"),
        }),
    );
    view["account"]["login"] = json!(installation.account);
    // The description requires an account to be a user and an enterprise at once.
    for (name, value) in [("name", "name"), ("slug", "slug")] {
        view["account"][name] = json!(value);
    }
    for name in ["created_at", "updated_at"] {
        view["account"][name] = json!("2026-01-01T00:00:00Z");
    }
    view
}

pub(crate) fn repository(operation: &str, repository: &Repository) -> Value {
    let mut view = overlay(
        CONTRACT.example(operation, 200),
        json!({
            "id": repository.id, "name": repository.name, "full_name": repository.full_name(),
            "private": repository.private, "archived": repository.archived, "default_branch": repository.default_branch,
            "visibility": if repository.private { "private" } else { "public" },
        }),
    );
    view["owner"]["login"] = json!(repository.owner);
    // The description's example is of a fork, and lacks this field that its own schema requires.
    view["language"] = Value::Null;
    for of_a_fork in ["parent", "source", "template_repository"] {
        view.as_object_mut().expect("an object").remove(of_a_fork);
    }
    view
}

pub(crate) fn pull_request(
    operation: &str,
    state: &State,
    repository: &Repository,
    pr: &PullRequest,
) -> Value {
    let mut view = overlay(
        first(CONTRACT.example(operation, 200)),
        json!({
            "number": pr.number, "state": if pr.open { "open" } else { "closed" }, "merged_at": pr.merged_at,
            // The example's team lacks a field that its own schema requires.
            "requested_teams": [],
        }),
    );
    let (head_owner, head_name) = pr.head_repo.split_once('/').expect("OWNER/NAME");
    let head_id = state.repository(head_owner, head_name).map_or(repository.id + 1_000_000, |known| known.id);
    for (side, git_ref, sha, owner, name, id) in [
        ("head", &pr.head_ref, &pr.head_sha, head_owner, head_name, head_id),
        ("base", &pr.base_ref, &pr.base_sha, &*repository.owner, &*repository.name, repository.id),
    ] {
        let part = &mut view[side];
        part["ref"] = json!(git_ref);
        part["sha"] = json!(sha);
        part["label"] = json!(format!("{owner}:{git_ref}"));
        part["user"]["login"] = json!(owner);
        part["repo"]["id"] = json!(id);
        part["repo"]["name"] = json!(name);
        part["repo"]["full_name"] = json!(format!("{owner}/{name}"));
        part["repo"]["owner"]["login"] = json!(owner);
    }
    view["head"]["repo"]["fork"] = json!(pr.head_repo != repository.full_name());
    view["base"]["repo"]["default_branch"] = json!(repository.default_branch);
    view["base"]["repo"]["private"] = json!(repository.private);
    view
}

pub(crate) fn check_run(state: &State, repository: &Repository, check: &CheckRun, base: &str) -> Value {
    let mut view = CONTRACT.example("checks/create", 201);
    let url = format!("{base}/repos/{}/check-runs/{}", repository.full_name(), check.id);
    let pull_requests: Vec<Value> = state
        .pull_requests
        .iter()
        .filter(|(repo, pr)| *repo == repository.id && pr.head_sha == check.head_sha && pr.open)
        // GitHub leaves this list empty for a fork's pull request.
        .filter(|(_, pr)| pr.head_repo == repository.full_name())
        .map(|(_, pr)| minimal_pull_request(repository, pr, base))
        .collect();
    view = overlay(
        view,
        json!({
            "id": check.id, "name": check.name, "head_sha": check.head_sha, "url": url,
            "html_url": format!("{base}/{}/runs/{}", repository.full_name(), check.id),
            "external_id": check.external_id.as_deref().unwrap_or(""),
            "details_url": check.details_url,
            "status": check.status, "conclusion": check.conclusion,
            "started_at": check.started_at, "completed_at": check.completed_at,
            "output": {
                "title": check.title, "summary": check.summary, "text": check.text,
                "annotations_count": check.annotations.len(),
                "annotations_url": format!("{url}/annotations"),
            },
            "pull_requests": pull_requests,
        }),
    );
    if let Some(app) = &state.app {
        view["app"]["id"] = json!(app.id);
        view["app"]["slug"] = json!(app.slug);
    }
    view
}

fn minimal_pull_request(repository: &Repository, pr: &PullRequest, base: &str) -> Value {
    let url = format!("{base}/repos/{}", repository.full_name());
    let repo = json!({ "id": repository.id, "url": url, "name": repository.name });
    json!({
        "url": format!("{url}/pulls/{}", pr.number), "id": 1000 + pr.number, "number": pr.number,
        "head": { "ref": pr.head_ref, "sha": pr.head_sha, "repo": repo },
        "base": { "ref": pr.base_ref, "sha": pr.base_sha, "repo": repo },
    })
}

pub(crate) fn comment(state: &State, repository: &Repository, comment: &Comment, base: &str) -> Value {
    let issue = format!("{base}/repos/{}/issues", repository.full_name());
    let mut view = overlay(
        CONTRACT.example("issues/create-comment", 201),
        json!({
            "id": comment.id, "body": comment.body,
            "created_at": comment.created_at, "updated_at": comment.updated_at,
            "url": format!("{issue}/comments/{}", comment.id),
            "issue_url": format!("{issue}/{}", comment.number),
            "html_url":
                format!("{base}/{}/pull/{}#issuecomment-{}", repository.full_name(), comment.number, comment.id),
        }),
    );
    view["user"]["login"] = json!(comment.author);
    view["user"]["type"] = json!(if comment.app_slug.is_some() { "Bot" } else { "User" });
    view["performed_via_github_app"] = match (&comment.app_slug, &state.app) {
        (Some(slug), Some(ours)) if *slug == ours.slug => app(ours),
        (Some(slug), _) => overlay(CONTRACT.example("apps/get-authenticated", 200), json!({ "slug": slug })),
        (None, _) => Value::Null,
    };
    view
}

/// A person's permission in a repository.
pub(crate) fn permission(login: &str, level: &str) -> Value {
    let mut view = overlay(
        CONTRACT.example("repos/get-collaborator-permission-level", 200),
        json!({ "permission": level, "role_name": level }),
    );
    view["user"]["login"] = json!(login);
    view["user"]["role_name"] = json!(level);
    view
}

pub(crate) fn rate_limit() -> Value {
    let core = json!({ "limit": 5000, "used": 1, "remaining": 4999, "reset": now_seconds() + 3600 });
    let mut view = CONTRACT.example("rate-limit/get", 200);
    view["resources"]["core"] = core.clone();
    view["rate"] = core;
    view
}
