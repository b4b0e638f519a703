//! A GitHub in trouble, by the numbers: a part of all calls fails, in ways drawn from a seed, and
//! each installation has so many calls in a window, as the real one has in an hour.

use std::collections::BTreeMap;

use super::faults::Fault;
use super::reply::Reply;
use crate::time::now_seconds;

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub seed: u64,
    /// Of 1,000 calls so many get a 502 or lose their connection before or after the write.
    pub failing: u64,
    /// Of 1,000 calls so many are told to wait a second or two.
    pub limited: u64,
    /// Calls an installation has in each window.
    pub calls: u32,
    /// The window's length in seconds.
    pub window: i64,
}

/// The weather, and what it did.
#[derive(Debug)]
pub(crate) struct Storm {
    weather: Weather,
    drawn: u64,
    /// Calls of each installation, and the window they are in.
    counted: BTreeMap<u64, (i64, u32)>,
    /// How often each kind of fault was drawn.
    pub met: BTreeMap<String, usize>,
}

impl Storm {
    pub(crate) fn new(weather: Weather) -> Self {
        Self { weather, drawn: weather.seed, counted: BTreeMap::new(), met: BTreeMap::new() }
    }

    /// A step of `SplitMix64`, below `bound`.
    fn draw(&mut self, bound: u64) -> u64 {
        self.drawn = self.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.drawn;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// What befalls the next call, if anything does.
    pub(crate) fn take(&mut self) -> Option<Fault> {
        let drawn = self.draw(1000);
        let fault = if drawn < self.weather.failing {
            [Fault::BadGateway, Fault::DropConnection, Fault::DropAfterWrite]
                [usize::try_from(drawn % 3).ok()?]
        } else if drawn < self.weather.failing + self.weather.limited {
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

    /// Counts a call of an installation: what is left of its window, and when the next begins.
    pub(crate) fn count(&mut self, installation: u64) -> (u32, i64) {
        let window = now_seconds().div_euclid(self.weather.window);
        let counted = self.counted.entry(installation).or_default();
        if counted.0 != window {
            *counted = (window, 0);
        }
        counted.1 += 1;
        (self.weather.calls.saturating_sub(counted.1), (window + 1) * self.weather.window)
    }

    /// Whether an installation has spent its window: then its next call is refused so.
    pub(crate) fn spent(&self, installation: u64) -> Option<Fault> {
        let window = now_seconds().div_euclid(self.weather.window);
        let is_spent = self.counted.get(&installation) == Some(&(window, self.weather.calls));
        is_spent.then_some(Fault::RateLimited { reset: (window + 1) * self.weather.window })
    }

    /// Puts the count on an answer.
    pub(crate) fn on(&self, reply: Reply, remaining: u32, reset: i64) -> Reply {
        reply
            .header("x-ratelimit-limit", self.weather.calls.to_string())
            .header("x-ratelimit-remaining", remaining.to_string())
            .header("x-ratelimit-reset", reset.to_string())
    }
}
