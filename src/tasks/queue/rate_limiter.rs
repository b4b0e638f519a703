//! The rate limiter of calls to GitHub, shared by all processes through the database. A limit that
//! GitHub reports to one process holds for all. Writes to one installation go one at a time, with a
//! pause between them, and up to a number per hour. A long wait is refused. No transaction is open during a wait.

mod waits;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use self::waits::{WRITE_POLL, WRITE_WINDOW, earliest, is_worth_recording, wait_for};
use crate::tasks::error_chain;
use pacegate_clock::{Clock, Randomness};
use pacegate_engine::model::ids::InstallationId;
use pacegate_engine::model::time::Timestamp;
use pacegate_github::rate_limiter::{
    CallKind, CallResult, HourlyQuota, LimiterFuture, Permit, RateLimitError, RateLimiter,
};
use pacegate_store::{Db, StoreError};

/// Longest wait inside the process. A longer one is refused, and the task is put off.
const LONGEST_SLEEP: Duration = Duration::from_secs(2);
/// Latest time that is given to a write which has to wait for others.
const LATEST_SLOT: Duration = Duration::from_mins(5);
/// Writes are counted in periods of this length.
const PERIOD: Duration = Duration::from_mins(5);
/// Time between the timeout of a call and the end of its lease.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// Limits of the writes to one installation. GitHub's documentation asks for one write at a time, a
/// second apart, and at most 80 a minute and 500 an hour of requests that create content.
#[derive(Debug, Clone, Copy)]
pub struct WriteLimits {
    /// From the end of one write to the start of the next.
    pub spacing: Duration,
    /// Writes in an hour.
    pub an_hour: u32,
    /// Timeout of a call. After it, the lease of a write whose process died expires.
    pub call_timeout: Duration,
}

/// The rate limiter of one process.
#[derive(Debug)]
pub struct DatabaseRateLimiter {
    db: Db,
    clock: Clock,
    rng: Randomness,
    limits: WriteLimits,
    installations: Mutex<HashMap<InstallationId, LocalState>>,
}

/// State of an installation in this process.
#[derive(Debug, Clone, Default)]
struct LocalState {
    /// Queue of the writers of this process.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Number of writers in the queue.
    waiting: Arc<AtomicUsize>,
    /// The last time that was given to a refused write.
    last_slot: Option<Timestamp>,
    /// In force as soon as an answer was read, before it is stored.
    closed_until: Option<Timestamp>,
    /// The remaining calls that were stored last.
    recorded: Option<HourlyQuota>,
}

impl DatabaseRateLimiter {
    /// A rate limiter on this database.
    #[must_use]
    pub fn new(db: Db, clock: Clock, rng: Randomness, limits: WriteLimits) -> Self {
        Self { db, clock, rng, limits, installations: Mutex::default() }
    }

    fn local(&self, installation: InstallationId) -> LocalState {
        let mut known = self.installations.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(installation).or_default().clone()
    }

    fn update_local(&self, installation: InstallationId, change: impl FnOnce(&mut LocalState)) {
        let mut known = self.installations.lock().unwrap_or_else(PoisonError::into_inner);
        change(known.entry(installation).or_default());
    }

    fn check_local(&self, installation: InstallationId, now: Timestamp) -> Result<(), RateLimitError> {
        match self.local(installation).closed_until {
            Some(until) if until > now => Err(RateLimitError::RetryAt(until)),
            _ => Ok(()),
        }
    }

    /// The time for a write that can't go soon. Each such write gets its own time, the length of a write
    /// after the one before, so that refused writes return one by one and in their order.
    fn next_slot(&self, installation: InstallationId, now: Timestamp) -> Timestamp {
        let step = self.limits.spacing + self.limits.spacing / 4 + WRITE_POLL;
        let mut slot = now;
        self.update_local(installation, |local| {
            let last = local.last_slot.unwrap_or(now).max(now.after(self.limits.spacing));
            slot = last.after(step).min(now.after(LATEST_SLOT));
            local.last_slot = Some(slot);
        });
        slot
    }

