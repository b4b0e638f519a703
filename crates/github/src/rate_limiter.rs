//! The gate every call passes: asked before it, told after it. What GitHub limits is an
//! installation, not a process, so the one that counts for all processes is made above this
//! floor, on the database. Here is what it is asked, and the gate that lets everything through.

use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use pacegate_engine::model::ids::InstallationId;
use pacegate_engine::model::time::Timestamp;

/// Calls the App makes as itself, with its JWT: GitHub counts them apart, and numbers no
/// installation so.
pub const THE_APP_ITSELF: InstallationId = InstallationId(0);

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// It changes nothing.
    Read,
    /// It makes or changes something: one at a time, and not one upon the other.
    Write,
}

/// Leave for one call. A write's is given back in [`RateLimiter::report`]; one that is dropped ends
/// by itself, when the call it was for must have ended.
#[derive(Debug, Default)]
pub struct Permit {
    /// Names the write that holds the installation's one place.
    pub lease: Option<String>,
    /// This process's own turn.
    pub turn: Option<OwnedMutexGuard<()>>,
}

/// Why a call may not go.
#[derive(Debug)]
pub enum Refusal {
    /// Not before this time.
    NotBefore(Timestamp),
    /// Nobody could say whether it may.
    Unknown(Box<dyn std::error::Error + Send + Sync>),
}

/// What an answer told of a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Wait for so long.
    For(Duration),
    /// Wait; GitHub did not say for how long.
    Unsaid,
}

/// What an answer told of the installation's hour of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HourOfCalls {
    /// Calls an hour has.
    pub limit: i64,
    /// Calls that are left of it.
    pub remaining: i64,
    /// When the next hour begins.
    pub reset_at: Timestamp,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallFacts {
    /// GitHub did what it was asked for.
    pub succeeded: bool,
    /// It asked to wait.
    pub limit: Option<Limit>,
    /// What is left; none when the answer did not say, or there was none.
    pub hour: Option<HourOfCalls>,
}

/// A future that can be a method's of a trait object.
pub type LimiterFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Decides for all processes when an installation may be called.
pub trait RateLimiter: Debug + Send + Sync {
    /// Whether a call of this kind would be let through soon, without taking a place: asked before
    /// the reads that lead to a write.
    fn outlook(&self, installation: InstallationId, kind: CallKind)
    -> LimiterFuture<'_, Result<(), Refusal>>;

    /// Leave for one call. It may take a moment; a longer wait is a refusal.
    fn admit(
        &self,
        installation: InstallationId,
        kind: CallKind,
    ) -> LimiterFuture<'_, Result<Permit, Refusal>>;

    /// Tells what became of an admitted call and gives its leave back. Returns how long nobody
    /// will be let through now, when GitHub asked to wait.
    fn report(
        &self,
        installation: InstallationId,
        permit: Permit,
        facts: CallFacts,
    ) -> LimiterFuture<'_, Option<Duration>>;
}

/// Lets everything through: for a program that makes a call or two and has no database.
#[derive(Debug, Clone, Copy)]
pub struct Unlimited;

/// GitHub's documentation, "Rate limits for the REST API": without a hint, a minute at least.
pub const UNSAID_WAIT: Duration = Duration::from_mins(1);

impl RateLimiter for Unlimited {
    fn outlook(&self, _: InstallationId, _: CallKind) -> LimiterFuture<'_, Result<(), Refusal>> {
        Box::pin(async { Ok(()) })
    }

    fn admit(&self, _: InstallationId, _: CallKind) -> LimiterFuture<'_, Result<Permit, Refusal>> {
        Box::pin(async { Ok(Permit::default()) })
    }

    fn report(&self, _: InstallationId, _: Permit, facts: CallFacts) -> LimiterFuture<'_, Option<Duration>> {
        Box::pin(async move {
            facts.limit.map(|limit| match limit {
                Limit::For(wait) => wait,
                Limit::Unsaid => UNSAID_WAIT,
            })
        })
    }
}
