//! The set-up that is under way: its one-time code, and the states of GitHub's pages that are
//! open. In the memory of one process, bounded, and each state good once.

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
/// Pages that may be open at once: more than one operator ever needs.
const STATES: usize = 16;
/// The set-up of a service without an App. One for a process.
#[derive(Debug)]
pub struct Setup {
    /// Opens the page; only in the log.
    pub code: SecretString,
    /// The API of the GitHub that makes the App.
    pub api_url: String,
    /// How long its answer may take.
    pub timeout: Duration,
    /// Where the App is kept.
    pub file: PathBuf,
    /// Cancelled when the App is there: the service starts again with it.
    pub made: CancellationToken,
    states: Mutex<HashMap<[u8; 32], Pending>>,
}

/// A page of GitHub's that is open.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) until: Timestamp,
    pub(super) public_url: String,
}

impl Setup {
    /// A set-up with a new code.
    #[must_use]
    pub fn new(api_url: String, timeout: Duration, file: PathBuf, rng: &Randomness) -> Self {
        let code = hex::encode(rng.bytes::<20>()).into();
        Self { code, api_url, timeout, file, made: CancellationToken::new(), states: Mutex::default() }
    }

    /// Compared by hash, so that the time it takes tells nothing of the code.
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

    /// Takes a state out: it is good once.
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
    fn a_state_is_good_once_and_for_an_hour_and_there_are_few() {
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
    fn only_the_code_of_the_log_opens_it() {
        let setup = Setup::new(String::new(), Duration::ZERO, PathBuf::new(), &Randomness::seeded(1));
        let code = setup.code.expose_secret().to_owned();
        assert!(setup.opens(&code) && code.len() == 40);
        assert!(!setup.opens("") && !setup.opens(&code[..39]) && !setup.opens(&code.to_uppercase()));
        assert!(!format!("{setup:?}").contains(&code), "and no log of the state tells it");
    }
}
