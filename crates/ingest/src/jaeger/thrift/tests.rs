//! Tests with thrift from the `thrift` crate's writer, and with bodies that claim too much.

use thrift::protocol::{
    TBinaryOutputProtocol, TCompactOutputProtocol, TFieldIdentifier, TListIdentifier, TMessageIdentifier,
    TOutputProtocol, TStructIdentifier,
};

use super::*;
use pacegate_engine::model::span::{AttributeValue, Span, SpanStatus};

fn structure<P: TOutputProtocol>(to: &mut P, write: impl FnOnce(&mut P) -> thrift::Result<()>) {
    to.write_struct_begin(&TStructIdentifier::new("")).expect("memory");
    write(to).expect("memory");
    to.write_field_stop().expect("memory");
    to.write_struct_end().expect("memory");
}

fn field<P: TOutputProtocol>(to: &mut P, id: i16, kind: TType) -> thrift::Result<()> {
    to.write_field_begin(&TFieldIdentifier::new("", kind, id))
}

fn number<P: TOutputProtocol>(to: &mut P, id: i16, value: i64) -> thrift::Result<()> {
    field(to, id, TType::I64)?;
    to.write_i64(value)
}

/// A tag with a value in every field; `v_type` selects one.
fn tag<P: TOutputProtocol>(to: &mut P, key: &str, v_type: i32) {
    structure(to, |to| {
        field(to, 1, TType::String)?;
        to.write_string(key)?;
        field(to, 2, TType::I32)?;
        to.write_i32(v_type)?;
        field(to, 3, TType::String)?;
        to.write_string("ERROR")?;
        field(to, 4, TType::Double)?;
        to.write_double(0.5)?;
        field(to, 5, TType::Bool)?;
        to.write_bool(true)?;
        field(to, 6, TType::I64)?;
        to.write_i64(1)?;
        field(to, 7, TType::String)?;
        to.write_bytes(&[0xff])
    });
}

/// One span with one tag, and a second span without a start; the process comes last.
fn batch<P: TOutputProtocol>(to: &mut P, key: &str, v_type: i32) {
    structure(to, |to| {
        field(to, 2, TType::List)?;
        to.write_list_begin(&TListIdentifier::new(TType::Struct, 2))?;
        structure(to, |to| {
            number(to, 1, -2)?;
            number(to, 2, 0)?;
            number(to, 3, -1)?;
            number(to, 4, 7)?;
            number(to, 8, 1_000)?;
            number(to, 9, 5)?;
            field(to, 10, TType::List)?;
            to.write_list_begin(&TListIdentifier::new(TType::Struct, 1))?;
            tag(to, key, v_type);
            to.write_list_end()
        });
        structure(to, |to| number(to, 1, 1).and_then(|()| number(to, 3, 1)));
        to.write_list_end()?;
        field(to, 1, TType::Struct)?;
        structure(to, |to| {
            field(to, 1, TType::String)?;
            to.write_string("engine")
        });
        field(to, 9, TType::Bool)?;
        to.write_bool(true)
    });
}

fn binary(write: impl FnOnce(&mut TBinaryOutputProtocol<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut TBinaryOutputProtocol::new(&mut bytes, true));
    bytes
}

fn message<P: TOutputProtocol>(to: &mut P, name: &str, kind: TMessageType) {
    to.write_message_begin(&TMessageIdentifier::new(name, kind, 1)).expect("memory");
    structure(to, |to| {
        field(to, 1, TType::Struct)?;
        batch(to, "k", 3);
        Ok(())
    });
    to.write_message_end().expect("memory");
}

fn check(decoded: Result<Decoded, IngestError>) -> Span {
    let mut decoded = decoded.expect("readable");
    assert_eq!((decoded.spans.len(), decoded.rejected.count), (1, 1));
    assert_eq!(decoded.rejected.first_reason.as_deref(), Some("a span has no start time"));
    let span = decoded.spans.remove(0);
    assert_eq!(span.trace_id.to_string(), "0000000000000000fffffffffffffffe");
    assert_eq!(span.parent_span_id.map(|id| id.to_string()).as_deref(), Some("0000000000000007"));
    assert_eq!((span.start_ns, span.end_ns), (1_000_000, 1_005_000));
    assert_eq!(span.text(&["service.name"]).as_deref(), Some("engine"));
    span
}

