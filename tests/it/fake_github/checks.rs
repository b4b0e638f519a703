//! Check runs: created, updated (annotations are appended) and listed as GitHub does it.

use serde_json::{Value, json};

use super::reply::Reply;
use super::routes::{Call, now_text, page};
use super::state::{CheckRun, State};
use super::views;

/// The limit in bytes for an annotation's message and raw details.
const ANNOTATION_TEXT_LIMIT: usize = 64 * 1024;
const ANNOTATION_TITLE_LIMIT: usize = 255;

pub(crate) fn create(state: &mut State, call: &Call) -> Result<Reply, Reply> {
    let repository = call.repository(state, &[("checks", "write")])?;
    let body = call.body.ok_or_else(|| Reply::invalid("a body is required"))?;
    let sha = body["head_sha"].as_str().unwrap_or_default();
    if sha.len() != 40 || !sha.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Reply::invalid("No commit found for SHA"));
    }
    let mut check = CheckRun {
        id: state.next_id(),
        repo_id: repository.id,
        head_sha: sha.to_owned(),
        status: "queued".to_owned(),
        ..CheckRun::default()
    };
    apply(&mut check, body)?;
    let view = views::check_run(state, &repository, &check, call.base);
    state.check_runs.push(check);
    Ok(Reply::new(201, view))
}

pub(crate) fn update(state: &mut State, call: &Call) -> Result<Reply, Reply> {
    let repository = call.repository(state, &[("checks", "write")])?;
    let body = call.body.ok_or_else(|| Reply::invalid("a body is required"))?;
    let id = call.number("check_run_id");
    let position = state.check_runs.iter().position(|check| check.id == id && check.repo_id == repository.id);
    let position = position.ok_or_else(Reply::not_found)?;
    let mut check = state.check_runs[position].clone();
    apply(&mut check, body)?;
    state.check_runs[position] = check.clone();
    Ok(Reply::ok(views::check_run(state, &repository, &check, call.base)))
}

/// Applies a request's fields to a check run. A refused request changes nothing.
fn apply(check: &mut CheckRun, body: &Value) -> Result<(), Reply> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let replace = |slot: &mut Option<String>, value: &Value| {
        if let Some(given) = text(value) {
            *slot = Some(given);
        }
    };
    if let Some(name) = text(&body["name"]) {
        check.name = name;
    }
    replace(&mut check.external_id, &body["external_id"]);
    replace(&mut check.details_url, &body["details_url"]);
    replace(&mut check.started_at, &body["started_at"]);
    if let Some(status) = text(&body["status"]) {
        check.status = status;
    }
    if let Some(conclusion) = text(&body["conclusion"]) {
        check.conclusion = Some(conclusion);
        "completed".clone_into(&mut check.status);
        check.completed_at.get_or_insert_with(now_text);
    }
    replace(&mut check.completed_at, &body["completed_at"]);
    if check.status != "completed" {
        (check.conclusion, check.completed_at) = (None, None);
    }
    let output = &body["output"];
    replace(&mut check.title, &output["title"]);
    replace(&mut check.summary, &output["summary"]);
    replace(&mut check.text, &output["text"]);
    for annotation in output["annotations"].as_array().into_iter().flatten() {
        refuse_annotation(annotation)?;
        check.annotations.push(annotation.clone());
    }
    check.images.extend(output["images"].as_array().into_iter().flatten().cloned());
    if let Some(actions) = body["actions"].as_array() {
        check.actions.clone_from(actions);
    }
    check.writes += 1;
    Ok(())
}

/// Checks the limits that the description mentions only in prose.
fn refuse_annotation(annotation: &Value) -> Result<(), Reply> {
    let length = |name: &str| annotation[name].as_str().map_or(0, str::len);
    if length("message") > ANNOTATION_TEXT_LIMIT || length("raw_details") > ANNOTATION_TEXT_LIMIT {
        return Err(Reply::invalid("An annotation's text is too long (maximum is 64 KB)"));
    }
    if annotation["title"].as_str().map_or(0, |title| title.chars().count()) > ANNOTATION_TITLE_LIMIT {
        return Err(Reply::invalid("An annotation's title is too long (maximum is 255 characters)"));
    }
    let has_columns = annotation["start_column"].is_number() || annotation["end_column"].is_number();
    if has_columns && annotation["start_line"] != annotation["end_line"] {
        return Err(Reply::invalid("Columns are only allowed when start_line and end_line are equal"));
    }
    if annotation["start_line"].as_i64() > annotation["end_line"].as_i64() {
        return Err(Reply::invalid("end_line must not be before start_line"));
    }
    Ok(())
}

pub(crate) fn list(state: &State, call: &Call) -> Result<Reply, Reply> {
    let repository = call.repository(state, &[("checks", "read")])?;
    let given = call.variable("ref");
    let branch = given.strip_prefix("heads/").unwrap_or(given);
    let of_branch =
        state.pull_requests.iter().find(|(repo, pr)| *repo == repository.id && pr.head_ref == branch);
    let sha = of_branch.map_or(given, |(_, pr)| pr.head_sha.as_str());
    let ours = state.app.as_ref().map(|app| app.id.to_string());
    let fits = |check: &&CheckRun| {
        check.repo_id == repository.id
            && check.head_sha == sha
            && call.parameter("app_id").is_none_or(|wanted| Some(wanted) == ours.as_deref())
            && call.parameter("check_name").is_none_or(|name| name == check.name)
            && call.parameter("status").is_none_or(|status| status == check.status)
    };
    let mut found: Vec<&CheckRun> = state.check_runs.iter().filter(fits).collect();
    if call.parameter("filter") != Some("all") {
        // The latest of each name, as GitHub lists them unless the request asks for all.
        let latest =
            |check: &&CheckRun| !found.iter().any(|other| other.name == check.name && other.id > check.id);
        found = found.iter().copied().filter(latest).collect();
    }
    found.sort_by_key(|check| std::cmp::Reverse(check.id));
    let views =
        found.into_iter().map(|check| views::check_run(state, &repository, check, call.base)).collect();
    Ok(page(call, views, |check_runs, total| json!({ "total_count": total, "check_runs": check_runs })))
}

pub(crate) fn annotations(state: &State, call: &Call) -> Result<Reply, Reply> {
    let repository = call.repository(state, &[("checks", "read")])?;
    let id = call.number("check_run_id");
    let found = state.check_runs.iter().find(|check| check.id == id && check.repo_id == repository.id);
    let check = found.ok_or_else(Reply::not_found)?;
    // An answer has all fields that a request may leave out.
    let absent = json!({
        "start_column": null, "end_column": null, "title": null, "raw_details": null,
        "blob_href": format!("{}/{}/blob/{}", call.base, repository.full_name(), check.head_sha),
    });
    let views = check.annotations.iter().map(|given| views::overlay(absent.clone(), given.clone()));
    Ok(page(call, views.collect(), |items, _| Value::Array(items)))
}
