//! Tests of tag types, references, statuses and refused documents.

use super::*;
use pacegate_engine::model::ids::SpanId;
use pacegate_engine::model::span::{Span, SpanKind, SpanStatus};

fn one(fields: &str) -> Span {
    let body = format!(
        r#"{{"data":[{{"traceID":"b1","spans":[{{"traceID":"b1","spanID":"a2","startTime":1000,{fields}}}],
        "processes":{{"p1":{{"serviceName":"engine","tags":[{{"key":"host","type":"string","value":"h"}}]}}}}}}]}}"#
    );
    let mut decoded = decode_ui(body.as_bytes(), Limits::default()).expect(fields);
    assert_eq!(decoded.rejected.first_reason, None, "{fields}");
    decoded.spans.remove(0)
}

#[test]
fn ids_times_and_process_are_read() {
    let span = one(r#""operationName":"build","duration":"5","processID":"p1","warnings":null,"flags":1"#);
    assert_eq!(span.trace_id.to_string(), format!("{:0>32}", "b1"));
    assert_eq!(span.span_id.to_string(), format!("{:0>16}", "a2"));
    assert_eq!((span.start_ns, span.end_ns, span.name.as_str()), (1_000_000, 1_005_000, "build"));
    assert_eq!(span.text(&["service.name"]).as_deref(), Some("engine"));
    assert_eq!(span.text(&["host"]).as_deref(), Some("h"));
    assert_eq!(one(r#""duration":9223372036854775807"#).end_ns, i64::MAX);
    assert_eq!(one(r#""duration":-2"#).end_ns, 998_000);
}

#[test]
fn declared_type_converts_tag_value() {
    for (kind, value, expected) in [
        ("string", "7", AttributeValue::String("7".into())),
        ("bool", r#""true""#, AttributeValue::Bool(true)),
        ("int64", r#""-7""#, AttributeValue::Int(-7)),
        ("float64", "2", AttributeValue::Double(2.0)),
        ("float64", r#""-Infinity""#, AttributeValue::Double(f64::NEG_INFINITY)),
        ("binary", r#""AQI=""#, AttributeValue::Bytes(vec![1, 2])),
        ("binary", r#""?""#, AttributeValue::String("?".into())),
        ("unknown", "true", AttributeValue::Bool(true)),
        ("string", "[1]", AttributeValue::Empty),
    ] {
        let span = one(&format!(r#""tags":[{{"key":"k","type":"{kind}","value":{value}}}]"#));
        assert_eq!(span.attributes.get("k"), Some(&expected), "{kind} {value}");
    }
}

#[test]
fn one_reference_is_parent_others_are_links() {
    let reference = |kind: &str, trace: &str, span: &str| {
        format!(r#"{{"refType":"{kind}","traceID":"{trace}","spanID":"{span}"}}"#)
    };
    let (child, follows) = (reference("CHILD_OF", "b1", "c1"), reference("FOLLOWS_FROM", "b1", "c2"));
    let (elsewhere, broken) = (reference("CHILD_OF", "dd", "c3"), reference("CHILD_OF", "b1", "zz"));
    for (references, parent, links) in [
        (vec![&follows, &child], Some("c1"), vec!["c2"]),
        (vec![&follows, &elsewhere], Some("c2"), vec!["c3"]),
        (vec![&elsewhere, &broken], None, vec!["c3"]),
        (vec![], None, vec![]),
    ] {
        let list: Vec<&str> = references.into_iter().map(String::as_str).collect();
        let span = one(&format!(r#""references":[{}]"#, list.join(",")));
        let short = |id: SpanId| id.to_string().trim_start_matches('0').to_owned();
        assert_eq!(span.parent_span_id.map(short).as_deref(), parent);
        assert_eq!(span.links.iter().map(|l| short(l.span_id)).collect::<Vec<_>>(), links);
    }
}

#[test]
fn status_tags_have_a_precedence() {
    let error = |text: &str| SpanStatus::Error(text.to_owned());
    for (tags, expected) in [
        (r#"{"key":"error","type":"bool","value":true}"#, error("")),
        (r#"{"key":"error","type":"bool","value":false}"#, SpanStatus::Unset),
        (
            r#"{"key":"otel.status_code","value":"OK"},{"key":"error","type":"bool","value":true},
            {"key":"otel.status_description","value":"boom"}"#,
            error("boom"),
        ),
        (
            r#"{"key":"otel.status_code","value":"ERROR"},{"key":"otel.status_description","value":"b"}"#,
            error("b"),
        ),
        (r#"{"key":"otel.status_code","type":"int64","value":1}"#, error("")),
        (r#"{"key":"otel.status_code","type":"int64","value":2}"#, SpanStatus::Ok),
        (r#"{"key":"otel.status_code","type":"int64","value":3}"#, SpanStatus::Unset),
        (r#"{"key":"http.status_code","type":"int64","value":503}"#, error("")),
        (r#"{"key":"http.status_code","value":"404"}"#, SpanStatus::Unset),
        (r#"{"key":"http.status_code","value":500},{"key":"otel.status_code","value":"OK"}"#, SpanStatus::Ok),
    ] {
        assert_eq!(one(&format!(r#""tags":[{tags}]"#)).status, expected, "{tags}");
    }
    let span = one(r#""tags":[{"key":"span.kind","type":"string","value":"consumer"}]"#);
    assert_eq!(span.kind, SpanKind::Consumer);
}

#[test]
fn event_or_message_field_names_the_log() {
    let field = |key: &str, value: &str| format!(r#"{{"key":"{key}","type":"string","value":"{value}"}}"#);
    let (event, message) = (field("event", "exception"), field("message", "boom"));
    for (fields, name, left) in [
        (format!("{message},{event}"), "exception", 1),
        (message.clone(), "boom", 0),
        (field("level", "info"), "", 1),
    ] {
        let span = one(&format!(r#""logs":[{{"timestamp":2,"fields":[{fields}]}}]"#));
        let log = &span.events[0];
        assert_eq!((log.name.as_str(), log.time_ns, log.attributes.0.len()), (name, 2_000, left));
    }
}

#[test]
fn garbage_is_refused_with_its_position() {
    for (text, part) in [
        ("", "EOF"),
        ("[]", "line 1"),
        ("{\"data\":\n7}", "a list at line 2"),
        (r#"{"data":[{"spans":[{"duration":"x"}]}]}"#, "an integer is expected at line 1"),
    ] {
        let error = decode_ui(text.as_bytes(), Limits::default()).expect_err(text).to_string();
        assert!(error.starts_with("the body is not Jaeger UI JSON") && error.contains(part), "{error}");
    }
    let deep = format!(r#"{{"x":{}"#, "[".repeat(100_000));
    assert!(decode_ui(deep.as_bytes(), Limits::default()).is_err(), "depth is bounded");
    let bad = r#"{"data":[{"spans":[{},{"traceID":"1","spanID":"1"}]}]}"#;
    let decoded = decode_ui(bad.as_bytes(), Limits::default()).expect("readable");
    assert_eq!((decoded.spans.len(), decoded.rejected.count), (0, 2));
}

#[test]
fn too_many_spans_or_values_are_refused() {
    let text = format!(r#"{{"data":[{{"spans":[{}]}}]}}"#, ["{}"; 11].join(","));
    let few = Limits { spans: 10, ..Limits::default() };
    assert_eq!(decode_ui(text.as_bytes(), few), Err(IngestError::TooManySpans { limit: 10 }));
    let few = Limits { values: 10, ..Limits::default() };
    assert_eq!(decode_ui(text.as_bytes(), few), Err(IngestError::TooManyValues { limit: 10 }));
}
