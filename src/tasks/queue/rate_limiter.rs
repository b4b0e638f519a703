//! The gate of all calls to GitHub, on the database: what GitHub asked one process to wait for
//! all wait for, writes to an installation go one at a time, at a distance, and not more in an hour than
//! GitHub takes. What can't go soon is put off; nobody sleeps on a transaction.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::tasks::error_chain;
use pacegate_clock::{Clock, Randomness};
use pacegate_engine::model::ids::InstallationId;
use pacegate_engine::model::time::Timestamp;
use pacegate_github::rate_limiter::{
    CallFacts, CallKind, HourOfCalls, Limit, LimiterFuture, Permit, RateLimiter, Refusal, UNSAID_WAIT,
};
use pacegate_store::{Db, RateLimitRow, StoreError};

/// A wait up to this is slept through in the process; a longer one puts the job off.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a write of another process is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// The longest wait after limits without a hint.
const LONGEST_UNSAID: Duration = Duration::from_hours(1);
/// A write that others are before is not put off further.
const LONGEST_PROMISE: Duration = Duration::from_mins(5);
/// Writes are counted in periods of this length.
const PERIOD: Duration = Duration::from_mins(5);
/// An hour, and the period that may have begun before it.
const HOUR: Duration = Duration::from_mins(65);
/// Between the end of the longest call and the end of its lease.
const MARGIN: Duration = Duration::from_secs(5);

/// How an installation may be written to. GitHub's documentation: one at a time, a second
/// apart, and at most 80 a minute and 500 an hour of what makes content.
#[derive(Debug, Clone, Copy)]
pub struct WriteLimits {
    /// From the end of a write to the next.
    pub spacing: Duration,
    /// Writes in an hour.
    pub an_hour: u32,
    /// How long a call may take: a write whose process died holds its place no longer.
    pub call_timeout: Duration,
}

/// The gate of one process.
#[derive(Debug)]
pub struct DatabaseRateLimiter {
    db: Db,
    clock: Clock,
    rng: Randomness,
    limits: WriteLimits,
    installations: Mutex<HashMap<InstallationId, Here>>,
}

/// What this process knows without asking.
#[derive(Debug, Clone, Default)]
struct Here {
    /// Writers of this process, in their order.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// How many of them wait.
    waiting: Arc<AtomicUsize>,
    /// The time that was given last to one that could not wait.
    promised: Option<Timestamp>,
    /// In force from the moment the answer was read, before the database has it.
    closed_until: Option<Timestamp>,
    /// What the database was told of the hour of calls.
    recorded: Option<HourOfCalls>,
}

impl DatabaseRateLimiter {
    /// A gate on this database.
    #[must_use]
    pub fn new(db: Db, clock: Clock, rng: Randomness, limits: WriteLimits) -> Self {
        Self { db, clock, rng, limits, installations: Mutex::default() }
    }

    fn here(&self, installation: InstallationId) -> Here {
        let mut known = self.installations.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(installation).or_default().clone()
    }

    fn remember(&self, installation: InstallationId, change: impl FnOnce(&mut Here)) {
        let mut known = self.installations.lock().unwrap_or_else(PoisonError::into_inner);
        change(known.entry(installation).or_default());
    }

    /// Until when nobody of this process may call: it was just told so.
    fn closed_here(&self, installation: InstallationId, now: Timestamp) -> Result<(), Refusal> {
        match self.here(installation).closed_until {
            Some(until) if until > now => Err(Refusal::NotBefore(until)),
            _ => Ok(()),
        }
    }

    /// A time of its own for a write that can't go soon, a write's length after the one before:
    /// those that were put off come back one by one and in their order.
    fn promise(&self, installation: InstallationId, now: Timestamp) -> Timestamp {
        let step = self.limits.spacing + self.limits.spacing / 4 + LOOK;
        let mut promised = now;
        self.remember(installation, |here| {
            let last = here.promised.unwrap_or(now).max(now.after(self.limits.spacing));
            promised = last.after(step).min(now.after(LONGEST_PROMISE));
            here.promised = Some(promised);
        });
        promised
    }

    async fn look(&self, installation: InstallationId, kind: CallKind) -> Result<(), Refusal> {
        let now = self.clock.now();
        self.closed_here(installation, now)?;
        let mut tx = self.db.read().await.map_err(unknown)?;
        let Some(row) = tx.github_rate_limit(installation).await.map_err(unknown)? else { return Ok(()) };
        let hour = match kind {
            CallKind::Read => (0, None),
            CallKind::Write => {
                tx.github_writes_since(installation, now.before(HOUR)).await.map_err(unknown)?
            }
        };
        drop(tx);
        match obstacle(&row, hour, kind, self.limits, now) {
            // A read does not wait in the process: GitHub asked to.
            Some(until) if kind == CallKind::Read || until.since(now) > PATIENCE => {
                Err(Refusal::NotBefore(until))
            }
            // One waits already; who waits holds one of the places that jobs run in.
            _ if kind == CallKind::Write && self.here(installation).waiting.load(Ordering::Relaxed) > 0 => {
                Err(Refusal::NotBefore(self.promise(installation, now)))
            }
            _ => Ok(()),
        }
    }

