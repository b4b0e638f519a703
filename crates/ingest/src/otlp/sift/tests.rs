//! Whatever way a span takes, what is kept of it is the same.

use super::*;
use crate::otlp::{TraceBatch, decode, decode_json, decode_protobuf, encode_protobuf};
use crate::redact::redact;

/// The request's spans as they come out of the store, and how many were read on the way.
fn through(sifted: &ScannedRequest<'_>) -> (Vec<Span>, usize) {
    let read = sifted.spans.iter().filter(|span| matches!(span.form, Form::Read(_))).count();
    let mut batch = TraceBatch::default();
    for span in &sifted.spans {
        batch.push(span, &sifted.read);
    }
    let written = batch.write(&sifted.groups);
    assert_eq!(written.len(), batch.size(&sifted.groups));
    (decode(&written, Limits::default()).expect("what was written is readable").spans, read)
}

/// A span with so many attributes, the last of which is of this key and value.
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
fn what_is_kept_is_what_reading_and_cleaning_keeps() {
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
    for (what, body, as_sent) in [
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
        ("whose run it is", request(1, "vcs.repository.name", text, ""), false),
    ] {
        let mut expected = decode_protobuf(&body, Limits::default()).expect(what).spans;
        redact(&mut expected);
        let sifted = sift(&body, Limits::default(), &Redactor::default()).expect(what);
        let (kept, read) = through(&sifted);
        assert_eq!(kept, expected, "{what}");
        assert_eq!(read == 0, as_sent, "{what}");
        let decoded = decode_protobuf(&body, Limits::default()).expect(what);
        assert_eq!(through(&ScannedRequest::of(decoded, &Redactor::default())).0, expected, "{what}");
    }
}

/// A length-delimited field of protobuf that is shorter than 128 bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).expect("short");
    assert!(length < 128);
    [&[number << 3 | 2, length][..], content].concat()
}

#[test]
fn what_nobody_looks_at_is_not_kept() {
    let secret = b"ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let ids = [field(1, &[1; 16]), field(2, &[2; 8])].concat();
    for (what, span) in [
        ("a trace id before the trace id", [field(1, secret), ids.clone()].concat()),
        ("a span id before the span id", [field(2, secret), ids.clone()].concat()),
        ("a parent before the parent", [ids.clone(), field(4, secret), field(4, &[3; 8])].concat()),
        ("a link's trace id", [ids.clone(), field(13, &field(1, secret))].concat()),
        ("a link's span id", [ids.clone(), field(13, &field(2, secret))].concat()),
    ] {
        let body = field(1, &field(2, &field(2, &span)));
        let sifted = sift(&body, Limits::default(), &Redactor::default()).expect(what);
        let mut batch = TraceBatch::default();
        assert_eq!(sifted.spans.len(), 1, "{what}");
        batch.push(&sifted.spans[0], &sifted.read);
        let written = batch.write(&sifted.groups);
        assert!(!written.windows(secret.len()).any(|part| part == secret), "{what}");
    }
}

#[test]
fn a_resource_is_kept_once_for_all_of_its_scopes() {
    let span = [field(1, &[1; 16]), field(2, &[2; 8])].concat();
    let attribute = field(1, &[field(1, b"k"), field(2, &field(1, &[b'v'; 30]))].concat());
    let scopes = field(2, &field(2, &span)).repeat(2);
    let body = field(1, &[field(1, &attribute), scopes].concat());
    let sifted = sift(&body, Limits::default(), &Redactor::default()).expect("readable");
    let (kept, _) = through(&sifted);
    assert_eq!(kept.len(), 2);
    let mut batch = TraceBatch::default();
    for span in &sifted.spans {
        batch.push(span, &sifted.read);
    }
    let written = batch.write(&sifted.groups);
    assert_eq!(written.windows(30).filter(|part| *part == [b'v'; 30]).count(), 1);
}

#[test]
fn every_sample_passes_as_if_it_were_read() {
    for sample in [
        &include_bytes!("../../../../../tests/samples/otlp-http-node-0.223.1.pb")[..],
        include_bytes!("../../../../../tests/samples/otlp-http-python-1.45.2.pb"),
        include_bytes!("../../../../../tests/samples/otlp-grpc-node-0.223.1.pb"),
        include_bytes!("../../../../../tests/samples/otlp-grpc-python-1.45.2.pb"),
    ] {
        let mut expected = decode_protobuf(sample, Limits::default()).expect("readable").spans;
        redact(&mut expected);
        let sifted = sift(sample, Limits::default(), &Redactor::default()).expect("readable");
        let (kept, read) = through(&sifted);
        assert_eq!(kept, expected);
        assert!(read < expected.len(), "some of {} spans are kept as they were sent", expected.len());
    }
}

#[test]
fn what_is_refused_is_refused_for_the_same_reason() {
    let good = request(3, "k", r#"{"stringValue":"y"}"#, "");
    let cut = &good[..good.len() - 1];
    for (body, limits) in [
        (b"\x0a\xff\xff\xff\xff\x0f".to_vec(), Limits::default()),
        (cut.to_vec(), Limits::default()),
        (good.clone(), Limits { spans: 0, ..Limits::default() }),
        (good.clone(), Limits { values: 2, ..Limits::default() }),
    ] {
        let sifted = sift(&body, limits, &Redactor::default()).map(|_| ());
        let decoded = decode_protobuf(&body, limits).map(|_| ());
        assert_eq!(sifted, decoded);
        assert!(sifted.is_err());
    }
}

#[test]
fn a_field_of_a_later_version_is_left_out() {
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
    let sifted = sift(&body, Limits::default(), &Redactor::default()).expect("readable");
    let (kept, read) = through(&sifted);
    assert_eq!((kept.len(), read), (1, 1));
}
