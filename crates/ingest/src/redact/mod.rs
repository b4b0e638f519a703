//! What is kept of a span: no secrets by their key or their shape, no text, list or name beyond its
//! bound, and how much was left out. It runs before anything is stored, logged or passed on, and a
//! second time it changes nothing.

mod keys;
mod labels;
mod secrets;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::keys::SecretKeys;
use self::secrets::{MASK, has_secret, mask, masked};
use pacegate_engine::model::span::{AttributeValue, Attributes, Resource, Scope, Span, SpanStatus};

/// Attributes kept of a span, event or resource.
pub const ATTRIBUTES_KEPT: usize = 50;
/// Characters kept of a text.
pub const TEXT_KEPT: usize = 1_000;
/// Characters kept of a stack trace: it is what says where an error arose.
const STACK_TRACE_KEPT: usize = 8_000;
/// Bytes kept of a trace state: W3C's own limit.
const TRACE_STATE_KEPT: usize = 512;
/// Events kept of a span.
pub const EVENTS_KEPT: usize = 20;
/// Links kept of a span.
pub const LINKS_KEPT: usize = 20;
const STACK_TRACE: &str = "exception.stacktrace";

/// Keys that begin so say whose run it is and what failed: kept before all others.
const ESSENTIAL: [&str; 7] =
    ["pipeline.", "stage.", "cicd.pipeline.", "vcs.ref.", "vcs.repository.", "error", "exception."];
/// Keys that begin so are kept before the rest.
const IMPORTANT: [&str; 16] = [
    "cicd.",
    "ci.",
    "vcs.",
    "git.",
    "github.",
    "pacegate.",
    "service.",
    "test.",
    "operation",
    "environment",
    "otel.",
    "os.",
    "host.",
    "runner.",
    "cache",
    "http.",
];

/// Cleans spans. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    keys: Arc<SecretKeys>,
}

impl Redactor {
    /// What is built in, and what the operator adds: comma-separated parts of keys, or globs over whole
    /// keys, of attributes that hold secrets and of those that don't.
    ///
    /// # Errors
    /// A sentence that names the pattern that is none.
    pub fn new(secret_keys: &str, harmless_keys: &str) -> Result<Self, String> {
        Ok(Self { keys: Arc::new(SecretKeys::new(secret_keys, harmless_keys)?) })
    }

    /// Bounds and cleans spans. Resources and scopes that were shared stay shared.
    pub fn redact(&self, spans: &mut [Span]) {
        let mut resources = Shared::default();
        let mut scopes = Shared::default();
        for span in spans {
            span.resource = resources.cleaned(&span.resource, |resource| self.redacted_resource(resource));
            span.scope = scopes.cleaned(&span.scope, |scope| self.redacted_scope(scope));
            self.redact_span(span);
        }
    }

    /// Whether an attribute of this key stays as it is, if its value does.
    #[must_use]
    pub fn leaves_key(&self, key: &str) -> bool {
        !self.keys.contains(key) && self.leaves_text(key, TEXT_KEPT)
    }

    /// Whether a text stays as it is and takes at most so many bytes.
    #[must_use]
    pub fn leaves_text(&self, text: &str, bytes: usize) -> bool {
        text.len() <= bytes && !has_secret(text)
    }

    /// A resource, cleaned.
    #[must_use]
    pub fn redacted_resource(&self, resource: &Resource) -> Resource {
        let mut resource = resource.clone();
        let dropped = self.attributes(&mut resource.attributes);
        resource.dropped_attributes = resource.dropped_attributes.saturating_add(dropped);
        resource
    }

    /// A scope, cleaned.
    #[must_use]
    pub fn redacted_scope(&self, scope: &Scope) -> Scope {
        Scope { name: redacted(scope.name.clone()), version: redacted(scope.version.clone()) }
    }

    /// Cleans a span; its resource and scope are left as they are.
    pub fn redact_span(&self, span: &mut Span) {
        clean(&mut span.name);
        mask(&mut span.trace_state);
        cut_trace_state(&mut span.trace_state);
        let attributes = self.attributes(&mut span.attributes);
        if let SpanStatus::Error(message) = &mut span.status {
            clean(message);
        }
        let events = keep_important(&mut span.events, EVENTS_KEPT, |event| event_rank(&event.name));
        for event in &mut span.events {
            clean(&mut event.name);
            let dropped = self.attributes(&mut event.attributes);
            event.dropped_attributes = event.dropped_attributes.saturating_add(dropped);
        }
        let links = count(span.links.len().saturating_sub(LINKS_KEPT));
        span.links.truncate(LINKS_KEPT);
        let mut of_links = 0;
        for link in &mut span.links {
            of_links += self.attributes(&mut link.attributes);
        }
        let dropped = &mut span.dropped;
        // A link has no count of its own: what it lost is the span's.
        dropped.attributes = dropped.attributes.saturating_add(attributes).saturating_add(of_links);
        dropped.events = dropped.events.saturating_add(events);
        dropped.links = dropped.links.saturating_add(links);
    }

