//! A set-up in progress: its one-time code, and the `state` values of GitHub pages that are open.
//! Kept in the memory of one process, bounded. Each state can be used once.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use pacegate_clock::Randomness;
use pacegate_engine::model::time::Timestamp;

/// How long GitHub's page may stay open.
pub(super) const STATE_LIFETIME: Duration = Duration::from_hours(1);
/// Pages that may be open at the same time: more than one operator needs.
const STATES: usize = 16;
/// The set-up of a service without an App. One for each process.
#[derive(Debug)]
pub(crate) struct Setup {
    /// Opens the page. It is shown only in the log.
    pub code: SecretString,
    /// The API of the GitHub that makes the App.
    pub api_url: String,
    /// Timeout of calls to it.
    pub timeout: Duration,
    /// Where the App is saved.
    pub file: PathBuf,
    /// Cancelled when the App is saved; the service then restarts with it.
    pub made: CancellationToken,
    states: Mutex<HashMap<[u8; 32], Pending>>,
}

/// An open page of GitHub.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) until: Timestamp,
    pub(super) public_url: String,
}

impl Setup {
    /// A set-up with a new code.
    #[must_use]
    pub(crate) fn new(api_url: String, timeout: Duration, file: PathBuf, rng: &Randomness) -> Self {
        let code = hex::encode(rng.bytes::<20>()).into();
        Self { code, api_url, timeout, file, made: CancellationToken::new(), states: Mutex::default() }
    }

    /// Whether the code is right. Compares hashes, so that the time it takes reveals nothing.
    pub(super) fn opens(&self, code: &str) -> bool {
        digest(code) == digest(self.code.expose_secret())
    }

    pub(super) fn remember(&self, state: &str, pending: Pending, now: Timestamp) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.retain(|_, old| old.until > now);
        if states.len() >= STATES
            && let Some(oldest) = states.iter().min_by_key(|(_, old)| old.until).map(|(key, _)| *key)
        {
            states.remove(&oldest);
        }
        states.insert(digest(state), pending);
    }

    /// Removes a state, which can be used once.
    pub(super) fn take(&self, state: &str, now: Timestamp) -> Option<Pending> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.remove(&digest(state)).filter(|pending| pending.until > now)
    }
}

pub(super) fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_expire_and_are_single_use() {
        let setup = Setup::new(String::new(), Duration::ZERO, PathBuf::new(), &Randomness::seeded(1));
        let pending = |until| Pending { until: Timestamp(until), public_url: String::new() };
        setup.remember("a", pending(10), Timestamp(0));
        assert!(setup.take("b", Timestamp(1)).is_none());
        assert!(setup.take("a", Timestamp(1)).is_some() && setup.take("a", Timestamp(1)).is_none());
        setup.remember("late", pending(10), Timestamp(0));
        assert!(setup.take("late", Timestamp(10)).is_none());
        for i in 0..40 {
            setup.remember(&i.to_string(), pending(100 + i), Timestamp(0));
        }
        assert_eq!(setup.states.lock().expect("no panic inside").len(), STATES);
        assert!(setup.take("0", Timestamp(1)).is_none() && setup.take("39", Timestamp(1)).is_some());
    }

    #[test]
    fn only_right_code_opens_setup() {
        let setup = Setup::new(String::new(), Duration::ZERO, PathBuf::new(), &Randomness::seeded(1));
        let code = setup.code.expose_secret().to_owned();
        assert!(setup.opens(&code) && code.len() == 40);
        assert!(!setup.opens("") && !setup.opens(&code[..39]) && !setup.opens(&code.to_uppercase()));
        assert!(!format!("{setup:?}").contains(&code), "Debug output hides the code");
    }
}
