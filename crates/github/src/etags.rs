//! Answers GitHub may say "not modified" to: such a call does not count against the hour's
//! limit. Bounded, in memory, and never served without GitHub's word that this token may still
//! see it and that it is still so.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;

/// A larger answer is not kept.
const ANSWER_LIMIT: usize = 256 << 10;
/// Nor more bytes altogether.
const TOTAL_LIMIT: usize = 8 << 20;

/// An answer that was given before.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// GitHub's name of it.
    pub etag: HeaderValue,
    /// What it said.
    pub body: Arc<[u8]>,
}

/// The answers known, by route. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Etags(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<String, Known>,
    /// Oldest first; a route that was replaced stands where it was.
    order: VecDeque<String>,
    bytes: usize,
}

impl Etags {
    pub(super) fn get(&self, route: &str) -> Option<Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).known.get(route).cloned()
    }

    pub(super) fn put(&self, route: &str, etag: HeaderValue, body: &[u8]) {
        if body.len() > ANSWER_LIMIT {
            return;
        }
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.bytes += body.len();
        match inner.known.insert(route.to_owned(), Known { etag, body: body.into() }) {
            Some(old) => inner.bytes -= old.body.len(),
            None => inner.order.push_back(route.to_owned()),
        }
        while inner.bytes > TOTAL_LIMIT {
            let Some(oldest) = inner.order.pop_front() else { break };
            if let Some(gone) = inner.known.remove(&oldest) {
                inner.bytes -= gone.body.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_answers_make_room_and_large_ones_are_not_kept() {
        let etags = Etags::default();
        let body = vec![b' '; ANSWER_LIMIT];
        let fit = TOTAL_LIMIT / ANSWER_LIMIT;
        for i in 0..=fit {
            etags.put(&format!("/{i}"), HeaderValue::from_static("\"a\""), &body);
            // A newer answer to the same call takes no second place.
            etags.put(&format!("/{i}"), HeaderValue::from_static("\"b\""), &body);
        }
        etags.put("/large", HeaderValue::from_static("\"a\""), &vec![b' '; ANSWER_LIMIT + 1]);
        assert!(etags.get("/0").is_none() && etags.get("/large").is_none());
        for i in 1..=fit {
            assert_eq!(etags.get(&format!("/{i}")).expect("kept").etag, "\"b\"");
        }
    }
}
