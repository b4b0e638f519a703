//! Tests of the bounds and masks of whole spans.

use proptest::prelude::*;

use super::*;
use crate::{Limits, otlp};
use pacegate_engine::model::span::Dropped;

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
fn values_under_secret_keys_are_masked() {
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
fn long_name_is_cut() {
    let span = one_span(&format!(r#""name":"{}""#, "é".repeat(1_000_000)));
    assert_eq!(span.name.chars().count(), TEXT_KEPT + 1);
}

#[test]
fn stack_trace_keeps_both_ends() {
    let json = format!(
        r#""events":[{{"name":"exception","attributes":[{{"key":"exception.stacktrace","value":{{"stringValue":"first {} last"}}}}]}}]"#,
        "é".repeat(100_000)
    );
    let kept = one_span(&json).events[0].attributes.text(STACK_TRACE).expect("is kept");
    assert!(kept.starts_with("first é") && kept.ends_with("é last") && kept.contains("\n…\n"));
    assert_eq!(kept.chars().count(), STACK_TRACE_KEPT + 3);
}

#[test]
fn important_attributes_and_events_are_kept() {
    let pairs = |prefix: &str| -> String {
        let pair = |i| format!(r#"{{"key":"{prefix}{i}","value":{{"intValue":1}}}},"#);
        (0..100).map(pair).collect::<Vec<_>>().concat()
    };
    let tick = |i| format!(r#"{{"name":"tick-{i}"}},"#);
    let events = (0..100).map(tick).collect::<Vec<_>>().concat();
    let links: Vec<String> =
        (1..=100).map(|i| format!(r#"{{"traceId":"{i:032x}","spanId":"{i:016x}"}}"#)).collect();
    let span = one_span(&format!(
        r#""attributes":[{}{}{{"key":"stage.name","value":{{"stringValue":"test"}}}}],"droppedAttributesCount":3,
        "events":[{events}{{"name":"stage-started"}},{{"name":"exception","attributes":[{}{{"key":"exception.type","value":{{"stringValue":"E"}}}}]}}],
        "droppedEventsCount":2,"links":[{}]"#,
        pairs("test.a"),
        pairs("a"),
        pairs("b"),
        links.join(",")
    ));
    assert_eq!(span.attributes.0.len(), ATTRIBUTES_KEPT);
    assert_eq!(span.attributes.text("stage.name").as_deref(), Some("test"));
    assert!(span.attributes.0.iter().all(|(key, _)| key != "a0"), "less important ones are dropped first");
    let names: Vec<&str> = span.events.iter().map(|e| e.name.as_str()).collect();
    assert_eq!((names.len(), &names[18..]), (EVENTS_KEPT, &["stage-started", "exception"][..]));
    assert_eq!(span.events[19].attributes.text("exception.type").as_deref(), Some("E"));
    assert_eq!((span.events[19].dropped_attributes, span.links.len()), (51, LINKS_KEPT));
    // The producer's own counts are added.
    assert_eq!(span.dropped, Dropped { attributes: 151 + 3, events: 82 + 2, links: 80 });
}

#[test]
fn secret_is_masked_in_every_text() {
    let token = format!("ghp_{}", "Ab3dEf7hIj".repeat(4));
    let attribute = format!(r#"{{"key":"k.{token}","value":{{"stringValue":"a {token}"}}}}"#);
    let in_list = format!(
        r#"{{"key":"list","value":{{"arrayValue":{{"values":[{{"stringValue":"{token}"}},{{"kvlistValue":{{"values":[{attribute}]}}}}]}}}}}}"#
    );
    let body = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{attribute},{in_list}]}},"scopeSpans":[{{
        "scope":{{"name":"s {token}","version":"{token}"}},"spans":[{{"traceId":"{}","spanId":"{}",
        "name":"clone {token}","traceState":"a={token}","status":{{"code":2,"message":"m {token}"}},
        "attributes":[{attribute},{in_list}],"events":[{{"name":"e {token}","attributes":[{attribute},
        {{"key":"exception.stacktrace","value":{{"stringValue":"at x\n{token}\nat y"}}}}]}}],
        "links":[{{"traceId":"{}","spanId":"{}","attributes":[{attribute}]}}]}}]}}]}}]}}"#,
        "1".repeat(32),
        "2".repeat(16),
        "1".repeat(32),
        "3".repeat(16)
    );
    let mut spans = otlp::decode_json(body.as_bytes(), Limits::default()).expect("readable").spans;
    spans[0].attributes.0.push(("bytes".into(), AttributeValue::Bytes(token.clone().into_bytes())));
    redact(&mut spans);
    let all = format!("{spans:?}");
    assert!(!all.contains("Ab3dEf7h"), "{all}");
    assert_eq!(spans[0].attributes.get("bytes"), Some(&AttributeValue::Bytes(MASK.into())));
    assert!(all.contains("at x") && all.contains("at y"), "other text stays: {all}");
    let again = spans.clone();
    redact(&mut spans);
    assert_eq!(spans, again, "a second time changes nothing");
}

