//! Why a job did not do its work, and what becomes of it: the one place that decides between again
//! and never, and after how long.

use std::time::Duration;

use crate::clock::Randomness;
use crate::github::{GitHubError, RetryClass};
use crate::store::{ClaimedJob, Settlement, StoreError};

/// Why a job did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It is too early.
    #[error("it is too early")]
    TooEarly(Duration),
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// GitHub could not.
    #[error(transparent)]
    GitHub(#[from] GitHubError),
    /// The computation ended without a result: a defect of ours.
    #[error("a computation ended without a result")]
    Computation(#[from] tokio::task::JoinError),
    /// What was stored can't be read any more: a defect of ours.
    #[error("what was stored can't be read")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl JobError {
    /// What becomes of the job. The only place that decides between again and never.
    pub(super) fn settlement(&self, job: &ClaimedJob, chance: &Randomness) -> Settlement {
        let text = error_chain(self);
        match self {
            Self::TooEarly(after) => Settlement::Postpone(*after),
            Self::Unreadable(_) | Self::Store(StoreError::Unreadable { .. } | StoreError::Url(_)) => {
                Settlement::Dead(text)
            }
            Self::Store(_) | Self::Computation(_) => Settlement::Retry(backoff(job.attempts, chance), text),
            Self::GitHub(error) => match error.retry_class() {
                RetryClass::After(wait) => Settlement::Retry(wait + jitter(wait, chance), text),
                RetryClass::Backoff => Settlement::Retry(backoff(job.attempts, chance), text),
                // GitHub's reads lag behind its events: what it does not know yet, or does not
                // take yet, it may in a minute.
                RetryClass::Never if is_early(error) && job.attempts < 7 => {
                    Settlement::Retry(backoff(job.attempts, chance), text)
                }
                RetryClass::Never => Settlement::Dead(text),
            },
        }
    }
}

/// An answer that may be different in a minute, although it sounds final.
fn is_early(error: &GitHubError) -> bool {
    matches!(error, GitHubError::NotFound { .. } | GitHubError::Refused { status: 422, .. })
}

/// 1, 2, 4 … seconds, at most five minutes, and up to a quarter more, so that jobs that failed
/// together do not come back together.
fn backoff(attempt: i64, chance: &Randomness) -> Duration {
    let doublings = u32::try_from((attempt - 1).clamp(0, 9)).unwrap_or(0);
    let delay = Duration::from_secs(1 << doublings).min(Duration::from_mins(5));
    delay + jitter(delay, chance)
}

fn jitter(delay: Duration, chance: &Randomness) -> Duration {
    let [byte] = chance.bytes::<1>();
    delay.min(Duration::from_mins(1)) * u32::from(byte) / 1024
}

/// An error and its causes in one line: for the log and for people who look at dead jobs.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.chars().take(2_000).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimed(attempts: i64) -> ClaimedJob {
        ClaimedJob { job_id: "j".into(), kind: "k".into(), payload: "{}".into(), attempts, max_attempts: 30 }
    }

    #[test]
    fn github_s_own_delay_is_kept_and_refusals_are_final() {
        let chance = Randomness::seeded(7);
        let settle = |error: GitHubError| JobError::GitHub(error).settlement(&claimed(3), &chance);
        let wait = Duration::from_mins(7);
        match settle(GitHubError::RateLimited { call: "POST /x".into(), wait }) {
            Settlement::Retry(after, _) => assert!(after >= wait && after < wait + Duration::from_secs(20)),
            other => panic!("{other:?}"),
        }
        let refused = || GitHubError::Refused { call: "POST /x".into(), status: 422, message: "no".into() };
        assert!(matches!(settle(refused()), Settlement::Retry(..)), "reads lag behind events");
        let late = JobError::GitHub(refused()).settlement(&claimed(7), &chance);
        assert!(matches!(late, Settlement::Dead(text) if text.contains("422")));
        let forbidden = GitHubError::Refused { call: "POST /x".into(), status: 403, message: "no".into() };
        assert!(matches!(settle(forbidden), Settlement::Dead(_)));
        let down = GitHubError::Unavailable { call: "POST /x".into(), reason: "502".into() };
        assert!(matches!(settle(down), Settlement::Retry(..)));
    }

    #[test]
    fn delays_grow_to_five_minutes_and_last_longer_than_an_hour() {
        let chance = Randomness::seeded(7);
        let delays: Vec<Duration> = (1..=30).map(|attempt| backoff(attempt, &chance)).collect();
        assert!(delays.windows(2).take(7).all(|pair| pair[0] < pair[1]), "{delays:?}");
        assert!(delays.iter().all(|d| *d <= Duration::from_secs(315)), "{delays:?}");
        assert!(delays.iter().sum::<Duration>() > Duration::from_hours(1), "{delays:?}");
    }
}
