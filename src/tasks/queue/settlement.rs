//! Why a job did not do its work, and what becomes of it then: the one place that decides between
//! again, later and never. Pure: the time and chance are parameters.

use std::time::Duration;

use crate::tasks::error_chain;
use pacegate_clock::Randomness;
use pacegate_engine::model::time::Timestamp;
use pacegate_github::{GitHubError, RetryClass};
use pacegate_store::{ClaimedTask, Settlement, StoreError};

/// Why a job did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
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

impl TaskError {
    /// What becomes of the job. The only place that decides between again and never.
    pub(in crate::tasks) fn settlement(
        &self,
        job: &ClaimedTask,
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
            Self::Store(_) | Self::Computation(_) => Settlement::Retry(backoff(job.attempts, rng), text),
            Self::GitHub(error) => match error.retry_class() {
                // Waiting as GitHub asks is no failure: an hour of it must not bury a job.
                RetryClass::After(wait) => Settlement::PutOff(now.after(wait), text),
                RetryClass::At(until) => Settlement::PutOff(until, text),
                // The doubling needs its first attempts; the rest is kept for what ends processes.
                RetryClass::Outage
                    if job.attempts >= OUTAGE_ATTEMPTS && now.since(Timestamp(job.created_at)) < OUTAGE =>
                {
                    Settlement::PutOff(now.after(backoff(job.attempts, rng)), text)
                }
                RetryClass::Outage | RetryClass::Backoff => {
                    Settlement::Retry(backoff(job.attempts, rng), text)
                }
                // GitHub's reads lag behind its events: what it does not know yet, or does not
                // take yet, it may in a minute.
                RetryClass::Never if is_early(error) && job.attempts < 7 => {
                    Settlement::Retry(backoff(job.attempts, rng), text)
                }
                RetryClass::Never => Settlement::Dead(text),
            },
        }
    }
}

/// An outage of GitHub's buries no job before this.
const OUTAGE: Duration = Duration::from_hours(24);
/// By then an outage's delays have grown to their five minutes.
const OUTAGE_ATTEMPTS: i64 = 10;

impl TaskError {
    /// After how long it is worth another try, for who has no queue; none when it is not. `failures`
    /// counts from 1 and starts again with each success.
    #[must_use]
    pub fn pause(&self, failures: i64, rng: &Randomness, now: Timestamp) -> Option<Duration> {
        let job = ClaimedTask {
            job_id: String::new(),
            kind: String::new(),
            payload: String::new(),
            attempts: failures,
            max_attempts: TRIES_WITHOUT_QUEUE,
            created_at: now.0,
        };
        match self.settlement(&job, rng, now) {
            Settlement::Postpone(after) => Some(after),
            Settlement::PutOff(until, _) => Some(until.since(now)),
            Settlement::Retry(after, _) if failures < TRIES_WITHOUT_QUEUE => Some(after),
            Settlement::Retry(..) | Settlement::Dead(_) | Settlement::Done => None,
        }
    }
}

/// Somebody sits before it: it is told sooner.
const TRIES_WITHOUT_QUEUE: i64 = 5;

/// An answer that may be different in a minute, although it sounds final.
fn is_early(error: &GitHubError) -> bool {
    matches!(error, GitHubError::NotFound { .. } | GitHubError::Refused { status: 422, .. })
}

/// 1, 2, 4 … seconds, at most five minutes, and up to a quarter more, so that jobs that failed
/// together do not come back together.
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

    /// A job at this attempt, pushed so long ago.
    fn claimed(attempts: i64, age: Duration) -> ClaimedTask {
        let created_at = NOW.before(age).0;
        let (job_id, kind, payload) = ("j".into(), "k".into(), "{}".into());
        ClaimedTask { job_id, kind, payload, attempts, max_attempts: 30, created_at }
    }

    fn settled(error: GitHubError, attempts: i64, age: Duration) -> Settlement {
        TaskError::GitHub(error).settlement(&claimed(attempts, age), &Randomness::seeded(7), NOW)
    }

    fn refused(status: u16) -> GitHubError {
        GitHubError::Refused { call: "POST /x".into(), status, message: "no".into() }
    }

    fn down() -> GitHubError {
        GitHubError::Unavailable { call: "POST /x".into(), reason: "502".into() }
    }

    #[test]
    fn github_s_own_delay_is_kept_and_is_no_failure() {
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
    fn refusals_are_final_but_for_reads_that_lag_behind_events() {
        let soon = Duration::from_secs(5);
        assert!(matches!(settled(refused(422), 3, soon), Settlement::Retry(..)));
        assert!(matches!(settled(refused(422), 7, soon), Settlement::Dead(text) if text.contains("422")));
        assert!(matches!(settled(refused(403), 3, soon), Settlement::Dead(_)));
    }

    /// A job that meets GitHub down at every attempt: how often it tries in an outage, and that
    /// it is still there after it.
    #[test]
    fn an_outage_buries_no_job_before_a_day() {
        let rng = Randomness::seeded(7);
        let (mut attempts, mut tried, mut age) = (1, 0, Duration::ZERO);
        let mut tried_in_the_first_hour = 0;
        loop {
            let settlement = TaskError::GitHub(down()).settlement(&claimed(attempts, age), &rng, NOW);
            tried += 1;
            let delay = match settlement {
                Settlement::Retry(after, _) if attempts < 30 => {
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
    fn delays_grow_to_five_minutes_and_last_longer_than_an_hour() {
        let rng = Randomness::seeded(7);
        let delays: Vec<Duration> = (1..=30).map(|attempt| backoff(attempt, &rng)).collect();
        assert!(delays.windows(2).take(7).all(|pair| pair[0] < pair[1]), "{delays:?}");
        assert!(delays.iter().all(|d| *d <= Duration::from_secs(315)), "{delays:?}");
        assert!(delays.iter().sum::<Duration>() > Duration::from_hours(1), "{delays:?}");
    }
}