    /// Begins a write if it may begin now; else says when to look again.
    async fn begin(&self, installation: InstallationId) -> Result<Result<String, Timestamp>, StoreError> {
        let mut tx = self.db.write().await?;
        // After the lock: waiting for it takes time too.
        let row = tx.lock_github_rate_limit(installation, self.clock.now()).await?;
        let now = self.clock.now();
        let hour = tx.github_writes_since(installation, now.before(HOUR)).await?;
        if let Some(until) = obstacle(&row, hour, CallKind::Write, self.limits, now) {
            return Ok(Err(until));
        }
        let token = hex::encode(self.rng.bytes::<8>());
        let until = now.after(self.limits.call_timeout + MARGIN);
        let period_us = i64::try_from(PERIOD.as_micros()).unwrap_or(i64::MAX);
        let period_at = Timestamp(now.0 - now.0.rem_euclid(period_us));
        tx.begin_github_write(installation, &token, until, period_at, now.before(HOUR)).await?;
        tx.commit().await?;
        Ok(Ok(token))
    }

    async fn admit_write(&self, installation: InstallationId) -> Result<Permit, Refusal> {
        let here = self.here(installation);
        let _waiting = Waiting::among(here.waiting);
        let Ok(turn) = tokio::time::timeout(PATIENCE, here.turn.lock_owned()).await else {
            return Err(Refusal::NotBefore(self.promise(installation, self.clock.now())));
        };
        let mut slept = Duration::ZERO;
        loop {
            let now = self.clock.now();
            self.closed_here(installation, now)?;
            let until = match self.begin(installation).await.map_err(unknown)? {
                Ok(token) => return Ok(Permit { lease: Some(token), turn: Some(turn) }),
                Err(until) => until,
            };
            let wait = until.since(now).max(Duration::from_millis(1));
            slept += wait;
            if wait > PATIENCE {
                return Err(Refusal::NotBefore(until));
            }
            if slept > PATIENCE {
                return Err(Refusal::NotBefore(self.promise(installation, now)));
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn note(
        &self,
        installation: InstallationId,
        lease: Option<&str>,
        facts: CallFacts,
        hour: Option<HourOfCalls>,
    ) -> Result<Option<Timestamp>, StoreError> {
        let mut tx = self.db.write().await?;
        let row = tx.lock_github_rate_limit(installation, self.clock.now()).await?;
        let now = self.clock.now();
        let closed = facts.limit.map(|limit| {
            let (wait, unsaid) = wait_for(limit, row.unsaid_limits);
            (now.after(wait + self.jitter(wait)), unsaid)
        });
        // The last call of the hour: the next would only be refused.
        let spent = facts.hour.filter(|hour| hour.remaining == 0 && hour.reset_at > now);
        // An hour has an end: a header that says otherwise must not silence the gate.
        let latest = now.after(HOUR);
        let spent =
            spent.map(|hour| (hour.reset_at.after(Duration::from_secs(1)).min(latest), row.unsaid_limits));
        if let Some((until, unsaid)) = closed.or(spent) {
            tx.close_installation(installation, until, unsaid).await?;
        }
        if let Some(token) = lease {
            let next = now.after(self.limits.spacing);
            tx.end_github_write(installation, token, next, facts.succeeded).await?;
        }
        if let Some(hour) = hour {
            tx.record_hour_of_calls(installation, hour.limit, hour.remaining, hour.reset_at).await?;
        }
        tx.commit().await?;
        Ok(closed.map(|(until, _)| until))
    }

    /// One for the whole installation, told with the wait: its jobs come back in their order.
    fn jitter(&self, wait: Duration) -> Duration {
        let [byte] = self.rng.bytes::<1>();
        wait.min(Duration::from_mins(1)) * u32::from(byte) / 2_048
    }

    async fn told(&self, installation: InstallationId, permit: Permit, facts: CallFacts) -> Option<Duration> {
        let now = self.clock.now();
        let least = facts.limit.map(|limit| wait_for(limit, 0).0);
        if let Some(wait) = least {
            let until = Some(now.after(wait));
            self.remember(installation, |here| here.closed_until = here.closed_until.max(until));
        }
        let hour = facts.hour.filter(|told| is_news(self.here(installation).recorded, *told));
        let lease = permit.lease.as_deref();
        let is_spent = facts.hour.is_some_and(|hour| hour.remaining == 0);
        if facts.limit.is_none() && lease.is_none() && hour.is_none() && !is_spent {
            return None;
        }
        match self.note(installation, lease, facts, hour).await {
            Ok(until) => {
                self.remember(installation, |here| {
                    here.closed_until = here.closed_until.max(until);
                    here.recorded = hour.or(here.recorded);
                });
                until.map(|until| until.since(now))
            }
            Err(error) => {
                let error = error_chain(&error);
                tracing::warn!(error, "what GitHub told of its limits could not be noted for the others");
                least
            }
        }
    }
}

/// Counts one that waits, for as long as it does.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn among(waiting: Arc<AtomicUsize>) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Without the database no process knows whether a call may go.
fn unknown(error: StoreError) -> Refusal {
    Refusal::Unknown(error.into())
}

impl RateLimiter for DatabaseRateLimiter {
    fn outlook(
        &self,
        installation: InstallationId,
        kind: CallKind,
    ) -> LimiterFuture<'_, Result<(), Refusal>> {
        Box::pin(self.look(installation, kind))
    }

    fn admit(
        &self,
        installation: InstallationId,
        kind: CallKind,
    ) -> LimiterFuture<'_, Result<Permit, Refusal>> {
        Box::pin(async move {
            match kind {
                CallKind::Read => self.look(installation, kind).await.map(|()| Permit::default()),
                CallKind::Write => self.admit_write(installation).await,
            }
        })
    }

    fn report(
        &self,
        installation: InstallationId,
        permit: Permit,
        facts: CallFacts,
    ) -> LimiterFuture<'_, Option<Duration>> {
        Box::pin(self.told(installation, permit, facts))
    }
}