    /// Cleans attributes, nested ones too, and returns how many were left out.
    fn attributes(&self, attributes: &mut Attributes) -> u32 {
        let mut dropped = keep_important(&mut attributes.0, ATTRIBUTES_KEPT, |(key, _)| key_rank(key));
        for (key, value) in &mut attributes.0 {
            let is_secret = self.keys.contains(key);
            // By its key as it was, or as it is kept: the next pass sees only that.
            if is_secret | (clean(key) && self.keys.contains(key)) {
                *value = AttributeValue::String(MASK.to_owned());
            } else if let (STACK_TRACE, AttributeValue::String(text)) = (key.as_str(), &mut *value) {
                mask(text);
                cut_in_the_middle(text, STACK_TRACE_KEPT);
                mask(text);
            } else {
                dropped += self.value(value);
            }
        }
        dropped
    }

    fn value(&self, value: &mut AttributeValue) -> u32 {
        match value {
            AttributeValue::String(text) => {
                clean(text);
                0
            }
            AttributeValue::Bytes(bytes) => {
                if let Some(masked) = masked(bytes) {
                    *bytes = masked;
                }
                bytes.truncate(TEXT_KEPT);
                0
            }
            AttributeValue::Array(values) => {
                values.truncate(ATTRIBUTES_KEPT);
                values.iter_mut().map(|value| self.value(value)).sum()
            }
            // The depth is bounded where values are read.
            AttributeValue::Map(attributes) => self.attributes(attributes),
            AttributeValue::Bool(_)
            | AttributeValue::Int(_)
            | AttributeValue::Double(_)
            | AttributeValue::Empty => 0,
        }
    }
}

/// Bounds and cleans spans by what is built in.
pub fn redact(spans: &mut [Span]) {
    Redactor::default().redact(spans);
}

/// Bounds and cleans one text.
#[must_use]
pub fn redacted(mut text: String) -> String {
    clean(&mut text);
    text
}

/// What spans share, cleaned once for those that follow one another.
struct Shared<T>(Option<(Arc<T>, Arc<T>)>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Shared<T> {
    fn cleaned(&mut self, shared: &Arc<T>, clean: impl FnOnce(&T) -> T) -> Arc<T> {
        if let Some((from, to)) = &self.0
            && Arc::ptr_eq(from, shared)
        {
            return to.clone();
        }
        let cleaned = Arc::new(clean(shared));
        self.0 = Some((shared.clone(), cleaned.clone()));
        cleaned
    }
}

fn key_rank(key: &str) -> u8 {
    let begins = |list: &[&str]| list.iter().any(|prefix| key.starts_with(prefix));
    if begins(&ESSENTIAL) {
        0
    } else if begins(&IMPORTANT) {
        1
    } else {
        2
    }
}

/// Events that say how a span failed, then those that say how it began or ended.
fn event_rank(name: &str) -> u8 {
    let contains =
        |word: &str| name.as_bytes().windows(word.len()).any(|w| w.eq_ignore_ascii_case(word.as_bytes()));
    if ["exception", "error", "fail"].into_iter().any(contains) {
        0
    } else if ["start", "begin", "end", "complete", "finish"].into_iter().any(contains) {
        1
    } else {
        2
    }
}

/// Keeps at most `limit` elements, those of a low rank before others, in their order. Returns how
/// many were left out.
fn keep_important<T>(list: &mut Vec<T>, limit: usize, rank: impl Fn(&T) -> u8) -> u32 {
    let before = list.len();
    if before <= limit {
        return 0;
    }
    let mut room = [0; 3];
    for element in list.iter() {
        room[usize::from(rank(element).min(2))] += 1;
    }
    let mut left = limit;
    for room in &mut room {
        *room = left.min(*room);
        left -= *room;
    }
    list.retain(|element| {
        let room = &mut room[usize::from(rank(element).min(2))];
        let keep = *room > 0;
        *room = room.saturating_sub(1);
        keep
    });
    count(before - limit)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Masks what is secret in a text and cuts it at its bound. `true`: it changed.
fn clean(text: &mut String) -> bool {
    let mut changed = false;
    // Before it is cut: half a secret has no shape any more. Afterwards too: what is cut can look
    // like one, and the next pass must find nothing to do.
    while mask(text) | cut(text) {
        if changed {
            break;
        }
        changed = true;
    }
    changed
}

/// Cuts a text at its bound and says so with an ellipsis.
fn cut(text: &mut String) -> bool {
    // Fewer bytes than characters allowed: nothing to count.
    if text.len() > TEXT_KEPT
        && let Some((at, _)) = text.char_indices().nth(TEXT_KEPT)
        && text[at..] != *"…"
    {
        text.truncate(at);
        text.push('…');
        return true;
    }
    false
}

/// Cuts a trace state between two of its members.
fn cut_trace_state(text: &mut String) {
    if text.len() > TRACE_STATE_KEPT {
        let kept = text.as_bytes()[..=TRACE_STATE_KEPT].iter().rposition(|b| *b == b',').unwrap_or(0);
        text.truncate(kept);
    }
}

/// Cuts what is between the ends of a stack trace, on a line of its own: some languages print
/// the innermost call first and some last.
fn cut_in_the_middle(text: &mut String, kept: usize) {
    let length = if text.len() > kept { text.chars().count() } else { 0 };
    if length <= kept {
        return;
    }
    let at = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
    let (from, to) = (at(kept / 2), at(length - kept / 2));
    text.replace_range(from..to, "\n…\n");
}
