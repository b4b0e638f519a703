//! What is kept of a span: no secrets by their key, no text, list or name beyond its bound.
//! It runs before anything is stored.

use std::sync::Arc;

use crate::model::span::{AttributeValue, Attributes, Resource, Span, SpanStatus};

/// Attributes kept of a span, event or resource.
pub const ATTRIBUTES_KEPT: usize = 50;
/// Characters kept of a text.
pub const TEXT_KEPT: usize = 1_000;
/// Characters kept of a stack trace: it is what says where an error arose.
const STACK_TRACE_KEPT: usize = 8_000;
/// Events kept of a span.
pub const EVENTS_KEPT: usize = 20;
/// Links kept of a span.
pub const LINKS_KEPT: usize = 20;
const STACK_TRACE: &str = "exception.stacktrace";
/// What stands in a secret's place.
const MASK: &str = "[redacted]";

/// A key that contains one of these holds a secret.
const SECRET_WORDS: [&str; 8] =
    ["password", "passwd", "token", "secret", "key", "authorization", "cookie", "credential"];
/// Unless what remains without these says nothing of the kind.
const HARMLESS_WORDS: [&str; 9] = [
    "primary_key",
    "foreign_key",
    "partition_key",
    "routing_key",
    "sort_key",
    "cache.key",
    "cache_key",
    "keyspace",
    "keyboard",
];
/// Keys that begin so are kept before others when there are too many.
const IMPORTANT: [&str; 12] = [
    "pipeline.",
    "stage.",
    "cicd.",
    "ci.",
    "vcs.",
    "github.",
    "service.",
    "test.",
    "exception.",
    "error",
    "os.",
    "host.",
];

/// Cleans spans.
#[derive(Debug, Clone, Default)]
pub struct Redactor {}

impl Redactor {
    /// Whether an attribute of this key stays as it is, whatever its value.
    #[must_use]
    pub fn leaves_key(&self, key: &str) -> bool {
        key.len() <= TEXT_KEPT && !is_secret(key)
    }

    /// Whether a text of at most so many bytes stays as it is.
    #[must_use]
    pub fn leaves_text(&self, text: &str, bytes: usize) -> bool {
        text.len() <= bytes
    }

    /// A resource, cleaned.
    #[must_use]
    pub fn redacted_resource(&self, resource: &Resource) -> Resource {
        let mut resource = resource.clone();
        redact_attributes(&mut resource.attributes);
        resource
    }

    /// A scope, cleaned.
    #[must_use]
    pub fn redacted_scope(&self, scope: &crate::model::span::Scope) -> crate::model::span::Scope {
        scope.clone()
    }

    /// Cleans a span; its resource and scope are left.
    pub fn redact_span(&self, span: &mut Span) {
        let resource = span.resource.clone();
        redact(std::slice::from_mut(span));
        span.resource = resource;
    }
}

/// Bounds and cleans spans. Resources that were shared stay shared.
pub fn redact(spans: &mut [Span]) {
    let mut last: Option<(Arc<Resource>, Arc<Resource>)> = None;
    for span in spans {
        span.resource = match &last {
            Some((from, to)) if Arc::ptr_eq(from, &span.resource) => to.clone(),
            _ => {
                let mut resource = (*span.resource).clone();
                redact_attributes(&mut resource.attributes);
                let cleaned = Arc::new(resource);
                last = Some((span.resource.clone(), cleaned.clone()));
                cleaned
            }
        };
        cut(&mut span.name);
        redact_attributes(&mut span.attributes);
        if let SpanStatus::Error(message) = &mut span.status {
            cut(message);
        }
        if span.events.len() > EVENTS_KEPT {
            keep_important(&mut span.events, EVENTS_KEPT, |event| event_matters(&event.name));
        }
        for event in &mut span.events {
            cut(&mut event.name);
            redact_attributes(&mut event.attributes);
        }
        span.links.truncate(LINKS_KEPT);
        for link in &mut span.links {
            redact_attributes(&mut link.attributes);
        }
    }
}

fn redact_attributes(attributes: &mut Attributes) {
    if attributes.0.len() > ATTRIBUTES_KEPT {
        keep_important(&mut attributes.0, ATTRIBUTES_KEPT, |(key, _)| {
            IMPORTANT.iter().any(|p| key.starts_with(p))
        });
    }
    for (key, value) in &mut attributes.0 {
        cut(key);
        if is_secret(key) {
            *value = AttributeValue::String(MASK.to_owned());
        } else if let (STACK_TRACE, AttributeValue::String(text)) = (key.as_str(), &mut *value) {
            cut_in_the_middle(text, STACK_TRACE_KEPT);
        } else {
            bound_value(value);
        }
    }
}

