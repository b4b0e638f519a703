//! Cached answers for conditional requests: GitHub does not count a call that it answers with "not
//! modified". Bounded and in memory. A cached answer is used only when GitHub has confirmed for the
//! present token that it is unchanged.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;

/// A larger answer is not kept, bytes.
const ANSWER_LIMIT: usize = 256 << 10;
/// Limit for all kept answers together, bytes.
const TOTAL_LIMIT: usize = 8 << 20;

/// A cached answer.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub etag: HeaderValue,
    pub body: Arc<[u8]>,
}

/// Cached answers by route. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Etags(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<String, Known>,
    /// Routes, oldest first. A replaced answer keeps its place.
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
            if let Some(evicted) = inner.known.remove(&oldest) {
                inner.bytes -= evicted.body.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_answers_are_evicted() {
        let etags = Etags::default();
        let body = vec![b' '; ANSWER_LIMIT];
        let fit = TOTAL_LIMIT / ANSWER_LIMIT;
        for i in 0..=fit {
            etags.put(&format!("/{i}"), HeaderValue::from_static("\"a\""), &body);
            // A newer answer to the same call replaces the first.
            etags.put(&format!("/{i}"), HeaderValue::from_static("\"b\""), &body);
        }
        etags.put("/large", HeaderValue::from_static("\"a\""), &vec![b' '; ANSWER_LIMIT + 1]);
        assert!(etags.get("/0").is_none() && etags.get("/large").is_none());
        for i in 1..=fit {
            assert_eq!(etags.get(&format!("/{i}")).expect("kept").etag, "\"b\"");
        }
    }
}
