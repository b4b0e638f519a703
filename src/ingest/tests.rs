//! Every sample of `tests/samples/` is the same pipeline, whatever SDK and format it came in.

use std::collections::HashMap;
use std::io::Read;

use super::file::{FileError, read};
use super::{Decoded, Limits};
use crate::model::span::{AttributeValue, Span, SpanKind};

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/samples/", $name))
    };
}

const NODE_JSON: &[u8] = sample!("otlp-http-node-0.223.1.json");
const NODE_JSON_GZIP: &[u8] = sample!("otlp-http-node-0.223.1.json.gz");
const NODE_PROTOBUF: &[u8] = sample!("otlp-http-node-0.223.1.pb");
const NODE_GRPC: &[u8] = sample!("otlp-grpc-node-0.223.1.pb");
const NODE_ZIPKIN: &[u8] = sample!("zipkin-v2-node-2.12.1.json");
const NODE_JAEGER: &[u8] = sample!("jaeger-ui-node.json");
const PYTHON_JSON: &[u8] = sample!("otlp-http-python-0.66b1.json");
const PYTHON_PROTOBUF: &[u8] = sample!("otlp-http-python-1.45.2.pb");
const PYTHON_PROTOBUF_GZIP: &[u8] = sample!("otlp-http-python-1.45.2.pb.gz");
const PYTHON_PROTOBUF_DEFLATE: &[u8] = sample!("otlp-http-python-1.45.2.pb.zz");
const PYTHON_GRPC: &[u8] = sample!("otlp-grpc-python-1.45.2.pb");
const PYTHON_ZIPKIN: &[u8] = sample!("zipkin-v2-python-1.45.1.json");
const SPECIFICATION: &[u8] = sample!("otlp-specification-example.json");

fn decoded(bytes: &[u8]) -> Decoded {
    let decoded = read(bytes, Limits::default()).expect("a sample is readable");
    assert_eq!(decoded.rejected.count, 0, "{:?}", decoded.rejected);
    decoded
}

/// Name, parent's name, kind, microseconds, whether it failed.
type Row = (String, Option<String>, String, i64, bool);

/// The pipeline without what differs from one recording to the next. Zipkin and Jaeger have
/// no kind `internal`.
fn pipeline(bytes: &[u8]) -> Vec<Row> {
    let spans = decoded(bytes).spans;
    let names: HashMap<_, _> = spans.iter().map(|s| ((s.trace_id, s.span_id), s.name.clone())).collect();
    let row = |span: &Span| {
        let kind = if span.kind == SpanKind::Internal { SpanKind::Unspecified } else { span.kind };
        let parent = span.parent_span_id.map(|id| names[&(span.trace_id, id)].clone());
        let duration_us = (span.end_ns - span.start_ns) / 1_000;
        (span.name.clone(), parent, format!("{kind:?}"), duration_us, span.failed())
    };
    let mut rows: Vec<Row> = spans.iter().map(row).collect();
    rows.sort();
    rows
}

fn find(bytes: &[u8], name: &str) -> Span {
    decoded(bytes).spans.into_iter().find(|s| s.name == name).expect(name)
}

#[test]
fn every_recording_of_a_language_is_the_same_pipeline() {
    let mut inflated = Vec::new();
    flate2::read::ZlibDecoder::new(PYTHON_PROTOBUF_DEFLATE).read_to_end(&mut inflated).expect("zlib");
    let node = pipeline(NODE_JSON);
    for (what, bytes) in [
        ("gzip", NODE_JSON_GZIP),
        ("protobuf", NODE_PROTOBUF),
        ("gRPC", NODE_GRPC),
        ("Zipkin", NODE_ZIPKIN),
        ("Jaeger", NODE_JAEGER),
    ] {
        assert_eq!(pipeline(bytes), node, "Node, {what}");
    }
    let python = pipeline(PYTHON_JSON);
    for (what, bytes) in [
        ("protobuf", PYTHON_PROTOBUF),
        ("gzip", PYTHON_PROTOBUF_GZIP),
        ("deflate", &inflated),
        ("gRPC", PYTHON_GRPC),
        ("Zipkin", PYTHON_ZIPKIN),
    ] {
        assert_eq!(pipeline(bytes), python, "Python, {what}");
    }
    assert_eq!((node.len(), python.len()), (15, 17));
    for rows in [&node, &python] {
        let roots: Vec<&Row> = rows.iter().filter(|r| r.1.is_none()).collect();
        assert_eq!(roots.len(), 1);
        assert_eq!((roots[0].0.as_str(), roots[0].2.as_str()), ("pipeline-execution", "Server"));
        let deployment = rows.iter().find(|r| r.0 == "deployment").expect("deployment");
        assert_eq!((deployment.3, deployment.4), (3_000_000, true));
    }
}