/// Until when a call of this kind has to wait; none when it may go now. `hour`: writes of the
/// last hour, and when the oldest period of them began.
fn obstacle(
    row: &RateLimitRow,
    hour: (i64, Option<Timestamp>),
    kind: CallKind,
    limits: WriteLimits,
    now: Timestamp,
) -> Option<Timestamp> {
    // What a clock that was ahead wrote is not waited for: no wait is longer than these.
    let closed = Timestamp(row.closed_until);
    if closed > now && closed <= now.after(LONGEST_TOLD) {
        return Some(closed);
    }
    if kind == CallKind::Read {
        return None;
    }
    let write_until = Timestamp(row.write_until);
    if row.write_token.is_some() && write_until > now && write_until <= now.after(LONGEST_LEASE) {
        return Some(now.after(LOOK));
    }
    let next = Timestamp(row.next_write_at);
    if next > now && next <= now.after(limits.spacing) {
        return Some(next);
    }
    (hour.0 >= i64::from(limits.an_hour)).then(|| hour.1.unwrap_or(now).after(HOUR))
}

/// How long a limit asks to wait, and how often in a row it was asked without a hint.
fn wait_for(limit: Limit, unsaid_before: i64) -> (Duration, i64) {
    match limit {
        Limit::For(wait) => (wait, unsaid_before),
        Limit::Unsaid => {
            let doublings = u32::try_from(unsaid_before.clamp(0, 10)).unwrap_or(0);
            ((UNSAID_WAIT * (1 << doublings)).min(LONGEST_UNSAID), unsaid_before.saturating_add(1))
        }
    }
}

/// No told wait is longer: `client` believes a day.
const LONGEST_TOLD: Duration = Duration::from_hours(25);
/// No write holds its place longer, whatever the configured time of a call.
const LONGEST_LEASE: Duration = Duration::from_hours(1);

/// Whether what GitHub told of the hour differs enough from what is recorded: each call a write
/// to the database would be too much.
fn is_news(recorded: Option<HourOfCalls>, told: HourOfCalls) -> bool {
    recorded.is_none_or(|before| {
        // A late answer tells of more calls left than one before it did.
        before.limit != told.limit
            || told.reset_at.since(before.reset_at) > Duration::from_mins(1)
            || before.remaining - told.remaining >= (told.limit / 100).max(1)
    })
}

/// The share of the hour's calls that an installation has left, 0 to 1; 1 when GitHub has not
/// told, or a new hour has begun. Who reads in bulk keeps half of it for what people wait for.
pub async fn share_of_calls_left(
    db: &Db,
    installation: InstallationId,
    now: Timestamp,
) -> Result<f64, StoreError> {
    let row = db.read().await?.github_rate_limit(installation).await?;
    let hour = row.and_then(|row| row.calls_limit.zip(row.calls_remaining).zip(row.calls_reset_at));
    Ok(match hour {
        #[expect(clippy::cast_precision_loss, reason = "a few thousand calls")]
        Some(((limit, remaining), reset_at)) if reset_at > now.0 => remaining as f64 / limit.max(1) as f64,
        _ => 1.0,
    })
}
