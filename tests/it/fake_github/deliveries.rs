//! GitHub's list of delivery attempts, newest first and paged by a cursor, and the requests to
//! redeliver.

use serde_json::{Value, json};

use super::access::verify_jwt;
use super::reply::Reply;
use super::routes::Call;
use super::state::State;
use super::views::overlay;
use crate::fake_github::contract::CONTRACT;
use crate::time::rfc3339;

/// One delivery attempt.
#[derive(Clone, Debug)]
pub(crate) struct DeliveryAttempt {
    pub id: u64,
    pub guid: String,
    pub event: String,
    /// Seconds since the epoch.
    pub delivered_at: i64,
    pub status_code: u16,
}

pub(crate) fn list(state: &State, call: &Call) -> Result<Reply, Reply> {
    verify_jwt(state, call.bearer)?;
    let size: usize = call.parameter("per_page").and_then(|text| text.parse().ok()).unwrap_or(30).min(100);
    let begin = match call.parameter("cursor") {
        None => u64::MAX,
        Some(cursor) => {
            let id = cursor.strip_prefix("v1_").and_then(|id| id.parse().ok());
            id.ok_or_else(|| Reply::invalid("Invalid cursor"))?
        }
    };
    let mut sent: Vec<_> = state.delivery_attempts.iter().filter(|sent| sent.id <= begin).collect();
    sent.sort_by_key(|sent| std::cmp::Reverse(sent.id));
    let next = sent.get(size).map(|sent| sent.id);
    let example = CONTRACT.example("apps/list-webhook-deliveries", 200)[0].clone();
    let shown: Vec<Value> = sent.into_iter().take(size).map(|sent| view(&example, sent)).collect();
    let reply = Reply::ok(Value::Array(shown));
    Ok(match next {
        None => reply,
        Some(id) => {
            // GitHub's link is absolute and names its own host.
            let url = format!("{}{}?per_page={size}&cursor=v1_{id}", call.base, call.path);
            reply.header("link", format!("<{url}>; rel=\"next\""))
        }
    })
}

fn view(example: &Value, sent: &DeliveryAttempt) -> Value {
    overlay(
        example.clone(),
        json!({
            "id": sent.id, "guid": sent.guid, "event": sent.event, "status_code": sent.status_code,
            "status": if sent.status_code == 202 { "OK" } else { "failed to connect" },
            "delivered_at": rfc3339(sent.delivered_at),
        }),
    )
}

pub(crate) fn redeliver(state: &mut State, call: &Call) -> Result<Reply, Reply> {
    verify_jwt(state, call.bearer)?;
    let id = call.number("delivery_id");
    let sent = state.delivery_attempts.iter().find(|sent| sent.id == id).ok_or_else(Reply::not_found)?;
    state.redelivery_requests.push(sent.guid.clone());
    Ok(Reply::new(202, json!({})))
}
