//! The job queue: one table, one SQL text for both databases. A job is delivered at least
//! once: its lease is `visible_at` in the future plus the token of the process that holds it,
//! and a settlement counts only from the holder of both token and attempt.
//!
//! Times come from the caller's clock. Processes may disagree by less than a lease (a minute)
//! before one could take a job that another still runs; the fence keeps even that harmless.

use std::time::Duration;

use super::{StoreError, Tx, on_db};
use pacegate_clock::Randomness;
use pacegate_engine::model::time::Timestamp;

/// A job to push.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// What is to be done: the name of a job of `jobs/`.
    pub kind: &'static str,
    /// Its parameters, as JSON.
    pub payload: String,
    /// A second job of this kind and key is not pushed, until done jobs are swept.
    pub dedupe_key: Option<String>,
    /// Jobs of one serial key run one at a time.
    pub serial_key: Option<String>,
    /// Not before.
    pub run_at: Timestamp,
    /// Whether others go before it.
    pub priority: Priority,
    /// After so many attempts it is dead: people have to look.
    pub max_attempts: i64,
}

/// Which of the jobs that are due goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    /// In the order of their time.
    #[default]
    Usual,
    /// After all usual ones: one of a mass.
    Low,
}

impl Priority {
    /// As the table has it.
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Usual => 0,
            Self::Low => 1,
        }
    }
}

/// A job this process may run until its lease ends.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct ClaimedTask {
    /// Identifier.
    pub job_id: String,
    /// What is to be done.
    pub kind: String,
    /// Its parameters, as JSON.
    pub payload: String,
    /// This attempt's number, from 1.
    pub attempts: i64,
    /// After so many it is dead.
    pub max_attempts: i64,
    /// When it was pushed (µs since the epoch).
    pub created_at: i64,
}

/// One attempt of one job: what a lease is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt {
    /// The job.
    pub job_id: String,
    /// The attempt's number, from 1.
    pub number: i64,
}

impl ClaimedTask {
    /// This attempt.
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        Attempt { job_id: self.job_id.clone(), number: self.attempts }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// It is done.
    Done,
    /// It was too early: again later, and this attempt does not count.
    Postpone(Duration),
    /// It may not run before this time, for this reason; this attempt does not count. Jobs that
    /// are put off to one time stay in their order of age.
    PutOff(Timestamp, String),
    /// It failed and may succeed later.
    Retry(Duration, String),
    /// It can't succeed.
    Dead(String),
}

/// The token under which a process holds its jobs: random, new at each start, so that a
/// restarted process never mistakes its predecessor's jobs for its own.
#[derive(Debug, Clone)]
pub struct LeaseToken(pub(super) String);

impl LeaseToken {
    /// A new token.
    #[must_use]
    pub fn new(rng: &Randomness) -> Self {
        Self(hex::encode(rng.bytes::<16>()))
    }
}

/// A job that was given up, for people.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DeadTask {
    /// Identifier.
    pub job_id: String,
    /// What was to be done.
    pub kind: String,
    /// Attempts made.
    pub attempts: i64,
    /// Why the last one failed.
    pub last_error: Option<String>,
}

/// How many jobs there are, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct TaskCounts {
    /// Waiting or running.
    pub open: i64,
    /// Given up.
    pub dead: i64,
}

impl Tx {
    /// Settles an attempt. `false`: the lease was lost, somebody else runs the job now.
    pub async fn settle_task(
        &mut self,
        token: &LeaseToken,
        job: &ClaimedTask,
        settlement: &Settlement,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        // An error may quote anything; a text of PostgreSQL holds no zero byte.
        let kept = |error: &String| Some(error.replace('\0', "\u{fffd}"));
        let (state, visible_at, given_back, error) = match settlement {
            Settlement::Done => (2_i64, now, 0_i64, None),
            Settlement::Postpone(after) => (0, now.after(*after), 1, None),
            Settlement::PutOff(until, reason) => (0, *until, 1, kept(reason)),
            Settlement::Retry(after, error) if job.attempts < job.max_attempts => {
                (0, now.after(*after), 0, kept(error))
            }
            Settlement::Retry(_, error) | Settlement::Dead(error) => (3, now, 0, kept(error)),
        };
        let settled = on_db!(self, conn => {
            sqlx::query(
                "UPDATE jobs SET token = NULL, running_key = NULL, state = $1, visible_at = $2,
                    attempts = attempts - $3, last_error = COALESCE($4, last_error)
                 WHERE job_id = $5 AND token = $6 AND attempts = $7 AND state = 0",
            )
            .bind(state)
            .bind(visible_at.0)
            .bind(given_back)
            .bind(error)
            .bind(&job.job_id)
            .bind(&token.0)
            .bind(job.attempts)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        });
        match settlement {
            Settlement::Postpone(after) | Settlement::Retry(after, _) => self.task_due(*after),
            Settlement::PutOff(until, _) => self.task_due(until.since(now)),
            Settlement::Done | Settlement::Dead(_) => {}
        }
        Ok(settled == 1)
    }