    async fn check_stored(&self, installation: InstallationId, kind: CallKind) -> Result<(), RateLimitError> {
        let now = self.clock.now();
        self.check_local(installation, now)?;
        let mut tx = self.db.read().await.map_err(unavailable)?;
        let Some(row) = tx.github_rate_limit(installation).await.map_err(unavailable)? else {
            return Ok(());
        };
        let writes = match kind {
            CallKind::Read => (0, None),
            CallKind::Write => {
                tx.github_writes_since(installation, now.before(WRITE_WINDOW)).await.map_err(unavailable)?
            }
        };
        drop(tx);
        match earliest(&row, writes, kind, self.limits, now) {
            // A read never sleeps here: only an explicit limit of GitHub can stop it.
            Some(until) if kind == CallKind::Read || until.since(now) > LONGEST_SLEEP => {
                Err(RateLimitError::RetryAt(until))
            }
            // A waiting write occupies a slot of the worker. One per installation is enough.
            _ if kind == CallKind::Write && self.local(installation).waiting.load(Ordering::Relaxed) > 0 => {
                Err(RateLimitError::RetryAt(self.next_slot(installation, now)))
            }
            _ => Ok(()),
        }
    }

    /// Takes the write lease and returns its token, or the time at which to try again.
    async fn begin_write(
        &self,
        installation: InstallationId,
    ) -> Result<Result<String, Timestamp>, StoreError> {
        let mut tx = self.db.write().await?;
        let row = tx.lock_github_rate_limit(installation, self.clock.now()).await?;
        // Read after the lock: waiting for the lock takes time too.
        let now = self.clock.now();
        let writes = tx.github_writes_since(installation, now.before(WRITE_WINDOW)).await?;
        if let Some(until) = earliest(&row, writes, CallKind::Write, self.limits, now) {
            return Ok(Err(until));
        }
        let token = hex::encode(self.rng.bytes::<8>());
        let until = now.after(self.limits.call_timeout + LEASE_MARGIN);
        let period_us = i64::try_from(PERIOD.as_micros()).unwrap_or(i64::MAX);
        let period_at = Timestamp(now.0 - now.0.rem_euclid(period_us));
        tx.begin_github_write(installation, &token, until, period_at, now.before(WRITE_WINDOW)).await?;
        tx.commit().await?;
        Ok(Ok(token))
    }

