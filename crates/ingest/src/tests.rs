//! The samples of `tests/samples/` describe the same pipeline in every SDK and format.

use std::collections::HashMap;
use std::io::Read;

use super::file::{FileError, read};
use super::{Decoded, Format, Limits};
use pacegate_engine::model::span::{AttributeValue, Span, SpanKind};

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/samples/", $name))
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

const NODE_JAEGER_HTTP: &[u8] = sample!("jaeger-http-node-2.11.thrift");
const NODE_JAEGER_UDP: &[u8] = sample!("jaeger-udp-binary-node-2.11.thrift");
const PYTHON_ZIPKIN_PROTOBUF: &[u8] = sample!("zipkin-v2-python-1.45.1.pb");
const PYTHON_ZIPKIN_V1: &[u8] = sample!("zipkin-v1-python-1.45.1.json");
const PYTHON_JAEGER_HTTP: &[u8] = sample!("jaeger-http-python-1.21.thrift");
const PYTHON_JAEGER_UDP: &[u8] = sample!("jaeger-udp-compact-python-1.21.thrift");
const PYTHON_JAEGER_GRPC: &[u8] = sample!("jaeger-grpc-python-1.21.pb");
const GO_JAEGER_HTTP: &[u8] = sample!("jaeger-http-go-1.1.0.thrift");
const GO_JAEGER_UDP: &[u8] = sample!("jaeger-udp-compact-go-1.1.0.thrift");

/// The samples that are request bodies. The others are read as files.
const WIRE: [(Format, &[u8]); 9] = [
    (Format::JaegerThriftBatch, NODE_JAEGER_HTTP),
    (Format::JaegerUdpBinary, NODE_JAEGER_UDP),
    (Format::ZipkinV2Protobuf, PYTHON_ZIPKIN_PROTOBUF),
    (Format::ZipkinV1Json, PYTHON_ZIPKIN_V1),
    (Format::JaegerThriftBatch, PYTHON_JAEGER_HTTP),
    (Format::JaegerUdpCompact, PYTHON_JAEGER_UDP),
    (Format::JaegerProtobuf, PYTHON_JAEGER_GRPC),
    (Format::JaegerThriftBatch, GO_JAEGER_HTTP),
    (Format::JaegerUdpCompact, GO_JAEGER_UDP),
];

fn decoded(bytes: &[u8]) -> Decoded {
    let decoded = match WIRE.iter().find(|(_, sample)| *sample == bytes) {
        Some((format, bytes)) => format.decode(bytes, Limits::default()).expect("a sample is readable"),
        None => read(bytes, Limits::default()).expect("a sample is readable"),
    };
    assert_eq!(decoded.rejected.count, 0, "{:?}", decoded.rejected);
    decoded
}

/// Name, parent's name, kind, microseconds, whether it failed, names of its events.
type SpanRow = (String, Option<String>, String, i64, bool, Vec<String>);

/// The spans without the values that differ between recordings. Zipkin and Jaeger have no kind
/// `internal`.
fn pipeline(bytes: &[u8]) -> Vec<SpanRow> {
    let spans = decoded(bytes).spans;
    let names: HashMap<_, _> = spans.iter().map(|s| ((s.trace_id, s.span_id), s.name.clone())).collect();
    let row = |span: &Span| {
        let kind = if span.kind == SpanKind::Internal { SpanKind::Unspecified } else { span.kind };
        let parent = span.parent_span_id.map(|id| names[&(span.trace_id, id)].clone());
        // Python's exporter for Jaeger over gRPC rounds: it computes with doubles.
        let duration_us = (span.end_ns - span.start_ns + 500) / 1_000;
        let events = span.events.iter().map(|e| e.name.clone()).collect();
        (span.name.clone(), parent, format!("{kind:?}"), duration_us, span.failed(), events)
    };
    let mut rows: Vec<SpanRow> = spans.iter().map(row).collect();
    rows.sort();
    rows
}

fn find(bytes: &[u8], name: &str) -> Span {
    decoded(bytes).spans.into_iter().find(|s| s.name == name).expect(name)
}

#[test]
fn recordings_of_one_language_are_equal() {
    let mut inflated = Vec::new();
    flate2::read::ZlibDecoder::new(PYTHON_PROTOBUF_DEFLATE).read_to_end(&mut inflated).expect("zlib");
    let node = pipeline(NODE_JSON);
    for (what, bytes) in [
        ("gzip", NODE_JSON_GZIP),
        ("protobuf", NODE_PROTOBUF),
        ("gRPC", NODE_GRPC),
        ("Zipkin", NODE_ZIPKIN),
        ("Jaeger", NODE_JAEGER),
        ("Jaeger over HTTP", NODE_JAEGER_HTTP),
        ("Jaeger over UDP", NODE_JAEGER_UDP),
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
        ("Zipkin protobuf", PYTHON_ZIPKIN_PROTOBUF),
        ("Jaeger over HTTP", PYTHON_JAEGER_HTTP),
        ("Jaeger over UDP", PYTHON_JAEGER_UDP),
        ("Jaeger over gRPC", PYTHON_JAEGER_GRPC),
    ] {
        assert_eq!(pipeline(bytes), python, "Python, {what}");
    }
    // Python's exporter for Zipkin v1 sends no kind.
    let without_kind = |rows: Vec<SpanRow>| {
        let mut rows: Vec<SpanRow> =
            rows.into_iter().map(|row| (row.0, row.1, String::new(), row.3, row.4, row.5)).collect();
        rows.sort();
        rows
    };
    assert_eq!(without_kind(pipeline(PYTHON_ZIPKIN_V1)), without_kind(python.clone()), "Python, Zipkin v1");
    let go = pipeline(GO_JAEGER_HTTP);
    assert_eq!(pipeline(GO_JAEGER_UDP), go, "Go, Jaeger over UDP");
    assert_eq!((node.len(), python.len(), go.len()), (15, 17, 16));
    for (rows, tenths) in [(&node, 30), (&python, 30), (&go, 15)] {
        let roots: Vec<&SpanRow> = rows.iter().filter(|r| r.1.is_none()).collect();
        assert_eq!(roots.len(), 1);
        assert_eq!((roots[0].0.as_str(), roots[0].2.as_str()), ("pipeline-execution", "Server"));
        let deployment = rows.iter().find(|r| r.0 == "deployment").expect("deployment");
        assert_eq!((deployment.3, deployment.4), (tenths * 100_000, true));
    }
}

