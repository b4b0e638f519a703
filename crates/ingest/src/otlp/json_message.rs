//! The OTLP JSON message for lenient reading: `null` for a list, integers as numbers or strings,
//! lists cut at their limits. The `Count…` types count the same message without keeping it.

use serde::Deserialize;

use super::json::{OfRequest, OfResource, OfScope};
use crate::bounded::{Bounded, Fold, Sum, Tally};
use crate::lenient::{Double, Enumerated, Integer};
use crate::{ATTRIBUTES_READ, EVENTS_READ};
use pacegate_engine::model::span::{AttributeValue, SpanEvent, SpanLink};

#[derive(Deserialize)]
pub(super) struct CountSpan {}

impl From<CountSpan> for Tally {
    fn from(_: CountSpan) -> Self {
        // Attributes, events and links are objects: `check_values` counts their braces.
        Self { spans: 1, values: 0 }
    }
}

#[derive(Deserialize)]
pub(super) struct CountScope {
    #[serde(default)]
    pub(super) spans: Sum<CountSpan>,
}

impl From<CountScope> for Tally {
    fn from(scope: CountScope) -> Self {
        scope.spans.0
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CountResource {
    #[serde(default)]
    pub(super) scope_spans: Sum<CountScope>,
}

impl From<CountResource> for Tally {
    fn from(resource: CountResource) -> Self {
        resource.scope_spans.0
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CountRequest {
    #[serde(default)]
    pub(super) resource_spans: Sum<CountResource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    #[serde(default)]
    pub(super) resource_spans: Fold<ResourceSpans, OfRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceSpans {
    pub(super) resource: Option<WireResource>,
    #[serde(default)]
    pub(super) scope_spans: Fold<ScopeSpans, OfResource>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireResource {
    #[serde(default)]
    pub(super) dropped_attributes_count: Integer,
    #[serde(default)]
    pub(super) attributes: Bounded<KeyValue, ATTRIBUTES_READ>,
}

#[derive(Deserialize)]
pub(super) struct ScopeSpans {
    pub(super) scope: Option<WireScope>,
    #[serde(default)]
    pub(super) spans: Fold<WireSpan, OfScope>,
}

#[derive(Deserialize, Default)]
pub(super) struct WireScope {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireSpan {
    pub(super) trace_state: Option<String>,
    #[serde(default)]
    pub(super) dropped_attributes_count: Integer,
    #[serde(default)]
    pub(super) dropped_events_count: Integer,
    #[serde(default)]
    pub(super) dropped_links_count: Integer,
    pub(super) trace_id: Option<String>,
    pub(super) span_id: Option<String>,
    pub(super) parent_span_id: Option<String>,
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) kind: Enumerated,
    #[serde(default)]
    pub(super) start_time_unix_nano: Integer,
    #[serde(default)]
    pub(super) end_time_unix_nano: Integer,
    #[serde(default)]
    pub(super) attributes: Bounded<KeyValue, ATTRIBUTES_READ>,
    #[serde(default)]
    pub(super) events: Bounded<Event, EVENTS_READ>,
    #[serde(default)]
    pub(super) links: Bounded<Link, EVENTS_READ>,
    pub(super) status: Option<WireStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireEvent {
    #[serde(default)]
    pub(super) dropped_attributes_count: Integer,
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) time_unix_nano: Integer,
    #[serde(default)]
    pub(super) attributes: Bounded<KeyValue, ATTRIBUTES_READ>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireLink {
    pub(super) trace_id: Option<String>,
    pub(super) span_id: Option<String>,
    #[serde(default)]
    pub(super) attributes: Bounded<KeyValue, ATTRIBUTES_READ>,
}

#[derive(Deserialize, Default)]
pub(super) struct WireStatus {
    pub(super) message: Option<String>,
    #[serde(default)]
    pub(super) code: Enumerated,
}

#[derive(Deserialize)]
pub(super) struct WireKeyValue {
    pub(super) key: Option<String>,
    pub(super) value: Option<Any>,
}

/// Converted as soon as it is read, because the wire form takes many times the memory.
#[derive(Deserialize)]
#[serde(from = "WireKeyValue")]
pub(super) struct KeyValue(pub(super) (String, AttributeValue));

#[derive(Deserialize)]
#[serde(from = "AnyValue")]
pub(super) struct Any(pub(super) AttributeValue);

#[derive(Deserialize)]
#[serde(from = "WireEvent")]
pub(super) struct Event(pub(super) SpanEvent);

/// `None` for a link with an unusable id.
#[derive(Deserialize)]
#[serde(from = "WireLink")]
pub(super) struct Link(pub(super) Option<SpanLink>);

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names of the wire")]
pub(super) struct AnyValue {
    pub(super) string_value: Option<String>,
    pub(super) bool_value: Option<bool>,
    pub(super) int_value: Option<Integer>,
    pub(super) double_value: Option<Double>,
    pub(super) array_value: Option<ArrayValue>,
    pub(super) kvlist_value: Option<KeyValueList>,
    pub(super) bytes_value: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ArrayValue {
    #[serde(default)]
    pub(super) values: Bounded<Any, ATTRIBUTES_READ>,
}

#[derive(Deserialize)]
pub(super) struct KeyValueList {
    #[serde(default)]
    pub(super) values: Bounded<KeyValue, ATTRIBUTES_READ>,
}
