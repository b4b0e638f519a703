//! Limits the requests and the bytes that are in memory at the same time. A reservation is made
//! before a body is read and grows with it; a request that does not fit is refused for now. One
//! repository never gets all of it. Webhooks and pages need no reservation.

mod memory;
mod rate;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use self::memory::default_memory_limit;
use self::memory::{MemoryGuard, Pressure};
pub(in crate::web) use self::rate::RateKey;
use self::rate::Rates;
use super::BODY_LIMIT;
use crate::web::error::WebError;
use pacegate_clock::Clock;
use pacegate_engine::model::ids::RepoId;

/// Requests in memory at the same time.
const REQUESTS: usize = 512;
const REQUESTS_PER_REPOSITORY: usize = 128;
/// Bodies that are inflated or decoded at the same time: this work needs a processor.
const PROCESSORS: usize = 2;
/// A reservation grows by at least this number of bytes.
const STEP: usize = 64 << 10;
/// Bytes that decoding needs for each byte of the body: spans, and the text that they are stored as.
const DECODING_FACTOR: usize = 8;
/// The smallest pool for bodies: one of the largest size, compressed and inflated.
const MIN_BODIES: usize = 2 * BODY_LIMIT + (16 << 20);
/// The smallest pool for decoding.
const MIN_DECODING: usize = 256 << 20;

/// Limits that an operator can configure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AdmissionLimits {
    /// Resident memory at which pushes are refused, in bytes.
    pub memory: u64,
    /// Bytes a second of one token; 0: no limit.
    pub token_rate: u64,
    /// Bytes that one token may push at once above its rate.
    pub token_burst: u64,
}

/// One kind of memory, in KiB: the process's pool, and the share of one repository.
#[derive(Debug, Clone)]
struct Pool {
    all: Arc<Semaphore>,
    share: Arc<Semaphore>,
    /// The size of the share.
    largest: usize,
}

/// Permits of a pool or of the requests. Dropping them returns what they took.
#[derive(Debug, Default)]
struct Permits(Vec<OwnedSemaphorePermit>);

/// The part of everything that one repository may use.
#[derive(Debug, Clone)]
struct Share {
    requests: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    decoding: Arc<Semaphore>,
}

/// The state of admission in one process.
#[derive(Debug)]
pub(in crate::web) struct Admission {
    requests: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    decoding: Arc<Semaphore>,
    /// KiB of one repository.
    bodies_per_repository: usize,
    decoding_per_repository: usize,
    processors: Arc<Semaphore>,
    shares: Mutex<HashMap<RepoId, Share>>,
    memory: Arc<MemoryGuard>,
    rates: Rates,
    clock: Clock,
}

/// The memory of one request. Dropping it returns everything.
#[derive(Debug)]
pub(in crate::web) struct MemoryReservation {
    _request: Permits,
    bodies: Pool,
    decoding: Pool,
    permits: Permits,
    reserved_kib: usize,
    memory: Arc<MemoryGuard>,
}

fn kib(bytes: usize) -> usize {
    bytes.div_ceil(1 << 10)
}

impl Pool {
    /// Takes KiB without waiting.
    fn try_take(&self, kib: usize) -> Result<Permits, WebError> {
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let take = |of: &Arc<Semaphore>| of.clone().try_acquire_many_owned(kib).map_err(|_| WebError::Busy);
        Ok(Permits(vec![take(&self.share)?, take(&self.all)?]))
    }

    /// Waits for KiB, at most for a whole share. The share comes first: a repository with many
    /// requests waits for its own.
    async fn take(&self, kib: usize) -> Result<Permits, WebError> {
        let kib = u32::try_from(kib.min(self.largest)).unwrap_or(u32::MAX);
        let share = self.share.clone().acquire_many_owned(kib).await.map_err(|_| WebError::Busy)?;
        let all = self.all.clone().acquire_many_owned(kib).await.map_err(|_| WebError::Busy)?;
        Ok(Permits(vec![share, all]))
    }
}

