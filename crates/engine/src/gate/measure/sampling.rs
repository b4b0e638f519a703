//! Whether a trace says that it was sampled before it came here. Nothing is corrected for it: how
//! a sampler chose can't be known from what it let through, so it is said beside the verdict.

use crate::model::note::Note;
use crate::model::span::{AttributeValue, Span};
use crate::model::trace::Trace;

/// What a sampler left on a span.
enum Sampled {
    /// Chosen when it was over, by a named policy: what is slow or failed is chosen more often.
    ByItsEnd,
    /// Only a part is kept.
    InPart,
}

/// The note if a span says that its trace was chosen from several. Linear.
#[must_use]
pub(crate) fn note(trace: &Trace) -> Option<Note> {
    let mut in_part = false;
    for span in trace.spans() {
        match sampled(span) {
            Some(Sampled::ByItsEnd) => return Some(Note::TailSampled),
            Some(Sampled::InPart) => in_part = true,
            None => {}
        }
    }
    in_part.then_some(Note::Sampled)
}

fn sampled(span: &Span) -> Option<Sampled> {
    let mut found = has_threshold(&span.trace_state).then_some(Sampled::InPart);
    for (key, value) in span.attributes.0.iter().chain(&span.resource.attributes.0) {
        match key.as_str() {
            // As the Collector's tail sampler notes what decided.
            "tailsampling.policy" | "tailsampling.composite_policy" | "sampling.policy" => {
                return Some(Sampled::ByItsEnd);
            }
            "sampling.probability" | "sampling.ratio" if is_part(value) => found = Some(Sampled::InPart),
            // Jaeger's clients: `const` keeps all.
            "sampler.type" if is_partial_sampler(span, value) => found = Some(Sampled::InPart),
            _ => {}
        }
    }
    found
}

fn is_part(value: &AttributeValue) -> bool {
    value.to_text().and_then(|text| text.parse::<f64>().ok()).is_some_and(|share| share < 1.0)
}

fn is_partial_sampler(span: &Span, value: &AttributeValue) -> bool {
    match value.to_text().as_deref() {
        Some("probabilistic") => span.attributes.get("sampler.param").is_none_or(is_part),
        Some("ratelimiting" | "lowerbound" | "adaptive") => true,
        _ => false,
    }
}

/// OpenTelemetry's member of `tracestate`: `ot=th:c` keeps what is above a threshold; `th:0` is
/// everything.
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
    fn a_sampler_s_traces_are_told() {
        for (key, value, said) in [
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
            assert_eq!(note, said, "{key}={value}");
        }
    }
}
