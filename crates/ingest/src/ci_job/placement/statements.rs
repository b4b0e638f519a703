//! What a span that a job sent may not say, because it would count for what holds it: that time
//! was spent waiting for a runner, whose run it is, and, right below a step of GitHub's, whether
//! a cache had it.

use pacegate_engine::gate::measure::stage_state::{CACHE_KEYS, QUEUE_DURATION, QUEUE_PREFIX, QUEUE_VALUES};
use pacegate_engine::model::span::{AttributeValue, Span};

const STAGE_KIND: &str = "pacegate.stage.kind";

/// Takes such statements from a span.
pub(crate) fn neutralise(span: &mut Span, is_top: bool) {
    let is_of_queues = |key: &str| {
        key == STAGE_KIND || key == QUEUE_DURATION || QUEUE_VALUES.iter().any(|(known, _)| *known == key)
    };
    let before = span.attributes.0.len();
    span.attributes.0.retain(|(key, _)| !(is_of_queues(key) || is_top && CACHE_KEYS.contains(&key.as_str())));
    if before != span.attributes.0.len() || span.name.starts_with(QUEUE_PREFIX) {
        span.attributes.0.push((STAGE_KIND.to_owned(), AttributeValue::String("work".to_owned())));
    }
}
