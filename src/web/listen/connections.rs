//! The connections of a port: their number, which of them have a request, and which one is closed
//! when the port is full. Does no I/O.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// State of one connection.
#[derive(Debug)]
struct Entry {
    requests: usize,
    /// The last event of this connection, by `Table::events`.
    active: u64,
    evicted: CancellationToken,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<u64, Entry>,
    /// Number of starts and ends of connections and requests. It is a logical clock.
    events: u64,
}

/// All connections of a port. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    table: Arc<Mutex<Table>>,
    limit: usize,
}

/// One connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    connections: Connections,
    number: u64,
    evicted: CancellationToken,
}

/// A request that is being answered, until it is dropped.
#[derive(Debug)]
pub(super) struct Busy {
    connections: Connections,
    number: u64,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Self {
        Self { table: Arc::default(), limit }
    }

    /// Adds a connection. If the port is full, the connection that was idle for longest is closed.
    /// None if every connection has a request.
    pub(super) fn enter(&self) -> Option<Connection> {
        self.with(|table| {
            if table.entries.len() >= self.limit {
                let idle = table.entries.iter().filter(|(_, entry)| entry.requests == 0);
                let number = *idle.min_by_key(|(_, entry)| entry.active)?.0;
                if let Some(entry) = table.entries.remove(&number) {
                    entry.evicted.cancel();
                }
            }
            table.events += 1;
            let (number, evicted) = (table.events, CancellationToken::new());
            table.entries.insert(number, Entry { requests: 0, active: number, evicted: evicted.clone() });
            Some(Connection { connections: self.clone(), number, evicted })
        })
    }

    fn with<T>(&self, what: impl FnOnce(&mut Table) -> T) -> T {
        what(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, number: u64, what: impl FnOnce(&mut Entry)) {
        self.with(|table| {
            table.events += 1;
            if let Some(entry) = table.entries.get_mut(&number) {
                what(entry);
                entry.active = table.events;
            }
        });
    }
}

impl Connection {
    /// Marks the start of a request. Dropping the result marks its end.
    pub(super) fn busy(&self) -> Busy {
        self.connections.change(self.number, |entry| entry.requests += 1);
        Busy { connections: self.connections.clone(), number: self.number }
    }

    /// Cancelled when the connection has to close for another one.
    pub(super) fn evicted(&self) -> CancellationToken {
        self.evicted.clone()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.with(|table| table.entries.remove(&self.number));
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.connections.change(self.number, |entry| entry.requests = entry.requests.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_idle_connection_is_closed_never_busy_ones() {
        let port = Connections::new(2);
        let first = port.enter().expect("room");
        let second = port.enter().expect("room");
        // The first one was active since, so the second one is idle for longer.
        drop(first.busy());
        let third = port.enter().expect("an idle one is closed");
        assert!(second.evicted().is_cancelled() && !first.evicted().is_cancelled());
        let (_one, _two) = (first.busy(), third.busy());
        assert!(port.enter().is_none(), "every connection has a request");
        drop(second);
        assert!(port.enter().is_none(), "the closed connection frees no second place");
        drop(first);
        assert!(port.enter().is_some());
    }
}
