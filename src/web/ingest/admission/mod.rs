//! How much of what is pushed is held at once: requests, bytes, and what decoding takes. A place
//! is taken before a body is read and grows with it; what does not fit is asked to come again.
//! One repository never takes all of it, and webhooks and pages need none.

mod memory;
mod rate;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::memory::memory_of_this_machine;
use self::memory::{MemoryGuard, Pressure};
pub(in crate::web) use self::rate::RateKey;
use self::rate::Rates;
use super::BODY_LIMIT;
use crate::web::error::WebError;
use pacegate_clock::Clock;
use pacegate_engine::model::ids::RepoId;

/// Requests held at once, and those of one repository.
const REQUESTS: (usize, usize) = (512, 128);
/// Bodies inflated or decoded at once: what takes a processor.
const AT_WORK: usize = 2;
/// A place grows by as much.
const STEP: usize = 64 << 10;
/// What decoding takes beside the body, for each byte of it: spans and the text they are kept as.
const DECODING: usize = 8;
/// The least that a body of the largest size needs, compressed and inflated.
const LEAST_BODIES: usize = 2 * BODY_LIMIT + (16 << 20);
/// The least for decoding.
const LEAST_DECODING: usize = 256 << 20;

/// What an operator chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Resident memory at which pushes are refused, in bytes.
    pub memory: u64,
    /// Bytes a second of one token; 0: no limit.
    pub token_rate: u64,
    /// Bytes one token may push at once above its rate.
    pub token_burst: u64,
}

/// Counts one kind of thing for everybody and for each repository.
#[derive(Debug, Clone)]
struct Budget {
    all: Arc<Semaphore>,
    share: Arc<Semaphore>,
    most: usize,
}

/// What is taken of a budget.
#[derive(Debug, Default)]
struct Taken(Vec<OwnedSemaphorePermit>);

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
    /// Of a repository, in KiB.
    most: (usize, usize),
    at_work: Arc<Semaphore>,
    shares: Mutex<HashMap<RepoId, Share>>,
    memory: Arc<MemoryGuard>,
    rates: Rates,
    clock: Clock,
}

/// A request's place among those that are held in memory; free again when it is dropped.
#[derive(Debug)]
pub(in crate::web) struct Room {
    _request: Taken,
    bodies: Budget,
    decoding: Budget,
    taken: Taken,
    taken_kib: usize,
    memory: Arc<MemoryGuard>,
}

fn kib(bytes: usize) -> usize {
    bytes.div_ceil(1 << 10)
}

impl Budget {
    /// Takes so many KiB if they are there.
    fn try_take(&self, kib: usize) -> Result<Taken, WebError> {
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let take = |of: &Arc<Semaphore>| of.clone().try_acquire_many_owned(kib).map_err(|_| WebError::Busy);
        Ok(Taken(vec![take(&self.share)?, take(&self.all)?]))
    }

    /// Waits for so many KiB, or for all a repository may have when it is more. The own share
    /// first: who has many requests waits for itself.
    async fn take(&self, kib: usize) -> Result<Taken, WebError> {
        let kib = u32::try_from(kib.min(self.most)).unwrap_or(u32::MAX);
        let share = self.share.clone().acquire_many_owned(kib).await.map_err(|_| WebError::Busy)?;
        let all = self.all.clone().acquire_many_owned(kib).await.map_err(|_| WebError::Busy)?;
        Ok(Taken(vec![share, all]))
    }
}

impl Admission {
    pub(in crate::web) fn new(limits: AdmissionLimits, clock: Clock) -> Self {
        let quarter = usize::try_from(limits.memory / 4).unwrap_or(usize::MAX);
        // Semaphores count to 2^32 of these at most.
        let (bodies, decoding) = (
            kib(quarter.max(LEAST_BODIES)).min(u32::MAX as usize),
            kib(quarter.max(LEAST_DECODING)).min(u32::MAX as usize),
        );
        let most = ((bodies / 2).max(kib(LEAST_BODIES)), (decoding / 2).max(kib(LEAST_DECODING) / 2));
        let semaphore = |places| Arc::new(Semaphore::new(places));
        Self {
            requests: semaphore(REQUESTS.0),
            bodies: semaphore(bodies),
            decoding: semaphore(decoding),
            most,
            at_work: semaphore(AT_WORK),
            shares: Mutex::default(),
            memory: Arc::new(MemoryGuard::new(limits.memory)),
            rates: Rates::new(limits.token_rate, limits.token_burst),
            clock,
        }
    }

    /// Takes a place before the body is read.
    pub(in crate::web) fn room(&self, repo: RepoId, key: RateKey) -> Result<Room, WebError> {
        let now = self.clock.now();
        self.rates.admit(key, now).map_err(|wait| WebError::TooFast { wait })?;
        match self.memory.pressure(now) {
            Pressure::None => {}
            // One at a time: what is held can only become less, and somebody gets on.
            Pressure::High if self.requests.available_permits() == REQUESTS.0 => {}
            Pressure::High | Pressure::Full => return Err(WebError::OutOfMemory),
        }
        let share = self.share(repo);
        let take = |of: &Arc<Semaphore>| of.clone().try_acquire_owned().map_err(|_| WebError::Busy);
        let request = Taken(vec![take(&share.requests)?, take(&self.requests)?]);
        Ok(Room {
            _request: request,
            bodies: Budget { all: self.bodies.clone(), share: share.bodies, most: self.most.0 },
            decoding: Budget { all: self.decoding.clone(), share: share.decoding, most: self.most.1 },
            taken: Taken::default(),
            taken_kib: 0,
            memory: self.memory.clone(),
        })
    }

