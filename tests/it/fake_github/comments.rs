//! Comments on a pull request, by the App and by people.

use serde_json::Value;

use super::reply::Reply;
use super::routes::{Call, now_text, page};
use super::state::{Comment, State};
use super::views;

/// In characters. GitHub answers 422 above it.
const BODY_LIMIT: usize = 65_536;

/// Either permission allows writing a comment on a pull request.
const WRITE: [(&str, &str); 2] = [("pull_requests", "write"), ("issues", "write")];
const READ: [(&str, &str); 2] = [("pull_requests", "read"), ("issues", "read")];

pub(crate) fn list(state: &State, call: &Call) -> Result<Reply, Reply> {
    let repository = call.repository(state, &READ)?;
    let number = call.number("issue_number");
    state.pull_request(repository.id, number).ok_or_else(Reply::not_found)?;
    let found = state.comments.iter().filter(|c| c.repo_id == repository.id && c.number == number);
    let views = found.map(|comment| views::comment(state, &repository, comment, call.base)).collect();
    Ok(page(call, views, |comments, _| Value::Array(comments)))
}

pub(crate) fn create(state: &mut State, call: &Call) -> Result<Reply, Reply> {
    let repository = call.repository(state, &WRITE)?;
    let number = call.number("issue_number");
    state.pull_request(repository.id, number).ok_or_else(Reply::not_found)?;
    let body = body_of(call)?;
    let slug = state.app.as_ref().map(|app| app.slug.clone()).ok_or_else(Reply::not_found)?;
    let now = now_text();
    let comment = Comment {
        id: state.next_id(),
        repo_id: repository.id,
        number,
        body,
        author: format!("{slug}[bot]"),
        app_slug: Some(slug),
        created_at: now.clone(),
        updated_at: now,
        writes: 1,
    };
    let view = views::comment(state, &repository, &comment, call.base);
    state.comments.push(comment);
    Ok(Reply::new(201, view))
}

pub(crate) fn update(state: &mut State, call: &Call) -> Result<Reply, Reply> {
    let repository = call.repository(state, &WRITE)?;
    let id = call.number("comment_id");
    let position = state.comments.iter().position(|c| c.id == id && c.repo_id == repository.id);
    let position = position.ok_or_else(Reply::not_found)?;
    let body = body_of(call)?;
    let comment = &mut state.comments[position];
    comment.body = body;
    comment.updated_at = now_text();
    comment.writes += 1;
    let comment = comment.clone();
    Ok(Reply::ok(views::comment(state, &repository, &comment, call.base)))
}

fn body_of(call: &Call) -> Result<String, Reply> {
    let body = call.body.and_then(|b| b["body"].as_str()).unwrap_or_default();
    if body.trim().is_empty() {
        return Err(Reply::invalid("Body can't be blank"));
    }
    if body.chars().count() > BODY_LIMIT {
        return Err(Reply::invalid("Body is too long (maximum is 65536 characters)"));
    }
    Ok(body.to_owned())
}
