//! A GitHub in trouble. A share of all calls fails, with faults drawn from a seed. Each
//! installation has a limited number of calls in a window, as the real one has in an hour.

use std::collections::BTreeMap;

use super::faults::Fault;
use super::reply::Reply;
use crate::time::now_seconds;

/// The parameters of a storm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StormParameters {
    pub seed: u64,
    /// Calls per 1,000 that get a 502 or lose their connection before or after the write.
    pub failing: u64,
    /// Calls per 1,000 that are rate limited, with a wait of one or two seconds.
    pub limited: u64,
    /// Calls of an installation in each window.
    pub calls: u32,
    /// The length of a window in seconds.
    pub window: i64,
}

/// A running storm, and the faults it caused.
#[derive(Debug)]
pub(crate) struct Storm {
    parameters: StormParameters,
    drawn: u64,
    /// The current window and the calls in it, by installation.
    counted: BTreeMap<u64, (i64, u32)>,
    /// How often each kind of fault was drawn.
    pub met: BTreeMap<String, usize>,
}

impl Storm {
    pub(crate) fn new(parameters: StormParameters) -> Self {
        Self { parameters, drawn: parameters.seed, counted: BTreeMap::new(), met: BTreeMap::new() }
    }

    /// A step of `SplitMix64`, below `bound`.
    fn draw(&mut self, bound: u64) -> u64 {
        self.drawn = self.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.drawn;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// The fault for the next call, if it fails.
    pub(crate) fn take(&mut self) -> Option<Fault> {
        let drawn = self.draw(1000);
        let fault = if drawn < self.parameters.failing {
            [Fault::BadGateway, Fault::DropConnection, Fault::DropAfterWrite]
                [usize::try_from(drawn % 3).ok()?]
        } else if drawn < self.parameters.failing + self.parameters.limited {
            match drawn % 2 {
                0 => Fault::Forbidden { retry_after: Some(1) },
                _ => Fault::RateLimited { reset: now_seconds() + 2 },
            }
        } else {
            return None;
        };
        let name = format!("{fault:?}").split([' ', '{']).next().unwrap_or_default().to_owned();
        *self.met.entry(name).or_default() += 1;
        Some(fault)
    }

    /// Counts a call of an installation. Returns the calls that remain in its window, and when the
    /// next window begins.
    pub(crate) fn count(&mut self, installation: u64) -> (u32, i64) {
        let window = now_seconds().div_euclid(self.parameters.window);
        let counted = self.counted.entry(installation).or_default();
        if counted.0 != window {
            *counted = (window, 0);
        }
        counted.1 += 1;
        (self.parameters.calls.saturating_sub(counted.1), (window + 1) * self.parameters.window)
    }

    /// The refusal of the next call, if an installation has used up its window.
    pub(crate) fn spent(&self, installation: u64) -> Option<Fault> {
        let window = now_seconds().div_euclid(self.parameters.window);
        let is_spent = self.counted.get(&installation) == Some(&(window, self.parameters.calls));
        is_spent.then_some(Fault::RateLimited { reset: (window + 1) * self.parameters.window })
    }

    /// Adds the rate limit headers to an answer.
    pub(crate) fn on(&self, reply: Reply, remaining: u32, reset: i64) -> Reply {
        reply
            .header("x-ratelimit-limit", self.parameters.calls.to_string())
            .header("x-ratelimit-remaining", remaining.to_string())
            .header("x-ratelimit-reset", reset.to_string())
    }
}