#[test]
fn operator_adds_secret_and_harmless_keys() {
    let redactor = Redactor::new("iban", "deploy_key").expect("patterns");
    let mut spans = vec![one_span(
        r#""attributes":[{"key":"IBAN","value":{"stringValue":"DE00"}},{"key":"deploy_key.id","value":{"intValue":7}}]"#,
    )];
    spans[0].attributes.0[1].1 = AttributeValue::Int(7);
    redactor.redact(&mut spans);
    assert_eq!(spans[0].attributes.text("IBAN").as_deref(), Some(MASK));
    assert_eq!(spans[0].attributes.text("deploy_key.id").as_deref(), Some("7"));
}

/// A text of parts of secrets and of the labels before them.
fn suspicious() -> impl Strategy<Value = String> {
    let parts = prop_oneof![
        Just("password=".to_owned()),
        Just("token=\"".to_owned()),
        Just("Bearer ".to_owned()),
        Just("Basic ".to_owned()),
        Just("ghp_".to_owned()),
        Just("eyJ".to_owned()),
        Just("://".to_owned()),
        Just("@".to_owned()),
        Just(":".to_owned()),
        Just("AKIA".to_owned()),
        Just("-----BEGIN PRIVATE KEY-----".to_owned()),
        Just("-----END PRIVATE KEY-----".to_owned()),
        Just(MASK.to_owned()),
        Just("\n".to_owned()),
        Just(".".to_owned()),
        Just(" ".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("…".to_owned()),
        "[A-Z2-7]{1,40}",
        "[a-z0-9]{1,300}",
        ".{0,20}",
        Just("'".to_owned()),
        Just("password = ".to_owned()),
        Just("\"token\" => ".to_owned()),
        Just("--token ".to_owned()),
        Just("Authorization: ".to_owned()),
        Just("Cookie:".to_owned()),
        Just("/".to_owned()),
        Just("=".to_owned()),
    ];
    proptest::collection::vec(parts, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn redacting_twice_changes_nothing(text in suspicious()) {
        let once = redacted(text);
        prop_assert_eq!(redacted(once.clone()), once);
    }

    #[test]
    fn text_reported_as_unchanged_stays(text in suspicious(), key in "(gpg|db|test|by|com)?[._-]?(pass(phrase|word)?|phase|key)?") {
        let redactor = Redactor::default();
        let left = Redactor::leaves_text(&text, TEXT_KEPT);
        prop_assert!(!left || redacted(text.clone()) == text);
        for key in [key, text] {
            let mut attributes = Attributes(vec![(key.clone(), AttributeValue::Int(7))]);
            redactor.attributes(&mut attributes);
            prop_assert!(!redactor.leaves_key(&key) || attributes.0 == [(key, AttributeValue::Int(7))]);
        }
    }
}
