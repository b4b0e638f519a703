//! Calculates how long a call to GitHub has to wait, from the stored state of its installation. Pure:
//! the time is a parameter.

use std::time::Duration;

use super::WriteLimits;
use pacegate_engine::model::time::Timestamp;
use pacegate_github::rate_limiter::{CallKind, DEFAULT_WAIT, HourlyQuota, RequestedWait};
use pacegate_store::RateLimitRow;

/// Interval at which a write looks whether the write of another process has ended.
pub(super) const WRITE_POLL: Duration = Duration::from_millis(50);
/// Writes of this time are counted: an hour, and the period that may have begun before it.
pub(super) const WRITE_WINDOW: Duration = Duration::from_mins(65);
/// Longest wait after a rate limit without a wait of its own.
const LONGEST_DEFAULT_WAIT: Duration = Duration::from_hours(1);
/// A stored wait that is longer is ignored. Hints of GitHub are accepted up to a day.
const LONGEST_WAIT: Duration = Duration::from_hours(25);
/// A stored write lease that is longer is ignored, also if the configured timeout of a call is longer.
const LONGEST_LEASE: Duration = Duration::from_hours(1);

/// Number of writes of the last hour, and the begin of the oldest period with some of them.
pub(super) type WritesOfHour = (i64, Option<Timestamp>);

/// The time until which a call of this kind has to wait. `None`: it may go now.
pub(super) fn earliest(
    row: &RateLimitRow,
    (writes, oldest): WritesOfHour,
    kind: CallKind,
    limits: WriteLimits,
    now: Timestamp,
) -> Option<Timestamp> {
    // A process with a fast clock may have stored a time far ahead. Each wait is bounded for that reason.
    let closed = Timestamp(row.closed_until);
    if closed > now && closed <= now.after(LONGEST_WAIT) {
        return Some(closed);
    }
    if kind == CallKind::Read {
        return None;
    }
    let write_until = Timestamp(row.write_until);
    if row.write_token.is_some() && write_until > now && write_until <= now.after(LONGEST_LEASE) {
        return Some(now.after(WRITE_POLL));
    }
    let next = Timestamp(row.next_write_at);
    if next > now && next <= now.after(limits.spacing) {
        return Some(next);
    }
    (writes >= i64::from(limits.an_hour)).then(|| oldest.unwrap_or(now).after(WRITE_WINDOW))
}

/// The wait that a rate limit asks for, and the new number of consecutive limits that named no wait.
/// Those double the wait, up to an hour.
pub(super) fn wait_for(limit: RequestedWait, limits_before: i64) -> (Duration, i64) {
    match limit {
        RequestedWait::For(wait) => (wait, limits_before),
        RequestedWait::Unspecified => {
            let doublings = u32::try_from(limits_before.clamp(0, 10)).unwrap_or(0);
            ((DEFAULT_WAIT * (1 << doublings)).min(LONGEST_DEFAULT_WAIT), limits_before.saturating_add(1))
        }
    }
}

/// Whether the remaining calls of an hour differ enough from the recorded ones to be stored. Storing them
/// after each call would cost one database write per call.
pub(super) fn is_worth_recording(recorded: Option<HourlyQuota>, quota: HourlyQuota) -> bool {
    recorded.is_none_or(|before| {
        // A late answer has more remaining calls than an earlier one; it is not stored.
        before.limit != quota.limit
            || quota.reset_at.since(before.reset_at) > Duration::from_mins(1)
            || before.remaining - quota.remaining >= (quota.limit / 100).max(1)
    })
}