#[test]
fn service_commit_and_exception_survive_every_format() {
    for bytes in [NODE_JSON, NODE_PROTOBUF, NODE_ZIPKIN, NODE_JAEGER, NODE_JAEGER_HTTP, NODE_JAEGER_UDP] {
        let span = find(bytes, "deployment");
        assert_eq!(span.resource.attributes.text("service.name").as_deref(), Some("artifact-service"));
        assert_eq!(span.text(&["service.version"]).as_deref(), Some("1.0.0"));
        assert_eq!(span.events.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["exception"]);
        assert_eq!(span.events[0].time_ns, span.end_ns);
        assert_eq!(span.status, pacegate_engine::model::span::SpanStatus::Error("deploy failed".into()));
    }
    for bytes in [
        PYTHON_JSON,
        PYTHON_PROTOBUF,
        PYTHON_ZIPKIN,
        PYTHON_ZIPKIN_PROTOBUF,
        PYTHON_ZIPKIN_V1,
        PYTHON_JAEGER_HTTP,
        PYTHON_JAEGER_UDP,
        PYTHON_JAEGER_GRPC,
    ] {
        let span = find(bytes, "deployment");
        assert_eq!(span.text(&["vcs.repository.name"]).as_deref(), Some("acme/my-app"));
        assert_eq!(span.text(&["service.name"]).as_deref(), Some("pipeline-engine"));
        assert_eq!(span.scope.name, "pipeline-engine-tracer");
        assert_eq!(span.attributes.get("otel.scope.name"), None, "the scope has a place of its own");
        let kind = span.events[0].attributes.text("exception.type");
        assert_eq!(kind.as_deref(), Some("RuntimeError"));
        let stage = find(bytes, "deploy-stage");
        let names: Vec<&str> = stage.events.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(names, ["stage-started", "stage-failed"]);
    }
    for bytes in [GO_JAEGER_HTTP, GO_JAEGER_UDP] {
        let span = find(bytes, "deployment");
        assert_eq!(span.text(&["service.name"]).as_deref(), Some("pipeline-engine"));
        assert!(span.events.iter().any(|e| e.attributes.text("exception.type").is_some()), "{span:?}");
    }
}

#[test]
fn links_and_types_survive_where_supported() {
    for bytes in [NODE_JSON, NODE_PROTOBUF, NODE_JAEGER, NODE_JAEGER_HTTP, NODE_JAEGER_UDP] {
        let consumer = find(bytes, "process-message");
        let root = find(bytes, "pipeline-execution");
        assert_eq!(consumer.links.iter().map(|l| l.span_id).collect::<Vec<_>>(), [root.span_id]);
        assert_eq!(root.attributes.get("retry"), Some(&AttributeValue::Bool(false)));
        assert_eq!(root.attributes.text("ratio").as_deref(), Some("0.25"));
        assert_eq!(root.attributes.text("pipeline.stage_count").as_deref(), Some("4"));
    }
    for bytes in [PYTHON_JAEGER_HTTP, PYTHON_JAEGER_UDP, PYTHON_JAEGER_GRPC] {
        let consumer = find(bytes, "process-message-pipeline-queue");
        let root = find(bytes, "pipeline-execution");
        assert_eq!(consumer.links.iter().map(|l| l.span_id).collect::<Vec<_>>(), [root.span_id]);
        assert_eq!(root.attributes.get("ratio"), Some(&AttributeValue::Double(0.25)));
        assert_eq!(root.attributes.get("pipeline.stage_count"), Some(&AttributeValue::Int(4)));
    }
}

#[test]
fn cut_or_damaged_request_never_panics() {
    for (format, bytes) in WIRE {
        for at in (0..bytes.len()).step_by(61) {
            let cut = format.decode(&bytes[..at], Limits::default());
            let text = matches!(format, Format::ZipkinV1Json);
            assert!(cut.is_err() || !text && cut.is_ok_and(|d| d.spans.len() <= 17), "{format:?} at {at}");
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 0x15;
            let _ = format.decode(&damaged, Limits::default());
        }
    }
}

#[test]
fn specification_example_is_read() {
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
fn protobuf_that_begins_like_json_is_protobuf() {
    // The first field's tag is a line feed, and its length 123 or 91 is a bracket.
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
fn cut_or_damaged_file_never_panics() {
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

#[test]
fn zipkin_v1_file_is_recognized_by_content() {
    let from_file = read(PYTHON_ZIPKIN_V1, Limits::default()).expect("readable");
    let decoded = Format::ZipkinV1Json.decode(PYTHON_ZIPKIN_V1, Limits::default());
    assert_eq!(Ok(from_file), decoded);
}