#[test]
fn the_service_the_commit_and_the_exception_survive_every_format() {
    for bytes in [NODE_JSON, NODE_PROTOBUF, NODE_ZIPKIN, NODE_JAEGER] {
        let span = find(bytes, "deployment");
        assert_eq!(span.resource.attributes.text("service.name").as_deref(), Some("artifact-service"));
        assert_eq!(span.text(&["service.version"]).as_deref(), Some("1.0.0"));
        assert_eq!(span.events.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["exception"]);
        assert_eq!(span.events[0].time_ns, span.end_ns);
        assert_eq!(span.status, crate::model::span::SpanStatus::Error("deploy failed".into()));
    }
    for bytes in [PYTHON_JSON, PYTHON_PROTOBUF, PYTHON_ZIPKIN] {
        let span = find(bytes, "deployment");
        assert_eq!(span.text(&["vcs.repository.name"]).as_deref(), Some("acme/my-app"));
        let kind = span.events[0].attributes.text("exception.type");
        assert_eq!(kind.as_deref(), Some("RuntimeError"));
        let stage = find(bytes, "deploy-stage");
        let names: Vec<&str> = stage.events.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(names, ["stage-started", "stage-failed"]);
    }
}

#[test]
fn links_and_types_survive_where_the_format_has_them() {
    for bytes in [NODE_JSON, NODE_PROTOBUF, NODE_JAEGER] {
        let consumer = find(bytes, "process-message");
        let root = find(bytes, "pipeline-execution");
        assert_eq!(consumer.links.iter().map(|l| l.span_id).collect::<Vec<_>>(), [root.span_id]);
        assert_eq!(root.attributes.get("retry"), Some(&AttributeValue::Bool(false)));
        assert_eq!(root.attributes.get("ratio"), Some(&AttributeValue::Double(0.25)));
        assert_eq!(root.attributes.get("pipeline.stage_count"), Some(&AttributeValue::Int(4)));
    }
}

#[test]
fn the_specification_s_own_example_is_read() {
    let span = decoded(SPECIFICATION).spans.remove(0);
    assert_eq!((span.name.as_str(), span.end_ns - span.start_ns), ("I'm a server span", 1_000_000_000));
    assert_eq!(span.kind, SpanKind::Server);
}

#[test]
fn documents_on_lines_are_one_file() {
    let mut lines = PYTHON_JSON.trim_ascii().to_vec();
    lines.push(b'\n');
    lines.extend_from_slice(NODE_JSON.trim_ascii());
    assert_eq!(decoded(&lines).spans.len(), 15 + 17);
}

#[test]
fn protobuf_that_begins_like_json_is_still_protobuf() {
    // The tag of the first field is a line feed, and its length 123 or 91 a bracket.
    for (length, bracket) in [(123_u8, b'{'), (91, b'[')] {
        let name = length - 34;
        let mut body = vec![0x0a, length, 0x12, length - 2, 0x12, length - 4, 0x0a, 16];
        body.extend_from_slice(&[0x41; 16]);
        body.extend_from_slice(&[0x12, 8]);
        body.extend_from_slice(&[0x41; 8]);
        body.extend_from_slice(&[0x2a, name]);
        body.extend(std::iter::repeat_n(b'n', name.into()));
        assert_eq!((body[1], body.len()), (bracket, usize::from(length) + 2));
        assert_eq!(decoded(&body).spans[0].name.len(), usize::from(name));
    }
}

#[test]
fn a_cut_or_damaged_sample_never_panics_and_a_cut_document_is_refused() {
    for bytes in [NODE_JSON, NODE_ZIPKIN, NODE_JAEGER, PYTHON_PROTOBUF, PYTHON_PROTOBUF_GZIP] {
        for at in (0..bytes.trim_ascii_end().len()).step_by(61) {
            let cut = read(&bytes[..at], Limits::default());
            assert!(cut.is_err(), "cut at {at}: {cut:?}");
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 0x15;
            if let Err(error) = read(&damaged, Limits::default()) {
                assert_ne!(error, FileError::Empty);
            }
        }
    }
}
