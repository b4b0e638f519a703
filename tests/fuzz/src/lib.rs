//! Properties that hold for any input. Decoded spans can be written and read again without a change.
//! Redaction stays within its bounds, and a second pass changes nothing. A template of a stage name
//! is its own template. Nothing here needs a database or network.

use pacegate_engine::model::span::{AttributeValue, Attributes, Span, SpanStatus};
use pacegate_ingest::ci_job::archive::{ArchiveError, JobArchive};
use pacegate_ingest::{Decoded, IngestError, Limits, otlp, redact::redact};

/// Decoded spans are the same after a write and a read.
pub fn survives_storage(decoded: Result<Decoded, IngestError>) {
    let Ok(decoded) = decoded else { return };
    let written = otlp::encode_json(&decoded.spans).expect("spans can be written");
    let again = otlp::decode_json(&written, Limits::default()).expect("written spans can be read");
    assert_eq!(again.rejected.count, 0, "{:?}", again.rejected);
    assert_eq!(again.spans.len(), decoded.spans.len());
    let twice = otlp::encode_json(&again.spans).expect("spans can be written");
    let differs =
        written.iter().zip(&twice).position(|(a, b)| a != b).unwrap_or(written.len().min(twice.len()));
    let around = |text: &[u8]| {
        let text = text.get(differs.saturating_sub(80)..).unwrap_or_default();
        String::from_utf8_lossy(&text[..text.len().min(160)]).into_owned()
    };
    assert!(written == twice, "\n{}\n{}", around(&written), around(&twice));
}

/// All spans of a job archive are in its trace, and none has the id of the job's own span.
pub fn belongs_to_job(read: Result<JobArchive, ArchiveError>) {
    let Ok(JobArchive { manifest, spans, .. }) = read else { return };
    assert!(spans.iter().all(|s| s.trace_id == manifest.trace_id && s.span_id != manifest.job_span_id));
}

/// Redacted spans are within the bounds, and a second pass changes nothing.
pub fn redacts_once(decoded: Result<Decoded, IngestError>) {
    let Ok(Decoded { mut spans, .. }) = decoded else { return };
    redact(&mut spans);
    spans.iter().for_each(within_bounds);
    let once = format!("{spans:?}");
    redact(&mut spans);
    assert_eq!(once, format!("{spans:?}"), "redacting twice");
}

/// The template of a stage name is bounded, on one line, and its own template.
pub fn template_is_stable(name: &str) {
    use pacegate_engine::gate::measure::stage_key::{MAX_NAME_CHARS, stable_name};
    let stable = stable_name(name);
    assert!(!stable.is_empty() && stable.chars().count() <= MAX_NAME_CHARS, "{stable:?}");
    assert!(!stable.contains('\n'), "{stable:?}");
    assert_eq!(stable_name(&stable), stable, "of {name:?}");
}

fn within_bounds(span: &Span) {
    assert!(span.name.chars().count() <= 1_001);
    if let SpanStatus::Error(message) = &span.status {
        assert!(message.chars().count() <= 1_001);
    }
    assert!(span.events.len() <= 20 && span.links.len() <= 20);
    attributes_within_bounds(&span.attributes);
    attributes_within_bounds(&span.resource.attributes);
    for event in &span.events {
        assert!(event.name.chars().count() <= 1_001);
        attributes_within_bounds(&event.attributes);
    }
    span.links.iter().for_each(|link| attributes_within_bounds(&link.attributes));
}

fn attributes_within_bounds(attributes: &Attributes) {
    assert!(attributes.0.len() <= 50);
    for (key, value) in &attributes.0 {
        assert!(key.chars().count() <= 1_001);
        let lower = key.to_ascii_lowercase();
        if ["password", "authorization", "cookie", "secret"].iter().any(|word| lower == *word) {
            assert!(matches!(value, AttributeValue::String(mask) if mask.len() < 20), "{key} is kept: {value:?}");
        }
        value_within_bounds(value, if key == "exception.stacktrace" { 8_003 } else { 1_001 });
    }
}

fn value_within_bounds(value: &AttributeValue, characters: usize) {
    match value {
        AttributeValue::String(text) => assert!(text.chars().count() <= characters),
        AttributeValue::Bytes(bytes) => assert!(bytes.len() <= 1_000),
        AttributeValue::Array(values) => {
            assert!(values.len() <= 50);
            values.iter().for_each(|value| value_within_bounds(value, 1_001));
        }
        AttributeValue::Map(attributes) => attributes_within_bounds(attributes),
        _ => {}
    }
}