fn bound_value(value: &mut AttributeValue) {
    match value {
        AttributeValue::String(text) => cut(text),
        AttributeValue::Bytes(bytes) => bytes.truncate(TEXT_KEPT),
        AttributeValue::Array(values) => {
            values.truncate(ATTRIBUTES_KEPT);
            values.iter_mut().for_each(bound_value);
        }
        // The depth is bounded where values are read.
        AttributeValue::Map(attributes) => redact_attributes(attributes),
        AttributeValue::Bool(_)
        | AttributeValue::Int(_)
        | AttributeValue::Double(_)
        | AttributeValue::Empty => {}
    }
}

fn is_secret(key: &str) -> bool {
    let mut key = key.to_ascii_lowercase();
    for harmless in HARMLESS_WORDS {
        if key.contains(harmless) {
            key = key.replace(harmless, "");
        }
    }
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// Events that say how a span began, ended or failed.
fn event_matters(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["exception", "error", "fail", "start", "end", "complete"].iter().any(|word| name.contains(word))
}

/// Keeps at most `limit` elements, the important ones before others, in their order.
fn keep_important<T>(list: &mut Vec<T>, limit: usize, important: impl Fn(&T) -> bool) {
    let important_ones = list.iter().filter(|e| important(e)).count();
    let mut others_left = limit.saturating_sub(important_ones);
    let mut left = limit;
    list.retain(|element| {
        let keep = left > 0
            && (important(element) || {
                let room = others_left > 0;
                others_left = others_left.saturating_sub(1);
                room
            });
        left -= usize::from(keep);
        keep
    });
}

/// Cuts a text at its bound and says so with an ellipsis.
fn cut(text: &mut String) {
    // Fewer bytes than characters allowed: nothing to count.
    if text.len() > TEXT_KEPT
        && let Some((at, _)) = text.char_indices().nth(TEXT_KEPT)
    {
        text.truncate(at);
        text.push('…');
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::{Limits, otlp};

    fn one_span(json: &str) -> Span {
        let body = format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"api_token","value":{{"stringValue":"t0p"}}}}]}},
            "scopeSpans":[{{"spans":[{{"traceId":"{}","spanId":"{}",{json}}}]}}]}}]}}"#,
            "1".repeat(32),
            "2".repeat(16)
        );
        let mut spans = otlp::decode_json(body.as_bytes(), Limits::default()).expect("readable").spans;
        redact(&mut spans);
        spans.remove(0)
    }

    #[test]
    fn values_under_secret_keys_are_masked_and_harmless_ones_kept() {
        let span = one_span(
            r#""attributes":[{"key":"db.Password","value":{"stringValue":"hunter2"}},
            {"key":"primary_key","value":{"intValue":7}},{"key":"primary_key_secret","value":{"intValue":7}},
            {"key":"nested","value":{"kvlistValue":{"values":[{"key":"cookie","value":{"stringValue":"c"}}]}}}]"#,
        );
        let all = format!("{span:?}");
        for secret in ["hunter2", "t0p", "\"c\""] {
            assert!(!all.contains(secret), "{secret} in {all}");
        }
        assert_eq!(span.attributes.get("primary_key"), Some(&AttributeValue::Int(7)));
        assert_eq!(span.attributes.text("primary_key_secret").as_deref(), Some(MASK));
    }

    #[test]
    fn a_name_of_a_million_characters_is_cut() {
        let span = one_span(&format!(r#""name":"{}""#, "é".repeat(1_000_000)));
        assert_eq!(span.name.chars().count(), TEXT_KEPT + 1);
    }

    #[test]
    fn a_stack_trace_keeps_both_of_its_ends() {
        let json = format!(
            r#""events":[{{"name":"exception","attributes":[{{"key":"exception.stacktrace","value":{{"stringValue":"first {} last"}}}}]}}]"#,
            "é".repeat(100_000)
        );
        let kept = one_span(&json).events[0].attributes.text(STACK_TRACE).expect("is kept");
        assert!(kept.starts_with("first é") && kept.ends_with("é last") && kept.contains("\n…\n"));
        assert_eq!(kept.chars().count(), STACK_TRACE_KEPT + 3);
    }

    #[test]
    fn important_attributes_and_events_survive_a_crowd() {
        let crowd: Vec<String> =
            (0..100).map(|i| format!(r#"{{"key":"a{i}","value":{{"intValue":1}}}}"#)).collect();
        let events: Vec<String> = (0..100).map(|i| format!(r#"{{"name":"tick-{i}"}}"#)).collect();
        let span = one_span(&format!(
            r#""attributes":[{},{{"key":"stage.name","value":{{"stringValue":"test"}}}}],"events":[{},{{"name":"exception"}}]"#,
            crowd.join(","),
            events.join(",")
        ));
        assert_eq!(span.attributes.0.len(), ATTRIBUTES_KEPT);
        assert_eq!(span.attributes.text("stage.name").as_deref(), Some("test"));
        assert_eq!(span.events.len(), EVENTS_KEPT);
        assert_eq!(span.events.last().map(|e| e.name.as_str()), Some("exception"));
    }
}
