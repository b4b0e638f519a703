//! What a worker runs: one file for each job. Here are the closed set of jobs, how they are
//! pushed, and the one place that decides whether an error means trying again.

mod announce_check;
mod collect_run;
mod conclude_silent_check;
mod contents;
mod evaluate_head;
mod handle_delivery;
mod locations;
mod policy;
mod publish_comment;
mod publish_comparison;
mod publishing;
mod retain;
pub mod worker;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Randomness};
use crate::github::app_auth::App;
use crate::github::{GitHubError, RetryClass};
use crate::metrics::Metrics;
use crate::model::ids::{CommitSha, ComparisonId, PrNumber, RepoId, RepoName, TraceId};
use crate::model::time::Timestamp;
use crate::report::{Report, ReportContext};
use crate::store::traces::TraceStore;
use crate::store::{ClaimedJob, ComparisonRow, Db, NewJob, Settlement, StoreError, Tx};

/// Everything a job may use.
#[derive(Debug, Clone)]
pub struct Work {
    /// The database.
    pub db: Db,
    /// Raw traces.
    pub traces: TraceStore,
    /// GitHub; none in local mode.
    pub app: Option<App>,
    /// The time.
    pub clock: Clock,
    /// Chance.
    pub chance: Randomness,
    /// Counters.
    pub metrics: Metrics,
    /// How long a run has to be quiet after its root span.
    pub settle: Duration,
    /// How long a check waits for a trace.
    pub check_timeout: Duration,
    /// How long a job is a process's own without a sign of life.
    pub lease: Duration,
    /// Branch of the baseline where GitHub does not say it.
    pub base_branch: Option<String>,
    /// Where people reach the pages.
    pub public_url: Option<String>,
}

impl Work {
    /// The absolute address of a comparison's page, when people can reach it.
    #[must_use]
    pub fn page_url(&self, repo: &RepoName, id: &ComparisonId) -> Option<String> {
        let base = self.public_url.as_deref()?.trim_end_matches('/');
        Some(format!("{base}/{repo}/comparisons/{id}"))
    }

    /// The report of a stored comparison: the one that is published, shown and handed out.
    #[must_use]
    pub fn report(&self, repo: &RepoName, row: ComparisonRow) -> Report {
        let policy = &row.comparison.policy;
        let context = ReportContext {
            mode: policy.mode,
            comment: policy.comment,
            pull_request: row.pull_request,
            page_url: self.page_url(repo, &row.id),
        };
        Report::new(row.comparison, context)
    }
}

/// A job, with its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub enum Job {
    /// Act on a webhook delivery.
    HandleDelivery {
        /// Which.
        delivery_id: String,
        /// What it is about: deliveries about one thing are handled one at a time, so that the
        /// one that asked GitHub last also writes last.
        subject: String,
    },
    /// Make a run of the spans that were pushed.
    CollectRun {
        /// Whose.
        repo: RepoId,
        /// Which trace.
        trace: TraceId,
        /// How often it was collected before.
        collections: i64,
    },
    /// Judge a head.
    EvaluateHead {
        /// Where.
        repo: RepoId,
        /// Which.
        head_sha: CommitSha,
        /// What made it necessary: a second push for the same reason is not needed.
        cause: String,
    },
    /// Show on GitHub that a head's check is on its way.
    AnnounceCheck {
        /// Where.
        repo: RepoId,
        /// Which.
        head_sha: CommitSha,
        /// Which evaluation.
        evaluation: i64,
    },
    /// Put the newest comparison of a head on GitHub.
    PublishComparison {
        /// Where.
        repo: RepoId,
        /// Which.
        head_sha: CommitSha,
        /// The comparison that made it necessary.
        comparison: ComparisonId,
        /// What made that necessary: equal comparisons for another reason are published again.
        cause: String,
    },
    /// Put what the newest head's comparison says into the pull request's one comment.
    PublishComment {
        /// Where.
        repo: RepoId,
        /// Which pull request.
        number: PrNumber,
        /// The comparison that made it necessary.
        comparison: ComparisonId,
        /// What made that necessary.
        cause: String,
    },
    /// Conclude a check no trace came for.
    ConcludeSilentCheck {
        /// Where.
        repo: RepoId,
        /// Which.
        head_sha: CommitSha,
        /// Which evaluation.
        evaluation: i64,
    },
}

