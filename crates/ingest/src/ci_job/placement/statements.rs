//! Removes attributes that a sent span must not have, because they would apply to the job or step
//! that contains it. These mark a wait for a runner. Directly below a step of GitHub's, a cache's
//! state is removed too.

use pacegate_engine::gate::measure::stage_state::{CACHE_KEYS, QUEUE_DURATION, QUEUE_PREFIX, QUEUE_VALUES};
use pacegate_engine::model::span::{AttributeValue, Span};

const STAGE_KIND: &str = "pacegate.stage.kind";

/// Removes such attributes. A span that looked like a wait is marked as work. `is_top` is true for a
/// direct child of a job or step.
pub(crate) fn neutralise(span: &mut Span, is_top: bool) {
    let marks_wait = |key: &str| {
        key == STAGE_KIND || key == QUEUE_DURATION || QUEUE_VALUES.iter().any(|(known, _)| *known == key)
    };
    let before = span.attributes.0.len();
    span.attributes.0.retain(|(key, _)| !(marks_wait(key) || is_top && CACHE_KEYS.contains(&key.as_str())));
    if before != span.attributes.0.len() || span.name.starts_with(QUEUE_PREFIX) {
        span.attributes.0.push((STAGE_KIND.to_owned(), AttributeValue::String("work".to_owned())));
    }
}
