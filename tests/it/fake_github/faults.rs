//! Faults that a test arms, and pauses that hold a request so that the test can act in the middle
//! of it, for example with SIGKILL.

use std::time::Duration;

use tokio::sync::watch;

/// Selects requests by method, by a part of path and query, and by count.
#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    method: String,
    path_contains: String,
    skip: usize,
    times: usize,
}

impl Matcher {
    /// The next matching request, once.
    pub(crate) fn on(method: &str, path_contains: &str) -> Self {
        Self { method: method.to_owned(), path_contains: path_contains.to_owned(), skip: 0, times: 1 }
    }

    /// The `nth` matching request from now on, counting from 1.
    pub(crate) fn nth(mut self, nth: usize) -> Self {
        self.skip = nth.checked_sub(1).expect("requests are counted from 1");
        self
    }

    /// This many matching requests.
    pub(crate) fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Counts a matching request, and returns whether it is selected.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Status 403. With `retry-after` in seconds it is the secondary limit. Without, it is a plain
    /// refusal that waiting does not resolve.
    Forbidden { retry_after: Option<u64> },
    /// 429 of the secondary limit, without a hint when to retry.
    SecondaryLimit,
    /// 403 of the primary limit: nothing remains until `reset` (seconds since the epoch).
    RateLimited { reset: i64 },
    /// 502 with GitHub's page in place of JSON. Nothing is written.
    BadGateway,
    /// 401: the token is no longer valid.
    Unauthorized,
    /// Nothing is written and no answer comes. Only the client's own timeout ends the request.
    TimeoutBeforeWrite,
    /// The write is done and no answer comes.
    TimeoutAfterWrite,
    /// Nothing is written and the connection is closed at once.
    DropConnection,
    /// The write is done and the connection is closed at once. For the client this equals a
    /// timeout, but is fast.
    DropAfterWrite,
}

impl Fault {
    /// Whether the request is carried out despite the fault.
    pub(crate) fn writes(self) -> bool {
        matches!(self, Self::TimeoutAfterWrite | Self::DropAfterWrite)
    }
}

/// Whether a request is held before or after its write.
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

/// The test's handle on a held request. Dropping it releases the request.
pub(crate) struct Pause {
    what: String,
    reached: watch::Receiver<usize>,
    gate: watch::Sender<Gate>,
}

impl Pause {
    /// Returns once a request is held.
    pub(crate) async fn reached(&self) {
        let mut reached = self.reached.clone();
        let waiting = reached.wait_for(|held| *held > 0);
        match tokio::time::timeout(Duration::from_secs(30), waiting).await {
            Ok(Ok(_)) => {}
            _ => panic!("no request arrived to be held at {}", self.what),
        }
    }

    /// Releases the held request and every later one.
    pub(crate) fn release(&self) {
        self.gate.send_replace(Gate::Released);
    }

    /// Closes the connection of the held request instead. A request that is held before its write
    /// then never writes, even if the client has ended. Later requests proceed.
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

/// The server's side of a pause, owned by the held request.
pub(crate) struct Hold {
    reached: watch::Sender<usize>,
    gate: watch::Receiver<Gate>,
}

impl Hold {
    /// Waits for the test. `false` means that the connection has to be closed.
    pub(crate) async fn wait(mut self) -> bool {
        self.reached.send_modify(|held| *held += 1);
        match self.gate.wait_for(|gate| *gate != Gate::Held).await {
            Ok(gate) => *gate == Gate::Released,
            Err(_) => true,
        }
    }
}

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

    /// The fault for this request: the first armed fault that matches.
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

    /// Faults that no request has met. A test that armed them proved nothing.
    pub(crate) fn unmet(&self) -> Vec<String> {
        let waiting = self.faults.iter().filter(|(matcher, _)| matcher.times > 0);
        waiting
            .map(|(m, fault)| format!("armed but never met: {fault:?} on {} …{}…", m.method, m.path_contains))
            .collect()
    }
}
