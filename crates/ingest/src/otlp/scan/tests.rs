//! Scanning a request gives the same spans as decoding and redacting it.

use super::*;
use crate::otlp::{TraceBatch, decode, decode_json, decode_protobuf, encode_protobuf};
use crate::redact::redact;

/// The request's spans after a write and a read, and the number of spans that were decoded.
fn written_and_read(scanned: &ScannedRequest<'_>) -> (Vec<Span>, usize) {
    let read = scanned.spans.iter().filter(|span| matches!(span.form, Form::Read(_))).count();
    let mut batch = TraceBatch::default();
    for span in &scanned.spans {
        batch.push(span, &scanned.read);
    }
    let written = batch.write(&scanned.groups);
    assert_eq!(written.len(), batch.size(&scanned.groups));
    (decode(&written, Limits::default()).expect("what was written is readable").spans, read)
}

/// A request of one span with this number of attributes. The last one has this key and value.
fn request(attributes: usize, key: &str, value: &str, more: &str) -> Vec<u8> {
    let plain: Vec<String> =
        (1..attributes).map(|i| format!(r#"{{"key":"a{i}","value":{{"intValue":"{i}"}}}},"#)).collect();
    let json = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"x"}}}}]}},
        "scopeSpans":[{{"scope":{{"name":"s"}},"spans":[{{"traceId":"{}","spanId":"{}","name":"n",
        "startTimeUnixNano":"1","endTimeUnixNano":"2","attributes":[{}{{"key":"{key}","value":{value}}}]{more}}}]}}]}}]}}"#,
        "1".repeat(32),
        "2".repeat(16),
        plain.concat(),
    );
    encode_protobuf(&decode_json(json.as_bytes(), Limits::default()).expect("readable").spans)
}

#[test]
fn scanning_keeps_the_same_as_decoding() {
    let long = format!(r#"{{"stringValue":"{}"}}"#, "x".repeat(2_000));
    let text = r#"{"stringValue":"y"}"#;
    let list = r#"{"arrayValue":{"values":[{"stringValue":"y"},{"intValue":"1"}]}}"#;
    let nested = r#"{"arrayValue":{"values":[{"arrayValue":{"values":[]}}]}}"#;
    let map = r#"{"kvlistValue":{"values":[{"key":"password","value":{"stringValue":"y"}}]}}"#;
    let secret_event =
        r#","events":[{"name":"e","attributes":[{"key":"password","value":{"stringValue":"y"}}]}]"#;
    let plain_event = r#","events":[{"name":"e","timeUnixNano":"7","droppedAttributesCount":2,
        "attributes":[{"key":"k","value":{"stringValue":"y"}}]}],"status":{"code":2,"message":"bad"}"#;
    let link = r#","links":[{"traceId":"11111111111111111111111111111111","spanId":"2222222222222222",
        "attributes":[{"key":"k","value":{"stringValue":"y"}}]}]"#;
    for (case, body, as_sent) in [
        ("nothing to do", request(50, "k", text, ""), true),
        ("list", request(1, "k", list, ""), true),
        ("event and status", request(1, "k", text, plain_event), true),
        ("link", request(1, "k", text, link), true),
        ("one attribute too many", request(51, "k", text, ""), false),
        ("long text", request(1, "k", &long, ""), false),
        ("long key", request(1, &"k".repeat(2_000), text, ""), false),
        ("secret key", request(1, "db.password", text, ""), false),
        ("secret in an event", request(1, "k", text, secret_event), false),
        ("secret in a map", request(1, "k", map, ""), false),
        ("list in a list", request(1, "k", nested, ""), false),
        ("repository", request(1, "vcs.repository.name", text, ""), false),
    ] {
        let mut expected = decode_protobuf(&body, Limits::default()).expect(case).spans;
        redact(&mut expected);
        let scanned = scan(&body, Limits::default(), &Redactor::default()).expect(case);
        let (kept, read) = written_and_read(&scanned);
        assert_eq!(kept, expected, "{case}");
        assert_eq!(read == 0, as_sent, "{case}");
        let decoded = decode_protobuf(&body, Limits::default()).expect(case);
        assert_eq!(
            written_and_read(&ScannedRequest::of(decoded, &Redactor::default())).0,
            expected,
            "{case}"
        );
    }
}

/// A length-delimited field of protobuf that is shorter than 128 bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).expect("short");
    assert!(length < 128);
    [&[number << 3 | 2, length][..], content].concat()
}

