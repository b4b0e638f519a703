//! A point in time as in the store and in JSON: microseconds since the Unix epoch. Nothing here reads
//! a clock. Code that needs the current time takes it as a parameter.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From nanoseconds since the epoch, rounded down.
    #[must_use]
    pub fn from_nanos(nanos: i64) -> Self {
        Self(nanos.div_euclid(1_000))
    }

    /// Seconds since the epoch, rounded down.
    #[must_use]
    pub fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Adds a duration, saturating at the largest time.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Subtracts a duration, saturating at the smallest time.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The time since `earlier`. Zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// RFC 3339 in UTC without fractions of a second, as GitHub writes times.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        chrono::DateTime::from_timestamp_micros(self.0)
            .map_or_else(|| "out of range".to_owned(), |t| t.format("%Y-%m-%dT%H:%M:%SZ").to_string())
    }

    /// None when the text is not an RFC 3339 time.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        chrono::DateTime::parse_from_rfc3339(text).ok().map(|t| Self(t.timestamp_micros()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_through_text_and_saturates() {
        let t = Timestamp::parse_rfc3339("2026-11-22T12:00:01Z").expect("a time");
        assert_eq!(t.to_rfc3339(), "2026-11-22T12:00:01Z");
        assert_eq!(Timestamp(i64::MAX).after(Duration::from_secs(1)), Timestamp(i64::MAX));
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp(i64::MAX).to_rfc3339(), "out of range");
    }
}
