//! Redacts spans before they are stored, logged or forwarded. Secrets are masked by their key or
//! shape; texts and lists are cut at their bounds, with a count of the dropped elements. A second
//! pass changes nothing.

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
pub(crate) const ATTRIBUTES_KEPT: usize = 50;
/// Characters kept of a text.
pub(crate) const TEXT_KEPT: usize = 1_000;
/// Characters kept of a stack trace, which locates an error.
const STACK_TRACE_KEPT: usize = 8_000;
/// Bytes kept of a trace state: the limit of the W3C specification.
const TRACE_STATE_KEPT: usize = 512;
/// Events kept of a span.
pub(crate) const EVENTS_KEPT: usize = 20;
/// Links kept of a span.
pub(crate) const LINKS_KEPT: usize = 20;
const STACK_TRACE: &str = "exception.stacktrace";

/// Prefixes of keys that identify the run or a failure. They are kept before all others.
const ESSENTIAL: [&str; 7] =
    ["pipeline.", "stage.", "cicd.pipeline.", "vcs.ref.", "vcs.repository.", "error", "exception."];
/// Prefixes of keys that are kept before the rest.
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

/// Redacts spans with the built-in rules and the operator's keys. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    keys: Arc<SecretKeys>,
}

impl Redactor {
    /// Adds the operator's patterns to the built-in ones. A list is separated by commas; a pattern is a
    /// part of a key, or a glob over a whole key.
    ///
    /// # Errors
    /// A sentence that names the invalid pattern.
    pub fn new(secret_keys: &str, harmless_keys: &str) -> Result<Self, String> {
        Ok(Self { keys: Arc::new(SecretKeys::new(secret_keys, harmless_keys)?) })
    }

    /// Redacts spans. Shared resources and scopes stay shared.
    pub fn redact(&self, spans: &mut [Span]) {
        let mut resources = Shared::default();
        let mut scopes = Shared::default();
        for span in spans {
            span.resource = resources.redacted(&span.resource, |resource| self.redacted_resource(resource));
            span.scope = scopes.redacted(&span.scope, Self::redacted_scope);
            self.redact_span(span);
        }
    }

    /// `true` if redaction changes neither this key nor the value under it because of the key.
    #[must_use]
    pub(crate) fn leaves_key(&self, key: &str) -> bool {
        !self.keys.contains(key) && Self::leaves_text(key, TEXT_KEPT)
    }

    /// `true` if a text has no secret and at most `bytes` bytes.
    #[must_use]
    pub(crate) fn leaves_text(text: &str, bytes: usize) -> bool {
        text.len() <= bytes && !has_secret(text)
    }

    #[must_use]
    pub(crate) fn redacted_resource(&self, resource: &Resource) -> Resource {
        let mut resource = resource.clone();
        let dropped = self.attributes(&mut resource.attributes);
        resource.dropped_attributes = resource.dropped_attributes.saturating_add(dropped);
        resource
    }

    #[must_use]
    pub(crate) fn redacted_scope(scope: &Scope) -> Scope {
        Scope { name: redacted(scope.name.clone()), version: redacted(scope.version.clone()) }
    }

    /// Redacts a span, but not its resource and scope.
    pub(crate) fn redact_span(&self, span: &mut Span) {
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
        // A link has no count of dropped attributes: the span's count includes them.
        dropped.attributes = dropped.attributes.saturating_add(attributes).saturating_add(of_links);
        dropped.events = dropped.events.saturating_add(events);
        dropped.links = dropped.links.saturating_add(links);
    }

    /// Redacts attributes, also nested ones. Returns the number of dropped attributes.
    fn attributes(&self, attributes: &mut Attributes) -> u32 {
        let mut dropped = keep_important(&mut attributes.0, ATTRIBUTES_KEPT, |(key, _)| key_rank(key));
        for (key, value) in &mut attributes.0 {
            let is_secret = self.keys.contains(key);
            // The redacted key is checked too: a second pass sees only that one.
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

/// Redacts spans with the built-in rules.
pub fn redact(spans: &mut [Span]) {
    Redactor::default().redact(spans);
}

/// Masks the secrets in a text and cuts it at its bound.
#[must_use]
pub fn redacted(mut text: String) -> String {
    clean(&mut text);
    text
}

/// Redacts a shared value once for neighbouring spans.
struct Shared<T>(Option<(Arc<T>, Arc<T>)>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Shared<T> {
    fn redacted(&mut self, shared: &Arc<T>, redact: impl FnOnce(&T) -> T) -> Arc<T> {
        if let Some((from, to)) = &self.0
            && Arc::ptr_eq(from, shared)
        {
            return to.clone();
        }
        let redacted = Arc::new(redact(shared));
        self.0 = Some((shared.clone(), redacted.clone()));
        redacted
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

/// Events about failures come first, then events about the beginning or end.
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

/// Keeps at most `limit` elements in their order; elements of a lower rank are preferred. Returns the
/// number of dropped elements.
fn keep_important<T>(list: &mut Vec<T>, limit: usize, rank: impl Fn(&T) -> u8) -> u32 {
    let before = list.len();
    if before <= limit {
        return 0;
    }
    let mut quota = [0; 3];
    for element in list.iter() {
        quota[usize::from(rank(element).min(2))] += 1;
    }
    let mut left = limit;
    for quota in &mut quota {
        *quota = left.min(*quota);
        left -= *quota;
    }
    list.retain(|element| {
        let quota = &mut quota[usize::from(rank(element).min(2))];
        let keep = *quota > 0;
        *quota = quota.saturating_sub(1);
        keep
    });
    count(before - limit)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Masks the secrets in a text and cuts it at its bound. Returns `true` if the text changed.
fn clean(text: &mut String) -> bool {
    let mut changed = false;
    // Secrets are masked before the cut, because half a secret has no known shape. They are masked
    // again after it, because a cut text can look like a secret and a second pass must change nothing.
    while mask(text) | cut(text) {
        if changed {
            break;
        }
        changed = true;
    }
    changed
}

/// Cuts a text at its bound and appends an ellipsis.
fn cut(text: &mut String) -> bool {
    // A text has at least as many bytes as characters, so short texts are not counted.
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

/// Replaces the middle of a stack trace by a line with an ellipsis. Both ends are kept, because some
/// languages print the innermost call first and some last.
fn cut_in_the_middle(text: &mut String, kept: usize) {
    let length = if text.len() > kept { text.chars().count() } else { 0 };
    if length <= kept {
        return;
    }
    let at = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
    let (from, to) = (at(kept / 2), at(length - kept / 2));
    text.replace_range(from..to, "\n…\n");
}
