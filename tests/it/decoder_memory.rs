//! Limits the memory of every decoder to 64 times the body's size and a megabyte. The bodies are
//! samples, adversarial bodies, and samples with changed bytes. The measurement runs in a process
//! of its own with one thread, because other tests allocate meanwhile.

use std::path::Path;
use std::process::Command;

use pacegate_ingest::redact::Redactor;
use pacegate_ingest::{Format, Limits, jaeger, reports};

use crate::ALLOCATOR;

/// `PER_BYTE` is the memory that each byte of a body may cost. `FREE` bytes may be used besides.
const PER_BYTE: usize = 64;
const FREE: usize = 1_000_000;

const FORMATS: [Format; 9] = [
    Format::OtlpProtobuf,
    Format::OtlpJson,
    Format::ZipkinV2Json,
    Format::ZipkinV2Protobuf,
    Format::ZipkinV1Json,
    Format::JaegerThriftBatch,
    Format::JaegerUdpCompact,
    Format::JaegerUdpBinary,
    Format::JaegerProtobuf,
];

#[test]
fn decoder_memory_stays_proportional_to_input() {
    let this = std::env::current_exe().expect("the test's own file");
    let measured = Command::new(this)
        .args(["--exact", "decoder_memory::measured_alone", "--ignored", "--test-threads=1", "--nocapture"])
        .output()
        .expect("the test starts its own binary");
    let text = String::from_utf8_lossy(&measured.stdout).into_owned();
    assert!(measured.status.success(), "{text}{}", String::from_utf8_lossy(&measured.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "the test above runs it, in a process where nothing else takes memory"]
fn measured_alone() {
    let mut bodies = adversarial();
    for (name, sample) in samples() {
        bodies.extend((0..40).map(|seed| (format!("{name}, changed {seed}"), changed(&sample, seed))));
        bodies.push((name, sample));
    }
    let mut wrong = Vec::new();
    let redactor = Redactor::default();
    for (name, body) in &bodies {
        for format in FORMATS {
            check(&format!("{format:?}: {name}"), body, &mut wrong, |body| {
                drop(format.decode(body, Limits::default()));
            });
            check(&format!("{format:?}, cleaned: {name}"), body, &mut wrong, |body| {
                drop(format.sift(body, Limits::default(), &redactor));
            });
        }
        check(&format!("a report: {name}"), body, &mut wrong, |body| {
            drop(reports::read(body, Limits::default()));
        });
        check(&format!("Jaeger's UI: {name}"), body, &mut wrong, |body| {
            drop(jaeger::decode_ui(body, Limits::default()));
        });
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn check(name: &str, body: &[u8], wrong: &mut Vec<String>, decode: impl FnOnce(&[u8])) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    decode(body);
    let taken = ALLOCATOR.peak_usage().saturating_sub(before);
    if taken > PER_BYTE * body.len() + FREE {
        wrong.push(format!(
            "{name}: {} bytes took {taken}, {} a byte",
            body.len(),
            taken / body.len().max(1)
        ));
    }
}

fn samples() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let files = |folder: &Path| {
        let entries = std::fs::read_dir(folder).expect("the samples");
        entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file()).collect::<Vec<_>>()
    };
    [files(&folder), files(&folder.join("reports"))]
        .concat()
        .into_iter()
        .map(|path| (path.display().to_string(), std::fs::read(&path).expect("a sample")))
        .collect()
}

/// Changes some bytes and repeats a part of the sample. The same seed gives the same change.
fn changed(sample: &[u8], seed: u64) -> Vec<u8> {
    let mut state = seed + 1;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % n.max(1)
    };
    let mut body = sample.to_vec();
    for _ in 0..=below(8) {
        let at = below(body.len());
        body[at] = u8::try_from(below(256)).expect("a byte");
    }
    let (from, length) = (below(body.len()), below(200));
    let part = body[from..body.len().min(from + length)].to_vec();
    body.extend_from_slice(&part);
    body
}

