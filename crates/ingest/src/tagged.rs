//! Reads the instrumentation scope and W3C's trace state from tags. OpenTelemetry's exporters for
//! Jaeger and Zipkin write them there, because these formats have no field for them.

use std::sync::Arc;

use pacegate_engine::model::span::{AttributeValue, Attributes, Scope};

/// The newer tag comes first. Exporters send the older tag beside it or instead of it.
const SCOPE_NAME: [&str; 2] = ["otel.scope.name", "otel.library.name"];
const SCOPE_VERSION: [&str; 2] = ["otel.scope.version", "otel.library.version"];
const TRACE_STATE: [&str; 1] = ["w3c.tracestate"];

/// Removes the scope from a span's tags.
pub(super) fn take_scope(tags: &mut Attributes, latest: &mut Latest<Scope>) -> Arc<Scope> {
    let scope = Scope { name: take(tags, &SCOPE_NAME), version: take(tags, &SCOPE_VERSION) };
    latest.share(scope)
}

/// Removes the trace state from a span's tags.
pub(super) fn take_trace_state(tags: &mut Attributes) -> String {
    take(tags, &TRACE_STATE)
}

/// The text under the first of the keys that has one. Texts under all of the keys are removed.
fn take(tags: &mut Attributes, keys: &[&str]) -> String {
    let value = tags.first_text(keys).unwrap_or_default();
    // A value of another type was not written by an exporter: it stays.
    tags.0
        .retain(|(key, value)| !(keys.contains(&key.as_str()) && matches!(value, AttributeValue::String(_))));
    value
}

/// Shares the latest value: neighbouring spans mostly have the same scope or resource.
pub(super) struct Latest<T>(Arc<T>);

impl<T: Default> Default for Latest<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: PartialEq> Latest<T> {
    pub(super) fn latest(&self) -> Arc<T> {
        self.0.clone()
    }

    pub(super) fn share(&mut self, value: T) -> Arc<T> {
        if *self.0 != value {
            self.0 = Arc::new(value);
        }
        self.0.clone()
    }
}