    /// Waits for a processor to inflate or decode with.
    pub(in crate::web) async fn at_work(&self) -> Result<OwnedSemaphorePermit, WebError> {
        self.at_work.clone().acquire_owned().await.map_err(|_| WebError::Busy)
    }

    /// Counts what a token pushed.
    pub(in crate::web) fn charge(&self, key: RateKey, bytes: usize) {
        self.rates.charge(key, u64::try_from(bytes).unwrap_or(u64::MAX), self.clock.now());
    }

    fn share(&self, repo: RepoId) -> Share {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let semaphore = |places| Arc::new(Semaphore::new(places));
        let share = shares.entry(repo).or_insert_with(|| Share {
            requests: semaphore(REQUESTS.1),
            bodies: semaphore(self.most.0),
            decoding: semaphore(self.most.1),
        });
        share.clone()
    }
}

impl Room {
    /// Makes the place as large as so many bytes, before they are read.
    pub(in crate::web) fn hold(&mut self, bytes: usize) -> Result<(), WebError> {
        let needed = kib(bytes);
        if needed <= self.taken_kib {
            return Ok(());
        }
        if self.memory.is_full() {
            return Err(WebError::OutOfMemory);
        }
        let more = (needed - self.taken_kib).max(kib(STEP));
        self.taken.0.extend(self.bodies.try_take(more)?.0);
        self.taken_kib += more;
        Ok(())
    }

    /// A second place of the same request, for what a body becomes when it is inflated.
    pub(in crate::web) fn beside(&self) -> Self {
        Self {
            _request: Taken::default(),
            bodies: self.bodies.clone(),
            decoding: self.decoding.clone(),
            taken: Taken::default(),
            taken_kib: 0,
            memory: self.memory.clone(),
        }
    }

    /// Gives the bytes back and keeps those of another place of the same request.
    pub(in crate::web) fn replace_with(&mut self, other: Self) {
        self.taken = other.taken;
        self.taken_kib = other.taken_kib;
    }

    /// Waits until what decoding so many bytes takes is free, and keeps it.
    pub(in crate::web) async fn hold_decoding(&mut self, bytes: usize) -> Result<(), WebError> {
        let taken = self.decoding.take(kib(bytes.saturating_mul(DECODING))).await?;
        self.taken.0.extend(taken.0);
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

    fn room(admission: &Admission, repo: i64) -> Result<Room, WebError> {
        admission.room(RepoId(repo), RateKey::of_repository(RepoId(repo)))
    }

    #[test]
    fn the_largest_body_fits_and_a_repository_leaves_room_for_others() {
        let admission = admission(2 << 30);
        let mut greedy: Vec<Room> = Vec::new();
        let full = loop {
            let mut next = room(&admission, 1).expect("a place");
            match next.hold(BODY_LIMIT) {
                Ok(()) => greedy.push(next),
                Err(error) => break error,
            }
        };
        assert!(matches!(full, WebError::Busy) && greedy.len() == 4, "{full} after {}", greedy.len());
        let mut other = room(&admission, 2).expect("a place");
        other.hold(BODY_LIMIT).expect("another repository's share is its own");
        drop(greedy);
        let mut again = room(&admission, 1).expect("a place");
        again.hold(BODY_LIMIT).expect("what was given back is free");
        let mut inflated = again.beside();
        inflated.hold(BODY_LIMIT).expect("compressed and inflated");
        again.replace_with(inflated);
    }

    #[test]
    fn a_place_grows_in_steps_and_a_slow_body_holds_what_it_sent() {
        let admission = admission(2 << 30);
        let mut rooms: Vec<Room> = (0..100).map(|_| room(&admission, 1).expect("a place")).collect();
        for room in &mut rooms {
            room.hold(1).expect("little");
            room.hold(STEP).expect("the same step");
            assert_eq!(room.taken_kib, kib(STEP));
        }
        let mut other = room(&admission, 1).expect("a place");
        other.hold(200 * MIB).expect("a hundred slow ones hold nearly nothing");
    }

    #[test]
    fn so_many_requests_of_one_repository_and_no_more() {
        let admission = admission(2 << 30);
        let held: Vec<Room> = (0..REQUESTS.1).map(|_| room(&admission, 1).expect("a place")).collect();
        assert!(matches!(room(&admission, 1), Err(WebError::Busy)));
        assert!(room(&admission, 2).is_ok());
        drop(held);
        assert!(room(&admission, 1).is_ok());
    }

    #[tokio::test]
    async fn decoding_waits_and_more_than_all_is_all() {
        let small = admission(1 << 20);
        assert!(matches!(room(&small, 1), Err(WebError::OutOfMemory)), "this process has more than that");
        let admission = admission(1 << 40);
        let mut huge = room(&admission, 1).expect("a place");
        huge.hold_decoding(usize::MAX).await.expect("clamped");
        let mut next = room(&admission, 1).expect("a place");
        let waits = tokio::time::timeout(std::time::Duration::from_millis(1), next.hold_decoding(1)).await;
        assert!(waits.is_err(), "the share is taken");
        drop(huge);
        next.hold_decoding(1).await.expect("free again");
    }
}