/// Bodies full of elements that are small on the wire and large in memory.
fn adversarial() -> Vec<(String, Vec<u8>)> {
    let many = |head: &str, part: &str, tail: &str| {
        // Stays below the limits of a request. Above them the decoder refuses before it allocates.
        let parts = vec![part; (300_000 / part.len()).min(49_000)].join(",");
        (format!("{head}{part}"), format!("{head}{parts}{tail}").into_bytes())
    };
    let ids = r#""traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174""#;
    let otlp = r#"{"resourceSpans":[{"scopeSpans":[{"spans":["#;
    let mut bodies = vec![
        many(otlp, "{}", "]}]}]}"),
        many(otlp, &format!("{{{ids}}}"), "]}]}]}"),
        many(otlp, &format!(r#"{{{ids},"events":[{{}}],"attributes":[{{}}]}}"#), "]}]}]}"),
        many(otlp, &format!(r#"{{{ids},"events":[{}]}}"#, ["{}"; 200].join(",")), "]}]}]}"),
        many(otlp, &format!(r#"{{{ids},"attributes":[{}]}}"#, ["{}"; 200].join(",")), "]}]}]}"),
        many(r#"{"resourceSpans":["#, "{}", "]}"),
        many(r#"{"resourceSpans":[{"scopeSpans":["#, "{}", "]}]}"),
        many("[", "{}", "]"),
        many(
            "[",
            r#"{"traceId":"1","id":"1","timestamp":1,"tags":{"a":"","b":""},"annotations":[{},{}]}"#,
            "]",
        ),
        many(
            "[",
            r#"{"traceId":"1","id":"1","timestamp":1,"binaryAnnotations":[{},{}],"annotations":[{},{}]}"#,
            "]",
        ),
        many(r#"{"data":[{"spans":["#, "{}", "]}]}"),
        many(r#"{"data":["#, "{}", "]}"),
        many(
            r#"{"data":[{"spans":["#,
            r#"{"traceID":"1","spanID":"1","startTime":1,"tags":[{},{}],"logs":[{},{}]}"#,
            "]}]}",
        ),
    ];
    bodies.push(("nested lists".into(), vec![b'['; 100_000]));
    bodies.push(("nested objects".into(), br#"{"a":"#.repeat(100_000)));
    bodies.push(("zeros".into(), vec![0; 300_000]));
    let ids = [&[0x0a, 16][..], &[1; 16], &[0x12, 8], &[1; 8]].concat();
    for (name, inner) in [
        ("events", [0x5a, 0].repeat(250)),
        ("attributes", [0x4a, 0].repeat(250)),
        ("events with an attribute", [0x5a, 2, 0x1a, 0].repeat(200)),
        ("nothing else", vec![]),
    ] {
        let span = field(2, &[&ids[..], &inner].concat());
        let spans = span.repeat(300_000 / span.len());
        bodies.push((format!("OTLP protobuf of spans with {name}"), field(1, &field(2, &spans))));
    }
    let process = [field(6, &[]), field(10, &[]), field(8, &[]).repeat(100), field(9, &[]).repeat(100)];
    let span = field(1, &[&ids[..], &process.concat()].concat());
    bodies.push(("Jaeger protobuf".into(), field(1, &span.repeat(1_000))));
    let span = [field(1, &[1; 8]), field(3, &[1; 8]), vec![0x31, 1, 0, 0, 0, 0, 0, 0, 0]].concat();
    let parts = [field(10, &[]).repeat(100), field(11, &[]).repeat(100)].concat();
    bodies.push(("Zipkin protobuf".into(), field(1, &[&span[..], &parts].concat()).repeat(600)));
    // Spans with an id, a trace and a start have seven bytes each. The logs have one tag with a key
    // of one letter.
    let compact = |spans: u32, span: &[u8]| {
        let count =
            [0x80 | (spans & 0x7f) as u8, 0x80 | (spans >> 7 & 0x7f) as u8, (spans >> 14 & 0x7f) as u8];
        let mut body = b"\x82\x21\x01\x09emitBatch\x1c\x29\xfc".to_vec();
        body.extend_from_slice(&count);
        body.extend(span.repeat(spans as usize));
        body.extend_from_slice(&[0, 0]);
        body
    };
    let spans = compact(40_000, &[0x16, 2, 0x26, 2, 0x56, 2, 0]);
    let decoded = Format::JaegerUdpCompact.decode(&spans, Limits::default()).expect("spans of seven bytes");
    assert_eq!(decoded.spans.len(), 40_000);
    bodies.push(("compact spans".into(), spans));
    let logs = [0x18, 1, b'k', 0].to_vec();
    let log = [&[0x29, 0x1c][..], &logs, &[0]].concat();
    let span = [&[0x16, 2, 0x26, 2, 0x56, 2, 0x39, 0xfc, 100][..], &log.repeat(100), &[0]].concat();
    bodies.push(("compact logs".into(), compact(500, &span)));
    let mut claims = vec![15, 0, 2, 12, 0, 0x5b, 0x8d, 0x80];
    claims.resize(20, 0);
    bodies.push(("6 million spans in 20 bytes".into(), claims));
    bodies.push(("a text of 2 GiB".into(), vec![12, 0, 1, 11, 0, 1, 0x7f, 0xff, 0xff, 0xff, b'a']));
    bodies
}

/// A length-delimited field of protobuf.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 128 {
        bytes.push(u8::try_from(length % 128).expect("seven bits") | 0x80);
        length /= 128;
    }
    bytes.push(u8::try_from(length).expect("seven bits"));
    bytes.extend_from_slice(content);
    bytes
}
