//! What GitHub's limits asked an installation to wait, and who wrote to it all the same.
//!
//! A wait that was told to a write binds from that moment: writes go one at a time, so none is
//! under way. One that was told to a read may meet a write that had left already, or that another
//! process begins before it can know: [`UNDER_WAY`] is how long that is forgiven.

use super::reply::Reply;
use super::state::State;
use crate::time::now_milliseconds;

/// GitHub's documentation: without a hint a minute.
const UNSAID_MILLISECONDS: i64 = 60_000;
/// In milliseconds.
const UNDER_WAY: i64 = 500;

/// A wait that was told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub installation_id: u64,
    /// Milliseconds since the epoch.
    pub binds_from: i64,
    pub until: i64,
}

/// The installation a request is for, by its token or, when it asks for one, by its path.
pub(crate) fn installation_of(state: &State, bearer: Option<&str>, path: &str) -> Option<u64> {
    let minted_for = path.strip_prefix("/app/installations/").and_then(|rest| rest.split('/').next());
    let by_token = bearer.and_then(|text| state.tokens.iter().find(|token| token.text == text));
    by_token.map(|token| token.installation_id).or_else(|| minted_for?.parse().ok())
}

pub(crate) fn is_write(method: &str, path: &str) -> bool {
    method != "GET" && !path.ends_with("/access_tokens")
}

impl State {
    /// Notes what an answer asks to wait.
    pub(crate) fn note_wait(&mut self, installation_id: Option<u64>, is_write: bool, reply: &Reply) {
        let Some(installation_id) = installation_id.filter(|_| matches!(reply.status, 403 | 429)) else {
            return;
        };
        let number = |name: &str| {
            let header = reply.headers.iter().find(|(given, _)| *given == name);
            header.and_then(|(_, value)| value.parse::<i64>().ok())
        };
        let now = now_milliseconds();
        let until =
            match (number("retry-after"), number("x-ratelimit-remaining"), number("x-ratelimit-reset")) {
                (Some(seconds), ..) => now + seconds * 1000,
                (None, Some(0), Some(reset)) => reset * 1000,
                _ if reply.status == 429 => now + UNSAID_MILLISECONDS,
                _ => return,
            };
        let binds_from = if is_write { now } else { now + UNDER_WAY };
        self.waits.push(Wait { installation_id, binds_from, until });
    }

    /// What is wrong with a write that comes now, if anything is.
    pub(crate) fn write_during_wait(&self, installation_id: u64) -> Option<String> {
        let now = now_milliseconds();
        let binding = |wait: &&Wait| {
            wait.installation_id == installation_id && (wait.binds_from..wait.until).contains(&now)
        };
        let wait = self.waits.iter().find(binding)?;
        Some(format!("installation {installation_id} was to wait {} ms more", wait.until - now))
    }
}