    /// Jobs given up, newest first.
    pub async fn dead_jobs(&mut self, limit: i64) -> Result<Vec<DeadTask>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as(
                "SELECT job_id, kind, attempts, last_error FROM jobs WHERE state = 3
                 ORDER BY visible_at DESC LIMIT $1",
            )
            .bind(limit)
            .fetch_all(&mut *conn)
            .await?
        }))
    }

    /// How many jobs are open and dead.
    pub async fn count_tasks(&mut self) -> Result<TaskCounts, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as(
                "SELECT (SELECT COUNT(*) FROM jobs WHERE state = 0) AS open,
                        (SELECT COUNT(*) FROM jobs WHERE state = 3) AS dead",
            )
            .fetch_one(&mut *conn)
            .await?
        }))
    }

    /// Lets every dead job run again, with all its attempts.
    pub async fn revive_dead_tasks(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query("UPDATE jobs SET state = 0, attempts = 0, visible_at = $1 WHERE state = 3")
                .bind(now.0)
                .execute(&mut *conn)
                .await?
                .rows_affected()
        }))
    }

    /// Lets a dead job of this kind and key run again. `false`: there is none.
    pub async fn revive_task(
        &mut self,
        kind: &str,
        dedupe_key: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let revived = on_db!(self, conn => {
            sqlx::query(
                "UPDATE jobs SET state = 0, attempts = 0, visible_at = $1
                 WHERE kind = $2 AND dedupe_key = $3 AND state = 3",
            )
            .bind(now.0)
            .bind(kind)
            .bind(dedupe_key)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }) > 0;
        if revived {
            self.task_due(Duration::ZERO);
        }
        Ok(revived)
    }

    /// Lets a job of this kind and key that was done or given up run again. `false`: there is
    /// none, or it waits or runs anyway.
    pub async fn reopen_task(
        &mut self,
        kind: &str,
        dedupe_key: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let reopened = on_db!(self, conn => {
            sqlx::query(
                "UPDATE jobs SET state = 0, attempts = 0, visible_at = $1
                 WHERE kind = $2 AND dedupe_key = $3 AND state IN (2, 3)",
            )
            .bind(now.0)
            .bind(kind)
            .bind(dedupe_key)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }) > 0;
        if reopened {
            self.task_due(Duration::ZERO);
        }
        Ok(reopened)
    }

    /// Jobs that wait for their time, with their parameters, the next ones first.
    pub async fn jobs_to_come(
        &mut self,
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<(String, String)>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as(
                "SELECT job_id, payload FROM jobs WHERE state = 0 AND token IS NULL AND visible_at > $1
                 ORDER BY visible_at LIMIT $2",
            )
            .bind(now.0)
            .bind(limit)
            .fetch_all(&mut *conn)
            .await?
        }))
    }

    /// What a job waited for is there: it is due. One that was taken meanwhile stays as it is.
    pub async fn wake_task(&mut self, job_id: &str, now: Timestamp) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query("UPDATE jobs SET visible_at = $1 WHERE job_id = $2 AND state = 0 AND token IS NULL")
                .bind(now.0)
                .bind(job_id)
                .execute(&mut *conn)
                .await?;
        });
        self.task_due(Duration::ZERO);
        Ok(())
    }

    /// Deletes done jobs that ended before a time; with them their dedupe keys are forgotten.
    pub async fn sweep_done_tasks(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query("DELETE FROM jobs WHERE state = 2 AND visible_at < $1")
                .bind(before.0)
                .execute(&mut *conn)
                .await?
                .rows_affected()
        }))
    }

    pub(super) async fn extend_lease(
        &mut self,
        token: &LeaseToken,
        attempt: &Attempt,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let extended = on_db!(self, conn => {
            sqlx::query(
                "UPDATE jobs SET visible_at = $1
                 WHERE job_id = $2 AND token = $3 AND attempts = $4 AND state = 0",
            )
            .bind(until.0)
            .bind(&attempt.job_id)
            .bind(&token.0)
            .bind(attempt.number)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        });
        Ok(extended == 1)
    }

    /// Gives back every job this process holds, as if it had never taken them: they are due at
    /// once, in their order of age, so that none is passed by a later one of its serial key.
    pub async fn release_tasks(&mut self, token: &LeaseToken, now: Timestamp) -> Result<u64, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query(
                "UPDATE jobs SET token = NULL, running_key = NULL, attempts = attempts - 1,
                    visible_at = CASE WHEN created_at < $1 THEN created_at ELSE $1 END
                 WHERE token = $2 AND state = 0",
            )
            .bind(now.0)
            .bind(&token.0)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }))
    }

    /// Attempts are counted at the claim, so a job that kills its process is buried too.
    pub(super) async fn bury_expired(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query(
                "UPDATE jobs SET state = 3, token = NULL, running_key = NULL, visible_at = $1,
                    last_error = COALESCE(last_error, 'the process ended while it ran this job for the last time')
                 WHERE state = 0 AND visible_at <= $1 AND attempts >= max_attempts",
            )
            .bind(now.0)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }))
    }
}