    async fn admit_write(&self, installation: InstallationId) -> Result<Permit, RateLimitError> {
        let local = self.local(installation);
        let _waiting = Waiting::new(local.waiting);
        let Ok(turn) = tokio::time::timeout(LONGEST_SLEEP, local.turn.lock_owned()).await else {
            return Err(RateLimitError::RetryAt(self.next_slot(installation, self.clock.now())));
        };
        let mut slept = Duration::ZERO;
        loop {
            let now = self.clock.now();
            self.check_local(installation, now)?;
            let until = match self.begin_write(installation).await.map_err(unavailable)? {
                Ok(token) => return Ok(Permit { lease: Some(token), local_lock: Some(turn) }),
                Err(until) => until,
            };
            let wait = until.since(now).max(Duration::from_millis(1));
            slept += wait;
            if wait > LONGEST_SLEEP {
                return Err(RateLimitError::RetryAt(until));
            }
            if slept > LONGEST_SLEEP {
                return Err(RateLimitError::RetryAt(self.next_slot(installation, now)));
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Stores what an answer says of the limits, and ends the write lease. Returns the time until which
    /// the installation is closed, if GitHub asked to wait.
    async fn record(
        &self,
        installation: InstallationId,
        lease: Option<&str>,
        result: CallResult,
        quota: Option<HourlyQuota>,
    ) -> Result<Option<Timestamp>, StoreError> {
        let mut tx = self.db.write().await?;
        let row = tx.lock_github_rate_limit(installation, self.clock.now()).await?;
        let now = self.clock.now();
        let closed = result.wait.map(|limit| {
            let (wait, limits) = wait_for(limit, row.unsaid_limits);
            (now.after(wait + self.jitter(wait)), limits)
        });
        // No call of this hour is left: the next one would be refused.
        let spent = result.quota.filter(|quota| quota.remaining == 0 && quota.reset_at > now);
        // Bounded to a little more than an hour: a wrong header must not close the installation for longer.
        let latest = now.after(WRITE_WINDOW);
        let spent =
            spent.map(|quota| (quota.reset_at.after(Duration::from_secs(1)).min(latest), row.unsaid_limits));
        if let Some((until, limits)) = closed.or(spent) {
            tx.close_installation(installation, until, limits).await?;
        }
        if let Some(token) = lease {
            let next = now.after(self.limits.spacing);
            tx.end_github_write(installation, token, next, result.succeeded).await?;
        }
        if let Some(quota) = quota {
            tx.record_hour_of_calls(installation, quota.limit, quota.remaining, quota.reset_at).await?;
        }
        tx.commit().await?;
        Ok(closed.map(|(until, _)| until))
    }

    /// Added once to the wait of the whole installation, so that its tasks return in their order.
    fn jitter(&self, wait: Duration) -> Duration {
        let [byte] = self.rng.bytes::<1>();
        wait.min(Duration::from_mins(1)) * u32::from(byte) / 2_048
    }

    /// Returns the wait of the installation, if GitHub asked for one.
    async fn report_call(
        &self,
        installation: InstallationId,
        permit: Permit,
        result: CallResult,
    ) -> Option<Duration> {
        let now = self.clock.now();
        let least = result.wait.map(|limit| wait_for(limit, 0).0);
        if let Some(wait) = least {
            let until = Some(now.after(wait));
            self.update_local(installation, |local| local.closed_until = local.closed_until.max(until));
        }
        let quota =
            result.quota.filter(|quota| is_worth_recording(self.local(installation).recorded, *quota));
        let lease = permit.lease.as_deref();
        let is_spent = result.quota.is_some_and(|quota| quota.remaining == 0);
        if result.wait.is_none() && lease.is_none() && quota.is_none() && !is_spent {
            return None;
        }
        match self.record(installation, lease, result, quota).await {
            Ok(until) => {
                self.update_local(installation, |local| {
                    local.closed_until = local.closed_until.max(until);
                    local.recorded = quota.or(local.recorded);
                });
                until.map(|until| until.since(now))
            }
            Err(error) => {
                let error = error_chain(&error);
                tracing::warn!(error, "a rate limit of GitHub could not be stored for the other processes");
                least
            }
        }
    }
}

/// Counts a waiting writer until it is dropped.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn new(waiting: Arc<AtomicUsize>) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Without the database, no process can decide whether a call may go.
fn unavailable(error: StoreError) -> RateLimitError {
    RateLimitError::Unavailable(error.into())
}

impl RateLimiter for DatabaseRateLimiter {
    fn check(
        &self,
        installation: InstallationId,
        kind: CallKind,
    ) -> LimiterFuture<'_, Result<(), RateLimitError>> {
        Box::pin(self.check_stored(installation, kind))
    }

    fn acquire(
        &self,
        installation: InstallationId,
        kind: CallKind,
    ) -> LimiterFuture<'_, Result<Permit, RateLimitError>> {
        Box::pin(async move {
            match kind {
                CallKind::Read => self.check_stored(installation, kind).await.map(|()| Permit::default()),
                CallKind::Write => self.admit_write(installation).await,
            }
        })
    }

    fn release(
        &self,
        installation: InstallationId,
        permit: Permit,
        result: CallResult,
    ) -> LimiterFuture<'_, Option<Duration>> {
        Box::pin(self.report_call(installation, permit, result))
    }
}