#[test]
fn unchecked_bytes_are_not_kept() {
    let secret = b"ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let ids = [field(1, &[1; 16]), field(2, &[2; 8])].concat();
    for (case, span) in [
        ("a trace id before the trace id", [field(1, secret), ids.clone()].concat()),
        ("a span id before the span id", [field(2, secret), ids.clone()].concat()),
        ("a parent before the parent", [ids.clone(), field(4, secret), field(4, &[3; 8])].concat()),
        ("a link's trace id", [ids.clone(), field(13, &field(1, secret))].concat()),
        ("a link's span id", [ids.clone(), field(13, &field(2, secret))].concat()),
    ] {
        let body = field(1, &field(2, &field(2, &span)));
        let scanned = scan(&body, Limits::default(), &Redactor::default()).expect(case);
        let mut batch = TraceBatch::default();
        assert_eq!(scanned.spans.len(), 1, "{case}");
        batch.push(&scanned.spans[0], &scanned.read);
        let written = batch.write(&scanned.groups);
        assert!(!written.windows(secret.len()).any(|part| part == secret), "{case}");
    }
}

#[test]
fn resource_is_written_once_for_all_scopes() {
    let span = [field(1, &[1; 16]), field(2, &[2; 8])].concat();
    let attribute = field(1, &[field(1, b"k"), field(2, &field(1, &[b'v'; 30]))].concat());
    let scopes = field(2, &field(2, &span)).repeat(2);
    let body = field(1, &[field(1, &attribute), scopes].concat());
    let scanned = scan(&body, Limits::default(), &Redactor::default()).expect("readable");
    let (kept, _) = written_and_read(&scanned);
    assert_eq!(kept.len(), 2);
    let mut batch = TraceBatch::default();
    for span in &scanned.spans {
        batch.push(span, &scanned.read);
    }
    let written = batch.write(&scanned.groups);
    assert_eq!(written.windows(30).filter(|part| *part == [b'v'; 30]).count(), 1);
}

#[test]
fn samples_scan_to_the_same_spans() {
    for sample in [
        &include_bytes!("../../../../../tests/samples/otlp-http-node-0.223.1.pb")[..],
        include_bytes!("../../../../../tests/samples/otlp-http-python-1.45.2.pb"),
        include_bytes!("../../../../../tests/samples/otlp-grpc-node-0.223.1.pb"),
        include_bytes!("../../../../../tests/samples/otlp-grpc-python-1.45.2.pb"),
    ] {
        let mut expected = decode_protobuf(sample, Limits::default()).expect("readable").spans;
        redact(&mut expected);
        let scanned = scan(sample, Limits::default(), &Redactor::default()).expect("readable");
        let (kept, read) = written_and_read(&scanned);
        assert_eq!(kept, expected);
        assert!(read < expected.len(), "some of {} spans are kept as they were sent", expected.len());
    }
}

#[test]
fn scanning_refuses_for_the_same_reason() {
    let good = request(3, "k", r#"{"stringValue":"y"}"#, "");
    let cut = &good[..good.len() - 1];
    for (body, limits) in [
        (b"\x0a\xff\xff\xff\xff\x0f".to_vec(), Limits::default()),
        (cut.to_vec(), Limits::default()),
        (good.clone(), Limits { spans: 0, ..Limits::default() }),
        (good.clone(), Limits { values: 2, ..Limits::default() }),
    ] {
        let scanned = scan(&body, limits, &Redactor::default()).map(|_| ());
        let decoded = decode_protobuf(&body, limits).map(|_| ());
        assert_eq!(scanned, decoded);
        assert!(scanned.is_err());
    }
}

#[test]
fn unknown_field_is_dropped() {
    let mut span = vec![0x0a, 16];
    span.extend([1; 16]);
    span.extend([0x12, 8]);
    span.extend([2; 8]);
    // Field 100, a text.
    span.extend([0xa2, 0x06, 2, b'h', b'i']);
    let mut scope_spans = vec![0x12, u8::try_from(span.len()).expect("short")];
    scope_spans.extend(&span);
    let mut resource_spans = vec![0x12, u8::try_from(scope_spans.len()).expect("short")];
    resource_spans.extend(&scope_spans);
    let mut body = vec![0x0a, u8::try_from(resource_spans.len()).expect("short")];
    body.extend(&resource_spans);
    let scanned = scan(&body, Limits::default(), &Redactor::default()).expect("readable");
    let (kept, read) = written_and_read(&scanned);
    assert_eq!((kept.len(), read), (1, 1));
}
