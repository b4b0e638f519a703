//! The spans per second that one core decodes, redacts and serializes for storage, for each
//! protocol. `cargo bench --bench decode` prints them in processor time of one thread, so other
//! load on the machine has little influence. It prints figures and checks none.
//!
//! `cargo bench --bench decode -- FOLDER COUNT` writes the requests that `benches/ingest.sh` sends.

mod requests;
mod wire;

use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use pacegate_ingest::otlp::{TraceBatch, encode_json, encode_protobuf};
use pacegate_ingest::redact::Redactor;
use pacegate_ingest::{Format, Limits};
use requests::{SPANS, Shape, request};

/// `REQUESTS` are decoded in one round. The fastest of `ROUNDS` rounds counts.
const REQUESTS: u32 = 60;
const ROUNDS: u32 = 15;

#[expect(clippy::print_stdout, reason = "figures are what this prints")]
fn print_line(text: &str) {
    println!("{text}");
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match &arguments[..] {
        [] => print_figures(),
        [folder, count] => {
            write_requests(&PathBuf::from(folder), count.parse().expect("a number of requests"));
        }
        _ => print_line("either no arguments, or a folder and how many requests are written to it"),
    }
}

/// Seconds of processor time of this thread, by Linux's scheduler.
fn processor_seconds() -> f64 {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts this");
    let nanoseconds = statistics.split(' ').next().expect("a number");
    nanoseconds.parse::<f64>().expect("a number") / 1e9
}

/// The smallest processor time in seconds that one request took.
fn fastest(mut decode: impl FnMut()) -> f64 {
    let mut go = || {
        let begun = processor_seconds();
        (0..REQUESTS).for_each(|_| decode());
        (processor_seconds() - begun) / f64::from(REQUESTS)
    };
    go();
    (0..ROUNDS).map(|_| go()).fold(f64::INFINITY, f64::min)
}

fn print_figures() {
    let spans = request(Shape::Single, 1);
    let forms = [
        ("OTLP protobuf", Format::OtlpProtobuf, encode_protobuf(&spans)),
        ("OTLP JSON", Format::OtlpJson, encode_json(&spans).expect("JSON")),
        ("Zipkin v2 JSON", Format::ZipkinV2Json, wire::zipkin_json(&spans)),
        ("Zipkin v2 protobuf", Format::ZipkinV2Protobuf, wire::zipkin_protobuf(&spans)),
        ("Jaeger thrift (binary)", Format::JaegerThriftBatch, wire::jaeger_thrift(&spans)),
        ("Jaeger protobuf", Format::JaegerProtobuf, wire::jaeger_protobuf(&spans)),
    ];
    let redactor = Redactor::default();
    let count = f64::from(u32::try_from(SPANS).expect("few"));
    print_line("| Protocol | Bytes a span | Spans a second, one core |\n|---|---|---|");
    for (name, format, body) in forms {
        let decoded = format.decode(&body, Limits::default()).expect("a request").spans;
        assert_eq!(decoded.len(), SPANS, "{name}: every span is read");
        assert!(decoded.iter().all(|span| span.attributes.0.len() >= 6), "{name}: with its attributes");
        let seconds = fastest(|| {
            let scanned = format.scan(&body, Limits::default(), &redactor).expect("a request");
            let mut batch = TraceBatch::default();
            scanned.spans.iter().for_each(|span| batch.push(span, &scanned.read));
            black_box(batch.write(&scanned.groups));
        });
        print_line(&format!("| {name} | {} | {:.2} M |", body.len() / SPANS, count / seconds / 1e6));
    }
}

/// Writes a file of protobuf and a file of JSON for each shape. Each request follows its length in
/// four bytes, the highest byte first. The requests do not name a repository.
fn write_requests(folder: &Path, count: u64) {
    for shape in Shape::ALL {
        let file = |extension: &str| {
            let path = folder.join(format!("{}.{extension}", shape.name()));
            BufWriter::new(std::fs::File::create(path).expect("a file in the folder"))
        };
        let (mut protobuf, mut json) = (file("protobuf"), file("json"));
        let mut bytes = 0;
        for spans in (0..count).map(|number| request(shape, number)) {
            let body = encode_protobuf(&spans);
            bytes += body.len() / SPANS;
            write(&mut protobuf, &body);
            write(&mut json, &encode_json(&spans).expect("JSON"));
        }
        protobuf.flush().and_then(|()| json.flush()).expect("free space on the disk");
        let bytes = bytes / usize::try_from(count.max(1)).expect("few");
        print_line(&format!("{} requests of {SPANS} spans, {}: {bytes} bytes a span", count, shape.name()));
    }
}

fn write(file: &mut impl Write, body: &[u8]) {
    let length = u32::try_from(body.len()).expect("a small request").to_be_bytes();
    file.write_all(&length).and_then(|()| file.write_all(body)).expect("free space on the disk");
}