impl Job {
    /// The name under which it is stored and counted.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::HandleDelivery { .. } => "handle_delivery",
            Self::CollectRun { .. } => "collect_run",
            Self::EvaluateHead { .. } => "evaluate_head",
            Self::AnnounceCheck { .. } => "announce_check",
            Self::PublishComparison { .. } => "publish_comparison",
            Self::PublishComment { .. } => "publish_comment",
            Self::ConcludeSilentCheck { .. } => "conclude_silent_check",
        }
    }

    /// Two pushes with one key are one job.
    fn dedupe_key(&self) -> String {
        match self {
            Self::HandleDelivery { delivery_id, .. } => delivery_id.clone(),
            Self::CollectRun { repo, trace, collections } => format!("{}:{trace}:{collections}", repo.0),
            Self::EvaluateHead { repo, head_sha, cause } => format!("{}:{head_sha}:{cause}", repo.0),
            Self::PublishComparison { repo, comparison, cause, .. } => {
                format!("{}:{comparison}:{cause}", repo.0)
            }
            Self::PublishComment { repo, number, comparison, cause } => {
                format!("{}:{}:{comparison}:{cause}", repo.0, number.0)
            }
            Self::AnnounceCheck { repo, head_sha, evaluation }
            | Self::ConcludeSilentCheck { repo, head_sha, evaluation } => {
                format!("{}:{head_sha}:{evaluation}", repo.0)
            }
        }
    }

    /// Attempts after which a job is dead. With the delays below thirty are almost two hours;
    /// what ends a check's waiting does not give up for days.
    fn max_attempts(&self) -> i64 {
        match self {
            Self::ConcludeSilentCheck { .. } => 1_000,
            _ => 30,
        }
    }

    /// Jobs that write about one head, or make its verdict, run one at a time.
    fn serial_key(&self) -> Option<String> {
        match self {
            Self::HandleDelivery { subject, .. } => Some(format!("delivery:{subject}")),
            Self::CollectRun { .. } => None,
            Self::PublishComment { repo, number, .. } => Some(format!("comment:{}:{}", repo.0, number.0)),
            Self::EvaluateHead { repo, head_sha, .. } => Some(format!("evaluate:{}:{head_sha}", repo.0)),
            Self::AnnounceCheck { repo, head_sha, .. }
            | Self::PublishComparison { repo, head_sha, .. }
            | Self::ConcludeSilentCheck { repo, head_sha, .. } => {
                Some(format!("publish:{}:{head_sha}", repo.0))
            }
        }
    }

    /// Pushes the job as part of a transaction. `false`: the same job was pushed before.
    pub async fn push(
        &self,
        tx: &mut Tx,
        run_at: Timestamp,
        chance: &Randomness,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let job = NewJob {
            kind: self.kind(),
            payload: serde_json::to_string(self).unwrap_or_default(),
            dedupe_key: Some(self.dedupe_key()),
            serial_key: self.serial_key(),
            run_at,
            max_attempts: self.max_attempts(),
        };
        tx.push_job(&job, chance, now).await
    }

    /// Lets the same job run again if it was given up.
    pub async fn revive(&self, tx: &mut Tx, now: Timestamp) -> Result<bool, StoreError> {
        tx.revive_job(self.kind(), &self.dedupe_key(), now).await
    }
}

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
    fn settlement(&self, job: &ClaimedJob, chance: &Randomness) -> Settlement {
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

/// Runs one job.
async fn run(work: &Work, job: Job) -> Result<(), JobError> {
    let result = match job {
        Job::HandleDelivery { delivery_id, .. } => handle_delivery::handle_delivery(work, &delivery_id).await,
        Job::CollectRun { repo, trace, .. } => collect_run::collect_run(work, repo, trace).await,
        Job::EvaluateHead { repo, head_sha, cause } => {
            evaluate_head::evaluate_head(work, repo, &head_sha, cause).await
        }
        Job::AnnounceCheck { repo, head_sha, evaluation } => {
            announce_check::announce_check(work, repo, &head_sha, evaluation).await
        }
        Job::PublishComparison { repo, head_sha, cause, .. } => {
            publish_comparison::publish_comparison(work, repo, &head_sha, &cause).await
        }
        Job::PublishComment { repo, number, .. } => {
            publish_comment::publish_comment(work, repo, number).await
        }
        Job::ConcludeSilentCheck { repo, head_sha, evaluation } => {
            conclude_silent_check::conclude_silent_check(work, repo, &head_sha, evaluation).await
        }
    };
    if let (Err(JobError::GitHub(GitHubError::Refused { status: 401, .. })), Some(app)) = (&result, &work.app)
    {
        // A token was revoked before its time: the next attempt mints its own.
        app.forget_tokens();
    }
    result
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

    #[test]
    fn jobs_survive_their_storage() {
        let job = Job::CollectRun {
            repo: RepoId(1),
            trace: TraceId::from_bytes(&[7; 16]).expect("an id"),
            collections: 0,
        };
        let text = serde_json::to_string(&job).expect("writable");
        assert_eq!(serde_json::from_str::<Job>(&text).expect("readable"), job);
    }
}
