//! Limits the bytes that one token pushes: a token bucket that fills at a rate. A request's cost is
//! known only after it was read, so a level may fall below zero. Until it recovers, requests of
//! that token are refused.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use pacegate_engine::model::ids::RepoId;
use pacegate_engine::model::time::Timestamp;

/// The largest number of buckets. Full buckets are dropped first.
const BUCKETS: usize = 10_000;

/// The owner of a bucket: a token, by its hash, or a repository where there is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::web) struct RateKey([u8; 16]);

impl RateKey {
    pub(in crate::web) fn of_token(token: &str) -> Self {
        Self::of(b"token", token.as_bytes())
    }

    pub(in crate::web) fn of_repository(repo: RepoId) -> Self {
        Self::of(b"repository", &repo.0.to_be_bytes())
    }

    fn of(kind: &[u8], value: &[u8]) -> Self {
        let digest = Sha256::new().chain_update(kind).chain_update(value).finalize();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Bytes that may still arrive; negative after a request that cost more.
    level: i64,
    at: Timestamp,
}

/// The buckets of all tokens.
#[derive(Debug)]
pub(super) struct Rates {
    rate: i64,
    burst: i64,
    buckets: Mutex<HashMap<RateKey, Bucket>>,
}

impl Rates {
    /// `rate` in bytes a second, `burst` in bytes. A rate of 0 disables the limit.
    pub(super) fn new(rate: u64, burst: u64) -> Self {
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        Self { rate: signed(rate), burst: signed(burst.max(1)), buckets: Mutex::default() }
    }

    /// Accepts a request, or returns how long the sender has to wait.
    pub(super) fn admit(&self, key: RateKey, now: Timestamp) -> Result<(), Duration> {
        if self.rate == 0 {
            return Ok(());
        }
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bucket) = buckets.get(&key) else { return Ok(()) };
        let level = self.filled(*bucket, now);
        if level > 0 {
            return Ok(());
        }
        let seconds = (1 - level).unsigned_abs().div_ceil(self.rate.unsigned_abs());
        Err(Duration::from_secs(seconds.max(1)))
    }

    /// Subtracts a request's bytes.
    pub(super) fn charge(&self, key: RateKey, bytes: u64, now: Timestamp) {
        if self.rate == 0 {
            return;
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| self.filled(*bucket, now) < self.burst);
            if buckets.len() >= BUCKETS {
                return;
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket { level: self.burst, at: now });
        let level = self.filled(*bucket, now);
        *bucket = Bucket { level: level.saturating_sub_unsigned(bytes), at: now };
    }

    fn filled(&self, bucket: Bucket, now: Timestamp) -> i64 {
        // A clock that was set back adds nothing.
        let elapsed_us = i128::from(now.0.saturating_sub(bucket.at.0).max(0));
        let added = elapsed_us * i128::from(self.rate) / 1_000_000;
        let level = (i128::from(bucket.level) + added).min(i128::from(self.burst));
        i64::try_from(level).unwrap_or(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn rate_applies_after_burst_to_one_token() {
        let rates = Rates::new(100, 1000);
        let (one, other) = (RateKey::of_token("one"), RateKey::of_token("other"));
        assert!(rates.admit(one, Timestamp(0)).is_ok());
        rates.charge(one, 999, Timestamp(0));
        assert!(rates.admit(one, Timestamp(0)).is_ok(), "one byte is left");
        rates.charge(one, 301, Timestamp(0));
        // The level is -300; at 100 a second it is positive after 4 seconds.
        assert_eq!(rates.admit(one, Timestamp(0)), Err(Duration::from_secs(4)));
        assert_eq!(rates.admit(one, Timestamp(SECOND)), Err(Duration::from_secs(3)));
        assert_eq!(rates.admit(one, Timestamp(-SECOND)), Err(Duration::from_secs(4)), "a clock set back");
        assert!(rates.admit(one, Timestamp(4 * SECOND)).is_ok());
        assert!(rates.admit(other, Timestamp(0)).is_ok());
        // The level never exceeds the burst.
        rates.charge(one, 1001, Timestamp(1_000 * SECOND));
        assert!(rates.admit(one, Timestamp(1_000 * SECOND)).is_err());
    }

    #[test]
    fn buckets_are_bounded_and_zero_rate_is_unlimited() {
        let rates = Rates::new(1, 10);
        for number in 0..BUCKETS + 100 {
            rates.charge(RateKey::of_token(&number.to_string()), 1000, Timestamp(0));
        }
        assert_eq!(rates.buckets.lock().expect("no panic").len(), BUCKETS);
        let free = Rates::new(0, 0);
        free.charge(RateKey::of_repository(RepoId(1)), u64::MAX, Timestamp(0));
        assert!(free.admit(RateKey::of_repository(RepoId(1)), Timestamp(0)).is_ok());
    }
}
