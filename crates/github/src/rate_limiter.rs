//! The rate limiter that every call passes. GitHub limits an installation, not a process. So the
//! limiter that counts for all processes is in the application and uses the database. Here are its
//! interface and an implementation without limits.

use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use pacegate_engine::model::ids::InstallationId;
use pacegate_engine::model::time::Timestamp;

/// Stands for calls with the App's JWT, which GitHub counts apart. No installation has this number.
pub(crate) const NO_INSTALLATION: InstallationId = InstallationId(0);

/// Decides how a call is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// Changes nothing.
    Read,
    /// Creates or changes something. Writes to one installation run one at a time, with a pause
    /// between them.
    Write,
}

/// Permission for one call. [`RateLimiter::release`] returns it. The lease of a dropped permit ends
/// when its call must have ended.
#[derive(Debug, Default)]
pub struct Permit {
    /// Token of the lease that allows the installation's only concurrent write.
    pub lease: Option<String>,
    /// Held while another write of this process has to wait.
    pub local_lock: Option<OwnedMutexGuard<()>>,
}

/// Why a call is not allowed now.
#[derive(Debug)]
pub enum RateLimitError {
    /// Not before this time.
    RetryAt(Timestamp),
    /// The limiter's own state could not be read.
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
}

/// The wait that GitHub asks for in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestedWait {
    /// This long.
    For(Duration),
    /// GitHub did not say how long.
    Unspecified,
}

/// An installation's calls in the present hour, as an answer reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HourlyQuota {
    /// Calls per hour.
    pub limit: i64,
    /// Calls left.
    pub remaining: i64,
    /// When the next hour begins.
    pub reset_at: Timestamp,
}

/// The result of a call, as far as the limiter needs it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallResult {
    /// GitHub answered with success or "not modified".
    pub succeeded: bool,
    /// Set when GitHub asked to wait.
    pub wait: Option<RequestedWait>,
    /// None when there was no answer, or it did not report the quota.
    pub quota: Option<HourlyQuota>,
}

/// A boxed future, so that the trait can be used as an object.
pub type LimiterFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Decides for all processes when an installation may be called.
pub trait RateLimiter: Debug + Send + Sync {
    /// Fails if a call of this kind would not be allowed soon. Takes no permit. For use before the
    /// reads that lead to a write.
    fn check(
        &self,
        installation: InstallationId,
        kind: CallKind,
    ) -> LimiterFuture<'_, Result<(), RateLimitError>>;

    /// Gets the permit for one call. It may wait for a moment; a longer wait is an error.
    fn acquire(
        &self,
        installation: InstallationId,
        kind: CallKind,
    ) -> LimiterFuture<'_, Result<Permit, RateLimitError>>;

    /// Returns a permit and records the result of its call. If GitHub asked to wait, the answer is
    /// how long no call to the installation will be allowed.
    fn release(
        &self,
        installation: InstallationId,
        permit: Permit,
        result: CallResult,
    ) -> LimiterFuture<'_, Option<Duration>>;
}

/// Allows every call. For a program that makes a few calls and has no database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoRateLimit;

/// The wait when GitHub does not say how long. Its documentation, "Rate limits for the REST API",
/// asks for a minute at least.
pub const DEFAULT_WAIT: Duration = Duration::from_mins(1);

impl RateLimiter for NoRateLimit {
    fn check(&self, _: InstallationId, _: CallKind) -> LimiterFuture<'_, Result<(), RateLimitError>> {
        Box::pin(async { Ok(()) })
    }

    fn acquire(&self, _: InstallationId, _: CallKind) -> LimiterFuture<'_, Result<Permit, RateLimitError>> {
        Box::pin(async { Ok(Permit::default()) })
    }

    fn release(
        &self,
        _: InstallationId,
        _: Permit,
        result: CallResult,
    ) -> LimiterFuture<'_, Option<Duration>> {
        Box::pin(async move {
            result.wait.map(|wait| match wait {
                RequestedWait::For(wait) => wait,
                RequestedWait::Unspecified => DEFAULT_WAIT,
            })
        })
    }
}
