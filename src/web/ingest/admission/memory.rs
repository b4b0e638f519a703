//! How much memory the process really has, asked of the system: what budgets count is an
//! estimate, this is not. Where the system does not tell, nothing is refused for it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use pacegate_engine::model::time::Timestamp;

/// How old an answer of the system may be.
const FRESH: Duration = Duration::from_millis(50);
/// The share of the limit from which requests go one at a time, in percent.
const HIGH: u64 = 85;
/// What a limit by itself is at most.
const MOST_BY_ITSELF: u64 = 2 << 30;
/// What it is where the system does not tell.
const UNKNOWN: u64 = 1 << 30;

/// How near the limit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pressure {
    /// Far.
    None,
    /// Near: only what is needed to get on.
    High,
    /// Reached.
    Full,
}

/// Watches resident memory.
#[derive(Debug)]
pub(super) struct MemoryGuard {
    limit: u64,
    resident: AtomicU64,
    asked_at: AtomicI64,
}

impl MemoryGuard {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, resident: AtomicU64::new(0), asked_at: AtomicI64::new(i64::MIN) }
    }

    /// Asks the system, unless it was asked a moment ago.
    pub(super) fn pressure(&self, now: Timestamp) -> Pressure {
        let asked_at = self.asked_at.load(Ordering::Relaxed);
        // A clock that was set back does not stop the asking.
        if !(asked_at..Timestamp(asked_at).after(FRESH).0).contains(&now.0) {
            self.asked_at.store(now.0, Ordering::Relaxed);
            self.resident.store(resident().unwrap_or(0), Ordering::Relaxed);
        }
        self.judge()
    }

    /// Whether the limit was reached when the system was asked last.
    pub(super) fn is_full(&self) -> bool {
        self.judge() == Pressure::Full
    }

    fn judge(&self) -> Pressure {
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

/// The number behind a name, which the system gives in units of 1,024.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1 << 10)
}

/// The limit where nobody chose one: three quarters of what the container or else the machine
/// has, and at most 2 GiB.
#[must_use]
pub fn memory_of_this_machine() -> u64 {
    let machine =
        std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| kilobytes(&text, "MemTotal:"));
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    let has = [machine, container].into_iter().flatten().min();
    has.map_or(UNKNOWN, |has| (has / 4 * 3).min(MOST_BY_ITSELF))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_told_from_afar() {
        let guard = MemoryGuard::new(1000);
        for (resident, expected) in
            [(0, Pressure::None), (849, Pressure::None), (850, Pressure::High), (1000, Pressure::Full)]
        {
            guard.resident.store(resident, Ordering::Relaxed);
            assert_eq!(guard.judge(), expected, "{resident}");
        }
        // This process is larger than that, and the system says so, at any time of day.
        for now in [5, 0, i64::MAX] {
            guard.resident.store(0, Ordering::Relaxed);
            assert_eq!(guard.pressure(Timestamp(now)), Pressure::Full, "{now}");
        }
    }

    #[test]
    fn the_system_s_numbers_are_read() {
        let text = "Name:\tpacegate\nVmRSS:\t   15384 kB\nThreads: 4\n";
        assert_eq!(kilobytes(text, "VmRSS:"), Some(15_384 << 10));
        assert_eq!(kilobytes(text, "VmHWM:"), None);
        assert!((64 << 20..=MOST_BY_ITSELF).contains(&memory_of_this_machine()));
    }
}
