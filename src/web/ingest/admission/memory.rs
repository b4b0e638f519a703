//! Reads the process's resident memory from the operating system. Reservations are estimates; this
//! is measured. If the system has no figure, no request is refused because of memory.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use pacegate_engine::model::time::Timestamp;

/// A measured value is used for this long.
const FRESH: Duration = Duration::from_millis(50);
/// The share of the limit from which requests go one at a time, in percent.
const HIGH: u64 = 85;
/// The largest default limit.
const LARGEST_DEFAULT: u64 = 2 << 30;
/// The default limit where the system has no figure.
const UNKNOWN: u64 = 1 << 30;

/// Resident memory compared with the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pressure {
    None,
    /// From `HIGH` percent of the limit.
    High,
    Full,
}

/// Watches resident memory.
#[derive(Debug)]
pub(super) struct MemoryGuard {
    limit: u64,
    resident: AtomicU64,
    measured_at: AtomicI64,
}

impl MemoryGuard {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, resident: AtomicU64::new(0), measured_at: AtomicI64::new(i64::MIN) }
    }

    /// Measures again when the last value is older than `FRESH`.
    pub(super) fn pressure(&self, now: Timestamp) -> Pressure {
        let measured_at = self.measured_at.load(Ordering::Relaxed);
        // Also measures when the clock was set back.
        if !(measured_at..Timestamp(measured_at).after(FRESH).0).contains(&now.0) {
            self.measured_at.store(now.0, Ordering::Relaxed);
            self.resident.store(resident().unwrap_or(0), Ordering::Relaxed);
        }
        self.last_pressure()
    }

    /// Whether the last measured value reached the limit.
    pub(super) fn is_full(&self) -> bool {
        self.last_pressure() == Pressure::Full
    }

    fn last_pressure(&self) -> Pressure {
        let resident = self.resident.load(Ordering::Relaxed);
        if resident >= self.limit {
            Pressure::Full
        } else if resident >= self.limit / 100 * HIGH {
            Pressure::High
        } else {
            Pressure::None
        }
    }
}

/// Resident memory of this process in bytes.
fn resident() -> Option<u64> {
    kilobytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// The number after a name, in bytes. The system's unit `kB` is 1,024 bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1 << 10)
}

/// The default limit: three quarters of the container's or machine's memory, at most 2 GiB.
#[must_use]
pub(crate) fn default_memory_limit() -> u64 {
    let machine =
        std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| kilobytes(&text, "MemTotal:"));
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    let memory = [machine, container].into_iter().flatten().min();
    memory.map_or(UNKNOWN, |memory| (memory / 4 * 3).min(LARGEST_DEFAULT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_rises_near_limit() {
        let guard = MemoryGuard::new(1000);
        for (resident, expected) in
            [(0, Pressure::None), (849, Pressure::None), (850, Pressure::High), (1000, Pressure::Full)]
        {
            guard.resident.store(resident, Ordering::Relaxed);
            assert_eq!(guard.last_pressure(), expected, "{resident}");
        }
        // The test process has more than 1,000 bytes, at any time of the clock.
        for now in [5, 0, i64::MAX] {
            guard.resident.store(0, Ordering::Relaxed);
            assert_eq!(guard.pressure(Timestamp(now)), Pressure::Full, "{now}");
        }
    }

    #[test]
    fn numbers_of_the_system_are_read() {
        let text = "Name:\tpacegate\nVmRSS:\t   15384 kB\nThreads: 4\n";
        assert_eq!(kilobytes(text, "VmRSS:"), Some(15_384 << 10));
        assert_eq!(kilobytes(text, "VmHWM:"), None);
        assert!((64 << 20..=LARGEST_DEFAULT).contains(&default_memory_limit()));
    }
}
