//! The waits that GitHub's limits imposed on an installation, and the writes that ignored them.
//!
//! A wait in the answer to a write binds at once: writes go one at a time, so no other write is
//! under way. A wait in the answer to a read may cross a write that has left already. Another
//! process may also begin a write before it learns of the wait. [`CROSSING_TOLERANCE_MS`] is the tolerance for
//! both.

use super::reply::Reply;
use super::state::State;
use crate::time::now_milliseconds;

/// GitHub's documentation: a minute if the answer gives no duration.
const DEFAULT_WAIT_MS: i64 = 60_000;
/// In milliseconds.
const CROSSING_TOLERANCE_MS: i64 = 500;

/// A wait that an answer imposed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub installation_id: u64,
    /// Milliseconds since the epoch.
    pub binds_from: i64,
    pub until: i64,
}

/// The installation of a request, by its token, or by its path if it asks for a token.
pub(crate) fn installation_of(state: &State, bearer: Option<&str>, path: &str) -> Option<u64> {
    let minted_for = path.strip_prefix("/app/installations/").and_then(|rest| rest.split('/').next());
    let by_token = bearer.and_then(|text| state.tokens.iter().find(|token| token.text == text));
    by_token.map(|token| token.installation_id).or_else(|| minted_for?.parse().ok())
}

pub(crate) fn is_write(method: &str, path: &str) -> bool {
    method != "GET" && !path.ends_with("/access_tokens")
}

impl State {
    /// Records the wait that an answer imposes.
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
                _ if reply.status == 429 => now + DEFAULT_WAIT_MS,
                _ => return,
            };
        let binds_from = if is_write { now } else { now + CROSSING_TOLERANCE_MS };
        self.waits.push(Wait { installation_id, binds_from, until });
    }

    /// The violation, if a write at this moment ignores a wait.
    pub(crate) fn write_during_wait(&self, installation_id: u64) -> Option<String> {
        let now = now_milliseconds();
        let binding = |wait: &&Wait| {
            wait.installation_id == installation_id && (wait.binds_from..wait.until).contains(&now)
        };
        let wait = self.waits.iter().find(binding)?;
        Some(format!("installation {installation_id} was to wait {} ms more", wait.until - now))
    }
}
