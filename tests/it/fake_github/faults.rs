//! What can be made to go wrong on demand, and points where a request is held so that a test
//! can do something (such as SIGKILL) in the middle of it.

use std::time::Duration;

use tokio::sync::watch;

/// Which requests: by method, by a part of path and query, and by count.
#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    method: String,
    path_contains: String,
    skip: usize,
    times: usize,
}

impl Matcher {
    /// The next such request, once.
    pub(crate) fn on(method: &str, path_contains: &str) -> Self {
        Self { method: method.to_owned(), path_contains: path_contains.to_owned(), skip: 0, times: 1 }
    }

    /// Counting from 1: the `nth` such request from now on.
    pub(crate) fn nth(mut self, nth: usize) -> Self {
        self.skip = nth.checked_sub(1).expect("requests are counted from 1");
        self
    }

    /// So many such requests.
    pub(crate) fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Whether this request is one of them; a request that fits is counted.
    fn takes(&mut self, method: &str, target: &str) -> bool {
        if self.times == 0 || self.method != method || !target.contains(&self.path_contains) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 403: of the secondary limit, with that `retry-after` in seconds; without one, a plain
    /// refusal that no waiting mends.
    Forbidden { retry_after: Option<u64> },
    /// 429 of the secondary limit, with no hint of when to come back.
    SecondaryLimit,
    /// 403 of the primary limit: nothing remains until `reset` (seconds since the epoch).
    RateLimited { reset: i64 },
    /// 502 with GitHub's page in place of JSON; nothing was written.
    BadGateway,
    /// 401: the token is no longer good.
    Unauthorized,
    /// Nothing is written and no answer ever comes: the client's own timeout has to end it.
    TimeoutBeforeWrite,
    /// The write is done and no answer ever comes.
    TimeoutAfterWrite,
    /// Nothing is written and the connection is closed at once.
    DropConnection,
    /// The write is done and the connection is closed at once: as unanswered as a timeout is,
    /// and quick.
    DropAfterWrite,
}

impl Fault {
    /// Whether the request is carried out all the same.
    pub(crate) fn writes(self) -> bool {
        matches!(self, Self::TimeoutAfterWrite | Self::DropAfterWrite)
    }
}

/// The side of the write at which a request is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    BeforeWrite,
    AfterWrite,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Held,
    Released,
    Dropped,
}

/// The test's end of a held request. Letting go of it releases what is held.
pub(crate) struct Pause {
    what: String,
    reached: watch::Receiver<usize>,
    gate: watch::Sender<Gate>,
}

impl Pause {
    /// Returns when a request is being held.
    pub(crate) async fn reached(&self) {
        let mut reached = self.reached.clone();
        let waiting = reached.wait_for(|held| *held > 0);
        match tokio::time::timeout(Duration::from_secs(30), waiting).await {
            Ok(Ok(_)) => {}
            _ => panic!("no request came to be held at {}", self.what),
        }
    }

    /// Lets the request, and every later one, go on.
    pub(crate) fn release(&self) {
        self.gate.send_replace(Gate::Released);
    }

    /// Closes the connection of the held request instead: held before its write, it never
    /// writes, whatever became of the client meanwhile. Later requests go on.
    pub(crate) fn drop_connection(&self) {
        self.gate.send_replace(Gate::Dropped);
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.gate.send_if_modified(|gate| {
            let held = *gate == Gate::Held;
            if held {
                *gate = Gate::Released;
            }
            held
        });
    }
}

/// The server's end: taken by the request that is held.
pub(crate) struct Hold {
    reached: watch::Sender<usize>,
    gate: watch::Receiver<Gate>,
}

impl Hold {
    /// Waits for the test; `false` means: close the connection.
    pub(crate) async fn wait(mut self) -> bool {
        self.reached.send_modify(|held| *held += 1);
        match self.gate.wait_for(|gate| *gate != Gate::Held).await {
            Ok(gate) => *gate == Gate::Released,
            Err(_) => true,
        }
    }
}

/// Every fault and pause that is armed.
#[derive(Default)]
pub(crate) struct Armed {
    faults: Vec<(Matcher, Fault)>,
    holds: Vec<(Matcher, Side, Hold)>,
}

impl Armed {
    pub(crate) fn fault(&mut self, matcher: Matcher, fault: Fault) {
        self.faults.push((matcher, fault));
    }

    pub(crate) fn pause(&mut self, matcher: Matcher, side: Side) -> Pause {
        let (reached_sender, reached) = watch::channel(0);
        let (gate, gate_receiver) = watch::channel(Gate::Held);
        let what = format!("{} …{}…", matcher.method, matcher.path_contains);
        self.holds.push((matcher, side, Hold { reached: reached_sender, gate: gate_receiver }));
        Pause { what, reached, gate }
    }

    /// The fault for this request: the first armed one that fits.
    pub(crate) fn take_fault(&mut self, method: &str, target: &str) -> Option<Fault> {
        let mut found = None;
        for (matcher, fault) in &mut self.faults {
            if found.is_none() && matcher.takes(method, target) {
                found = Some(*fault);
            }
        }
        found
    }

    /// The hold for this request on this side of its write.
    pub(crate) fn take_hold(&mut self, side: Side, method: &str, target: &str) -> Option<Hold> {
        let position = self
            .holds
            .iter_mut()
            .position(|(matcher, at, _)| *at == side && matcher.takes(method, target))?;
        Some(self.holds.remove(position).2)
    }

    /// Faults that no request has met yet: a test that armed them proved nothing.
    pub(crate) fn unmet(&self) -> Vec<String> {
        let waiting = self.faults.iter().filter(|(matcher, _)| matcher.times > 0);
        waiting
            .map(|(m, fault)| format!("armed but never met: {fault:?} on {} …{}…", m.method, m.path_contains))
            .collect()
    }
}