#[test]
fn declared_type_selects_tag_value() {
    for (v_type, expected) in [
        (0, AttributeValue::String("ERROR".into())),
        (1, AttributeValue::Double(0.5)),
        (2, AttributeValue::Bool(true)),
        (3, AttributeValue::Int(1)),
        (4, AttributeValue::Bytes(vec![0xff])),
        (77, AttributeValue::Bytes(vec![0xff])),
    ] {
        let span =
            check(decode_batch(&binary(|to| batch(to, "otel.status_code", v_type)), Limits::default()));
        assert_eq!(span.attributes.get("otel.status_code"), Some(&expected));
        let failed = matches!(v_type, 0 | 3);
        assert_eq!(span.status == SpanStatus::Error(String::new()), failed, "{v_type}");
    }
}

#[test]
fn padded_datagram_of_either_call_is_read() {
    for kind in [TMessageType::OneWay, TMessageType::Call] {
        let mut bytes = binary(|to| message(to, "emitBatch", kind));
        bytes.extend_from_slice(&[0; 9]);
        check(decode_binary_message(&bytes, Limits::default()));
        let mut bytes = Vec::new();
        message(&mut TCompactOutputProtocol::new(&mut bytes), "emitBatch", kind);
        bytes.extend_from_slice(&[0; 9]);
        check(decode_compact_message(&bytes, Limits::default()));
    }
    for (name, kind, part) in [
        ("emitZipkinBatch", TMessageType::OneWay, "send Jaeger's emitBatch"),
        ("shutdown", TMessageType::Call, r#"it calls "shutdown""#),
        ("emitBatch", TMessageType::Reply, "an answer"),
    ] {
        let bytes = binary(|to| message(to, name, kind));
        let error = decode_binary_message(&bytes, Limits::default()).expect_err(name).to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn body_that_claims_too_much_is_refused() {
    let spans = |claimed: u32| {
        let mut body = vec![15, 0, 2, 12];
        body.extend_from_slice(&claimed.to_be_bytes());
        body.resize(20, 0);
        body
    };
    assert!(decode_batch(&spans(6_000_000), Limits::default()).is_err());
    assert!(decode_batch(&spans(u32::MAX), Limits::default()).is_err());
    // Spans without a field take one byte each.
    let decoded = decode_batch(&spans(11), Limits::default()).expect("readable");
    assert_eq!((decoded.spans.len(), decoded.rejected.count), (0, 11));
    let few = Limits { spans: 10, ..Limits::default() };
    assert_eq!(decode_batch(&spans(11), few), Err(IngestError::TooManySpans { limit: 10 }));
    for body in [&[][..], &[0], &[11, 0, 1, 0x7f, 0xff, 0xff, 0xff], &[12; 4_000], b"{}"] {
        let error = decode_batch(body, Limits::default()).expect_err("no batch").to_string();
        assert!(error.starts_with("the body is not a Jaeger thrift batch"), "{error}");
    }
    let mut values = vec![12, 0, 1, 15, 0, 2, 12, 0, 0, 0, 200];
    values.resize(400, 0);
    let few = Limits { values: 100, ..Limits::default() };
    assert_eq!(decode_batch(&values, few), Err(IngestError::TooManyValues { limit: 100 }));
}

#[test]
fn nesting_depth_is_bounded() {
    // Structures nested in their first field, in the binary and the compact protocol.
    let deep: Vec<u8> = [12, 0, 9].repeat(100_000);
    assert!(decode_batch(&deep, Limits::default()).is_err());
    let mut deep = vec![0x82, 0x21, 0x01, 9];
    deep.extend_from_slice(b"emitBatch");
    deep.extend(std::iter::repeat_n(0x1c, 100_000));
    assert!(decode_compact_message(&deep, Limits::default()).is_err());
}
