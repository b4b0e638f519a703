//! Detects that a trace was sampled before it was received. Nothing is corrected for it, because the
//! kept traces don't show how the sampler chose. A note beside the verdict reports it.

use crate::model::note::Note;
use crate::model::span::{AttributeValue, Span};
use crate::model::trace::Trace;

/// The kind of sampling that a span's attributes show.
enum Sampled {
    /// A tail sampler chose complete traces by a named policy, which prefers slow and failed ones.
    Tail,
    /// A sampler kept a share of the traces.
    Share,
}

/// A note if a span shows that its trace was sampled. Linear.
#[must_use]
pub(crate) fn note(trace: &Trace) -> Option<Note> {
    let mut is_share = false;
    for span in trace.spans() {
        match sampled(span) {
            Some(Sampled::Tail) => return Some(Note::TailSampled),
            Some(Sampled::Share) => is_share = true,
            None => {}
        }
    }
    is_share.then_some(Note::Sampled)
}

fn sampled(span: &Span) -> Option<Sampled> {
    let mut found = has_threshold(&span.trace_state).then_some(Sampled::Share);
    for (key, value) in span.attributes.0.iter().chain(&span.resource.attributes.0) {
        match key.as_str() {
            // The Collector's tail sampler records the policy that decided.
            "tailsampling.policy" | "tailsampling.composite_policy" | "sampling.policy" => {
                return Some(Sampled::Tail);
            }
            "sampling.probability" | "sampling.ratio" if is_below_one(value) => found = Some(Sampled::Share),
            // Jaeger's clients: `const` keeps all traces.
            "sampler.type" if is_partial_sampler(span, value) => found = Some(Sampled::Share),
            _ => {}
        }
    }
    found
}

fn is_below_one(value: &AttributeValue) -> bool {
    value.to_text().and_then(|text| text.parse::<f64>().ok()).is_some_and(|share| share < 1.0)
}

fn is_partial_sampler(span: &Span, value: &AttributeValue) -> bool {
    match value.to_text().as_deref() {
        Some("probabilistic") => span.attributes.get("sampler.param").is_none_or(is_below_one),
        Some("ratelimiting" | "lowerbound" | "adaptive") => true,
        _ => false,
    }
}

/// OpenTelemetry's member of `tracestate`: `ot=th:c` keeps traces above a threshold, and `th:0` keeps
/// all.
fn has_threshold(trace_state: &str) -> bool {
    let member = trace_state.split(',').find_map(|member| member.trim().strip_prefix("ot="));
    let threshold = member.and_then(|member| member.split(';').find_map(|part| part.strip_prefix("th:")));
    threshold.is_some_and(|digits| digits.bytes().any(|digit| digit != b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::tests::fixture::{SpanBuilder, trace};

    #[test]
    fn sampled_trace_has_a_note() {
        for (key, value, expected) in [
            ("tailsampling.policy", "slow", Some(Note::TailSampled)),
            ("sampling.probability", "0.25", Some(Note::Sampled)),
            ("sampling.probability", "1", None),
            ("sampler.type", "probabilistic", Some(Note::Sampled)),
            ("sampler.type", "const", None),
            ("tracestate", "vendor=1,ot=rv:1;th:c", Some(Note::Sampled)),
            ("tracestate", "ot=th:0", None),
            ("tracestate", "hot=th:c", None),
        ] {
            let mut span = SpanBuilder::new(2, "build").parent(1).attributes(&[(key, value)]).build();
            if key == "tracestate" {
                value.clone_into(&mut span.trace_state);
            }
            let note = note(&trace(vec![SpanBuilder::new(1, "ci").build(), span]));
            assert_eq!(note, expected, "{key}={value}");
        }
    }
}