impl Admission {
    pub(in crate::web) fn new(limits: AdmissionLimits, clock: Clock) -> Self {
        let quarter = usize::try_from(limits.memory / 4).unwrap_or(usize::MAX);
        // `take` counts in `u32`.
        let (bodies, decoding) = (
            kib(quarter.max(MIN_BODIES)).min(u32::MAX as usize),
            kib(quarter.max(MIN_DECODING)).min(u32::MAX as usize),
        );
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            requests: semaphore(REQUESTS),
            bodies: semaphore(bodies),
            decoding: semaphore(decoding),
            bodies_per_repository: (bodies / 2).max(kib(MIN_BODIES)),
            decoding_per_repository: (decoding / 2).max(kib(MIN_DECODING) / 2),
            processors: semaphore(PROCESSORS),
            shares: Mutex::default(),
            memory: Arc::new(MemoryGuard::new(limits.memory)),
            rates: Rates::new(limits.token_rate, limits.token_burst),
            clock,
        }
    }

    /// Admits a request before its body is read.
    pub(in crate::web) fn admit(&self, repo: RepoId, key: RateKey) -> Result<MemoryReservation, WebError> {
        let now = self.clock.now();
        self.rates.admit(key, now).map_err(|wait| WebError::TooFast { wait })?;
        match self.memory.pressure(now) {
            Pressure::None => {}
            // One request at a time: memory in use can only fall, and requests still finish.
            Pressure::High if self.requests.available_permits() == REQUESTS => {}
            Pressure::High | Pressure::Full => return Err(WebError::OutOfMemory),
        }
        let share = self.share(repo);
        let take = |of: &Arc<Semaphore>| of.clone().try_acquire_owned().map_err(|_| WebError::Busy);
        let request = Permits(vec![take(&share.requests)?, take(&self.requests)?]);
        let pool = |all: &Arc<Semaphore>, share, largest| Pool { all: all.clone(), share, largest };
        Ok(MemoryReservation {
            _request: request,
            bodies: pool(&self.bodies, share.bodies, self.bodies_per_repository),
            decoding: pool(&self.decoding, share.decoding, self.decoding_per_repository),
            permits: Permits::default(),
            reserved_kib: 0,
            memory: self.memory.clone(),
        })
    }

    /// Waits for one of the `PROCESSORS` permits to inflate or decode.
    pub(in crate::web) async fn processor(&self) -> Result<OwnedSemaphorePermit, WebError> {
        self.processors.clone().acquire_owned().await.map_err(|_| WebError::Busy)
    }

    /// Counts bytes that a token pushed.
    pub(in crate::web) fn charge(&self, key: RateKey, bytes: usize) {
        self.rates.charge(key, u64::try_from(bytes).unwrap_or(u64::MAX), self.clock.now());
    }

    fn share(&self, repo: RepoId) -> Share {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let share = shares.entry(repo).or_insert_with(|| Share {
            requests: semaphore(REQUESTS_PER_REPOSITORY),
            bodies: semaphore(self.bodies_per_repository),
            decoding: semaphore(self.decoding_per_repository),
        });
        share.clone()
    }
}

impl MemoryReservation {
    /// Reserves memory up to a size in bytes, before they are read.
    pub(in crate::web) fn grow_to(&mut self, bytes: usize) -> Result<(), WebError> {
        let needed = kib(bytes);
        if needed <= self.reserved_kib {
            return Ok(());
        }
        if self.memory.is_full() {
            return Err(WebError::OutOfMemory);
        }
        let more = (needed - self.reserved_kib).max(kib(STEP));
        self.permits.0.extend(self.bodies.try_take(more)?.0);
        self.reserved_kib += more;
        Ok(())
    }

    /// A second, empty reservation of the same request, for the inflated body.
    pub(in crate::web) fn second(&self) -> Self {
        Self {
            _request: Permits::default(),
            bodies: self.bodies.clone(),
            decoding: self.decoding.clone(),
            permits: Permits::default(),
            reserved_kib: 0,
            memory: self.memory.clone(),
        }
    }

