//! Errors of tasks, and the only place that decides what follows from one: retry, postpone or
//! dead-letter. Pure: the time and the source of randomness are parameters.

use std::time::Duration;

use crate::tasks::error_chain;
use pacegate_clock::Randomness;
use pacegate_engine::model::time::Timestamp;
use pacegate_github::{GitHubError, RetryClass};
use pacegate_store::{Settlement, StoreError};

/// Dead-lettering on an outage of GitHub waits for the task to be this old.
const OUTAGE: Duration = Duration::from_hours(24);
/// By this attempt the delays in an outage have reached five minutes.
const OUTAGE_ATTEMPTS: i64 = 10;
/// Failures without success after which a caller without a queue gives up. Interactive callers fail early.
const TRIES_WITHOUT_QUEUE: i64 = 5;
/// Attempts in which an answer that sounds final is retried. See [`may_lag`].
const LAGGING_ATTEMPTS: i64 = 7;

/// Why a task did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// Its condition does not hold yet. Run it again after this time.
    #[error("it is too early")]
    TooEarly(Duration),
    /// The database or the object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// GitHub refused a call or did not answer.
    #[error(transparent)]
    GitHub(#[from] GitHubError),
    /// A panic, which is a defect in Pacegate, or a cancelled computation.
    #[error("a computation panicked or was cancelled; a panic is a defect of Pacegate, please report it")]
    Computation(#[from] tokio::task::JoinError),
    /// Stored data is not readable: written by a newer version, or a defect in Pacegate.
    #[error("stored data can't be read; was it written by a newer version of Pacegate?")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl TaskError {
    /// The settlement of a failed attempt. `attempts` counts from 1; the task was pushed at `created_at`.
    pub(super) fn settlement(
        &self,
        attempts: i64,
        created_at: Timestamp,
        rng: &Randomness,
        now: Timestamp,
    ) -> Settlement {
        let text = error_chain(self);
        match self {
            Self::TooEarly(after) => Settlement::Postpone(*after),
            Self::Unreadable(_)
            | Self::Store(StoreError::Unreadable { .. } | StoreError::Url(_) | StoreError::TracesUrl(_)) => {
                Settlement::Dead(text)
            }
            Self::Store(_) | Self::Computation(_) => Settlement::Retry(backoff(attempts, rng), text),
            Self::GitHub(error) => match error.retry_class() {
                // Waiting as GitHub asks does not count as a failure: an hour of it must not dead-letter
                // a task.
                RetryClass::After(wait) => Settlement::PutOff(now.after(wait), text),
                RetryClass::At(until) => Settlement::PutOff(until, text),
                // The first attempts grow the delay. The others are kept for crashes of the process.
                RetryClass::Outage if attempts >= OUTAGE_ATTEMPTS && now.since(created_at) < OUTAGE => {
                    Settlement::PutOff(now.after(backoff(attempts, rng)), text)
                }
                RetryClass::Outage | RetryClass::Backoff => Settlement::Retry(backoff(attempts, rng), text),
                RetryClass::Never if may_lag(error) && attempts < LAGGING_ATTEMPTS => {
                    Settlement::Retry(backoff(attempts, rng), text)
                }
                RetryClass::Never => Settlement::Dead(text),
            },
        }
    }

    /// Delay before a caller without a queue should retry. `None`: it should give up. `failures` counts
    /// from 1 and restarts after each success.
    #[must_use]
    pub fn pause(&self, failures: i64, rng: &Randomness, now: Timestamp) -> Option<Duration> {
        match self.settlement(failures, now, rng, now) {
            Settlement::Postpone(after) => Some(after),
            Settlement::PutOff(until, _) => Some(until.since(now)),
            Settlement::Retry(after, _) if failures < TRIES_WITHOUT_QUEUE => Some(after),
            Settlement::Retry(..) | Settlement::Dead(_) | Settlement::Done => None,
        }
    }
}

/// GitHub's reads lag behind its events. An object that is missing, or not accepted, may be there in a
/// minute.
fn may_lag(error: &GitHubError) -> bool {
    matches!(error, GitHubError::NotFound { .. } | GitHubError::Refused { status: 422, .. })
}

/// 1, 2, 4 … seconds, at most five minutes. Up to a quarter of that, at most 15 seconds, is added, so that
/// tasks that failed together do not return together.
fn backoff(attempt: i64, rng: &Randomness) -> Duration {
    let doublings = u32::try_from((attempt - 1).clamp(0, 9)).unwrap_or(0);
    let delay = Duration::from_secs(1 << doublings).min(Duration::from_mins(5));
    delay + jitter(delay, rng)
}

fn jitter(delay: Duration, rng: &Randomness) -> Duration {
    let [byte] = rng.bytes::<1>();
    delay.min(Duration::from_mins(1)) * u32::from(byte) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);
    const MAX_ATTEMPTS: i64 = 30;

    fn settled(error: GitHubError, attempts: i64, age: Duration) -> Settlement {
        TaskError::GitHub(error).settlement(attempts, NOW.before(age), &Randomness::seeded(7), NOW)
    }

    fn refused(status: u16) -> GitHubError {
        GitHubError::Refused { call: "POST /x".into(), status, message: "no".into() }
    }

    fn down() -> GitHubError {
        GitHubError::Unavailable { call: "POST /x".into(), reason: "502".into() }
    }

    #[test]
    fn rate_limit_delays_do_not_count_as_failures() {
        let wait = Duration::from_mins(7);
        for attempts in [1, 30, 1_000] {
            let limited = GitHubError::RateLimited { call: "POST /x".into(), wait };
            let until = NOW.after(wait);
            assert!(matches!(settled(limited, attempts, wait), Settlement::PutOff(at, _) if at == until));
            let postponed = GitHubError::Postponed { call: "POST /x".into(), until };
            assert!(matches!(settled(postponed, attempts, wait), Settlement::PutOff(at, _) if at == until));
        }
    }

    #[test]
    fn refusals_that_may_lag_are_retried() {
        let soon = Duration::from_secs(5);
        assert!(matches!(settled(refused(422), 3, soon), Settlement::Retry(..)));
        assert!(matches!(settled(refused(422), 7, soon), Settlement::Dead(text) if text.contains("422")));
        assert!(matches!(settled(refused(403), 3, soon), Settlement::Dead(_)));
    }

    /// Simulates an outage in which every attempt fails. Counts the calls of the first hour, and checks
    /// that the task survives a day.
    #[test]
    fn outage_keeps_tasks_for_a_day() {
        let rng = Randomness::seeded(7);
        let (mut attempts, mut tried, mut age) = (1, 0, Duration::ZERO);
        let mut tried_in_the_first_hour = 0;
        loop {
            let settlement = TaskError::GitHub(down()).settlement(attempts, NOW.before(age), &rng, NOW);
            tried += 1;
            let delay = match settlement {
                Settlement::Retry(after, _) if attempts < MAX_ATTEMPTS => {
                    attempts += 1;
                    after
                }
                Settlement::PutOff(until, _) => until.since(NOW),
                other => {
                    assert!(matches!(other, Settlement::Retry(..)), "given up by its attempts: {other:?}");
                    break;
                }
            };
            assert!(delay <= Duration::from_secs(315), "attempt {tried} waits {delay:?}");
            age += delay;
            if age <= Duration::from_hours(1) {
                tried_in_the_first_hour = tried;
            }
        }
        assert!(age > OUTAGE, "given up after {age:?}");
        assert!((15..30).contains(&tried_in_the_first_hour), "{tried_in_the_first_hour} calls in an hour");
    }

    #[test]
    fn backoff_grows_to_five_minutes() {
        let rng = Randomness::seeded(7);
        let delays: Vec<Duration> = (1..=30).map(|attempt| backoff(attempt, &rng)).collect();
        assert!(delays.windows(2).take(7).all(|pair| pair[0] < pair[1]), "{delays:?}");
        assert!(delays.iter().all(|d| *d <= Duration::from_secs(315)), "{delays:?}");
        assert!(delays.iter().sum::<Duration>() > Duration::from_hours(1), "{delays:?}");
    }
}
