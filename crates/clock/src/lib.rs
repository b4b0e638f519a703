//! The clock and the random number generator of the application. `main` creates both and passes
//! them down, so that a test can fix them.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ulid::Ulid;

use pacegate_engine::model::time::Timestamp;

/// A source of the current time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock. A time before 1970 reads as 1970.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the only place that reads the machine's clock")]
    pub fn system() -> Self {
        Self(Arc::new(|| {
            let since_epoch = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap_or(std::time::Duration::ZERO);
            Timestamp(0).after(since_epoch)
        }))
    }

    /// A clock that calls `now` for every reading.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// A random number generator that clones share.
#[derive(Clone)]
pub struct Randomness(Arc<Mutex<StdRng>>);

impl Randomness {
    /// Seeded by the operating system, for identifiers and secrets.
    ///
    /// # Panics
    /// Panics when the operating system returns no random bytes: a secret from another source
    /// would not be safe.
    #[must_use]
    pub fn from_system() -> Self {
        let seeded = StdRng::try_from_rng(&mut rand::rngs::SysRng);
        Self(Arc::new(Mutex::new(seeded.expect("the operating system gives randomness"))))
    }

    /// A fixed sequence for tests and generated histories. It must not be used for secrets.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        bytes
    }

    /// A new ULID. ULIDs sort as text in the order of their times.
    #[must_use]
    pub fn ulid(&self, now: Timestamp) -> String {
        let milliseconds = u64::try_from(now.0 / 1_000).unwrap_or(0);
        Ulid::from_parts(milliseconds, u128::from_le_bytes(self.bytes())).to_string()
    }
}

impl std::fmt::Debug for Randomness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Randomness")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_sort_by_time() {
        let rng = Randomness::seeded(1);
        let (early, late) = (rng.ulid(Timestamp(1_000_000)), rng.ulid(Timestamp(2_000_000)));
        assert!(early < late, "{early} {late}");
        assert_eq!(Randomness::seeded(1).bytes::<8>(), Randomness::seeded(1).bytes::<8>());
    }
}