    /// Returns the reserved bytes and takes over those of the second reservation.
    pub(in crate::web) fn replace_with(&mut self, second: Self) {
        self.permits = second.permits;
        self.reserved_kib = second.reserved_kib;
    }

    /// Waits for the memory that decoding a body of this size needs.
    pub(in crate::web) async fn reserve_decoding(&mut self, bytes: usize) -> Result<(), WebError> {
        let permits = self.decoding.take(kib(bytes.saturating_mul(DECODING_FACTOR))).await?;
        self.permits.0.extend(permits.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacegate_engine::model::time::Timestamp;

    const MIB: usize = 1 << 20;

    fn admission(memory: u64) -> Admission {
        let limits = AdmissionLimits { memory, token_rate: 0, token_burst: 0 };
        Admission::new(limits, Clock::from_fn(|| Timestamp(0)))
    }

    fn admit(admission: &Admission, repo: i64) -> Result<MemoryReservation, WebError> {
        admission.admit(RepoId(repo), RateKey::of_repository(RepoId(repo)))
    }

    #[test]
    fn largest_bodies_leave_memory_for_other_repositories() {
        let admission = admission(2 << 30);
        let mut greedy: Vec<MemoryReservation> = Vec::new();
        let full = loop {
            let mut next = admit(&admission, 1).expect("admitted");
            match next.grow_to(BODY_LIMIT) {
                Ok(()) => greedy.push(next),
                Err(error) => break error,
            }
        };
        assert!(matches!(full, WebError::Busy) && greedy.len() == 4, "{full} after {}", greedy.len());
        let mut other = admit(&admission, 2).expect("admitted");
        other.grow_to(BODY_LIMIT).expect("another repository has its own share");
        drop(greedy);
        let mut again = admit(&admission, 1).expect("admitted");
        again.grow_to(BODY_LIMIT).expect("returned memory is free");
        let mut inflated = again.second();
        inflated.grow_to(BODY_LIMIT).expect("compressed and inflated");
        again.replace_with(inflated);
    }

    #[test]
    fn slow_bodies_reserve_only_received_bytes() {
        let admission = admission(2 << 30);
        let mut slow: Vec<MemoryReservation> =
            (0..100).map(|_| admit(&admission, 1).expect("admitted")).collect();
        for reservation in &mut slow {
            reservation.grow_to(1).expect("little");
            reservation.grow_to(STEP).expect("the same step");
            assert_eq!(reservation.reserved_kib, kib(STEP));
        }
        let mut other = admit(&admission, 1).expect("admitted");
        other.grow_to(200 * MIB).expect("a hundred slow bodies reserve little");
    }

    #[test]
    fn requests_of_one_repository_are_limited() {
        let admission = admission(2 << 30);
        let held: Vec<MemoryReservation> =
            (0..REQUESTS_PER_REPOSITORY).map(|_| admit(&admission, 1).expect("admitted")).collect();
        assert!(matches!(admit(&admission, 1), Err(WebError::Busy)));
        assert!(admit(&admission, 2).is_ok());
        drop(held);
        assert!(admit(&admission, 1).is_ok());
    }

    #[tokio::test]
    async fn decoding_waits_and_is_capped_at_share() {
        let small = admission(1 << 20);
        assert!(matches!(admit(&small, 1), Err(WebError::OutOfMemory)), "this process uses more than 1 MiB");
        let admission = admission(1 << 40);
        let mut huge = admit(&admission, 1).expect("admitted");
        huge.reserve_decoding(usize::MAX).await.expect("capped");
        let mut next = admit(&admission, 1).expect("admitted");
        let waits = tokio::time::timeout(std::time::Duration::from_millis(1), next.reserve_decoding(1)).await;
        assert!(waits.is_err(), "the share is in use");
        drop(huge);
        next.reserve_decoding(1).await.expect("free again");
    }
}
