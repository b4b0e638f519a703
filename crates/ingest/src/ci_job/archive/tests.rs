//! Valid archives of the action, and adversarial ones.

use std::io::{Cursor, Write};

use base64::Engine as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::Limits;
use pacegate_engine::model::span::AttributeValue;
use pacegate_engine::model::stage::CacheState;

const TRACE: &str = "5b8efff798038103d269b633813fc60c";
const JOB: &str = "e3075317eec20623";
const SECOND: i64 = 1_000_000_000;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

fn request(trace: &str, id: u64, parent: &str) -> String {
    let span = json!({ "traceId": trace, "spanId": format!("{id:016x}"), "parentSpanId": parent, "name": "step",
        "startTimeUnixNano": "20000000000", "endTimeUnixNano": "30000000000" });
    json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] }).to_string()
}

fn report_line(path: &str, content: &str, written_ns: i64) -> String {
    json!({ "report": { "path": path, "modified_at_unix_nano": written_ns.to_string(), "bytes": content.len(),
        "sha256": hex::encode(Sha256::digest(content)),
        "content_base64": base64::engine::general_purpose::STANDARD.encode(content) } })
    .to_string()
}

const JUNIT: &str =
    r#"<testsuite name="suite"><testcase name="a" time="2"/><testcase name="b" time="3"/></testsuite>"#;

fn entry(name: &str, bytes: &[u8], inflated: usize) -> Value {
    json!({ "name": name, "sha256": hex::encode(Sha256::digest(bytes)), "bytes": bytes.len(),
            "inflated_bytes": inflated, "lines": 1, "spans": 1 })
}

/// A manifest of a job from 10 s to 100 s after the epoch. `change` replaces fields.
fn manifest(files: &[Value], change: &Value) -> Value {
    let mut manifest = json!({
        "schema": 1, "repository": "acme/my-app", "repository_id": "1296269", "run_id": "29679449", "run_attempt": 1,
        "job": "test", "check_run_id": "7", "head_sha": "f83a356604ae3c5d03e1b46ef4d1ca77d64a90b0", "workflow": "CI",
        "event_name": "push", "ref": "refs/heads/main", "trace_id": TRACE, "job_span_id": JOB,
        "runner_name": "GitHub Actions 7", "matrix": { "node": 18, "os": "linux", "deep": [1] }, "service_name": null,
        "started_at_unix_nano": "10000000000", "ended_at_unix_nano": "100000000000",
        "runner": { "host.cpu.model.name": "EPYC", "host.cpu.count": 4 }, "caches": { "cargo": "miss", "odd": 7 },
        "calibration": { "integer_ns": 1_000_000, "memory_ns": 2_000_000 }, "files": files,
        "dropped": { "spans": 0, "bytes": 0, "reports": [] }, "of a later version": {},
    });
    for (key, value) in change.as_object().expect("fields") {
        manifest[key] = value.clone();
    }
    manifest
}

struct Shipped {
    manifest: Value,
    spans: Vec<u8>,
    reports: Vec<u8>,
}

fn shipped(change: &Value) -> Shipped {
    // The second request is from a program without the trace context. The third reuses the job's id.
    let lines = [
        request(TRACE, 1, JOB),
        request("00000000000000000000000000000001", 2, ""),
        request(TRACE, u64::from_str_radix(JOB, 16).expect("hex"), ""),
    ];
    let text = lines.join("\n") + "\n";
    let reports = report_line("target/junit.xml", JUNIT, 60 * SECOND) + "\n";
    let (spans_gz, reports_gz) = (gzip(text.as_bytes()), gzip(reports.as_bytes()));
    let files = [entry(SPANS_FILE, &spans_gz, text.len()), entry(REPORTS_FILE, &reports_gz, reports.len())];
    Shipped { manifest: manifest(&files, change), spans: spans_gz, reports: reports_gz }
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(*name, SimpleFileOptions::default()).expect("a new file");
        writer.write_all(bytes).expect("memory");
    }
    writer.finish().expect("memory").into_inner()
}

impl Shipped {
    fn zip(&self) -> Vec<u8> {
        let manifest = self.manifest.to_string();
        let files = [
            (SPANS_FILE, &self.spans[..]),
            (REPORTS_FILE, &self.reports),
            (MANIFEST_FILE, manifest.as_bytes()),
        ];
        zip(&files)
    }

    fn body(&self) -> Vec<u8> {
        let line = json!({ "manifest": self.manifest }).to_string() + "\n";
        [gzip(line.as_bytes()), self.spans.clone(), self.reports.clone()].concat()
    }
}

#[test]
fn zip_and_upload_are_read_alike() {
    let shipped = shipped(&json!({}));
    let archive = JobArchive::from_zip(&shipped.zip()).expect("an archive");
    assert_eq!(JobArchive::from_upload(&shipped.body()).expect("an upload"), archive);
    let names: Vec<(&str, i64, i64)> =
        archive.spans.iter().map(|s| (s.name.as_str(), s.start_ns / SECOND, s.end_ns / SECOND)).collect();
    let expected = [("step", 20, 30), ("step", 20, 30), ("suite", 55, 60), ("a", 55, 57), ("b", 57, 60)];
    assert_eq!(names, expected, "a report ends when its file was written");
    assert!(archive.spans.iter().all(|span| span.trace_id.to_string() == TRACE));
    assert!(
        archive.spans.iter().all(|span| span.span_id.to_string() != JOB),
        "the job's own span comes from GitHub"
    );
    let manifest = archive.manifest;
    assert_eq!((manifest.run_id, manifest.check_run_id), (29_679_449, Some(7)));
    assert_eq!(manifest.caches(), [("cargo".to_owned(), CacheState::Miss)]);
    assert_eq!(manifest.runner_attributes()[0], ("host.cpu.count".to_owned(), AttributeValue::Int(4)));
    let matrix: Vec<String> = manifest.matrix_attributes().into_iter().map(|(key, _)| key).collect();
    assert_eq!(matrix, ["node", "os"], "only scalars are kept");
    assert!(archive.notes.is_empty(), "{:?}", archive.notes);
}

#[test]
fn invalid_zip_is_refused() {
    let good = shipped(&json!({}));
    let text = good.manifest.to_string();
    let with = |files: &[(&str, &[u8])]| {
        let mut all = vec![
            (MANIFEST_FILE, text.as_bytes()),
            (SPANS_FILE, &good.spans[..]),
            (REPORTS_FILE, &good.reports),
        ];
        all.extend_from_slice(files);
        zip(&all)
    };
    let many: Vec<String> = (0..16).map(|n| format!("{n}")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b""[..])).collect();
    // 60,000 entries of the directory, each of an empty file without a name.
    let entry = [&b"PK\x01\x02"[..], &[0; 42]].concat();
    let mut thousands = entry.repeat(60_000);
    let size = u32::try_from(thousands.len()).expect("small").to_le_bytes();
    thousands.extend([&b"PK\x05\x06\0\0\0\0"[..], &[0x60, 0xea, 0x60, 0xea], &size, &[0; 6]].concat());
    let mut claims_many = good.zip();
    let end = claims_many.len() - 22;
    claims_many[end + 8..end + 12].copy_from_slice(&[0xff; 4]);
    let mut with_comment = good.zip();
    with_comment.extend_from_slice(b"PK");
    let mut twice = with(&[("manifest.jsoN", b"{}")]);
    while let Some(at) = twice.windows(13).position(|w| w == b"manifest.jsoN") {
        twice[at..at + 13].copy_from_slice(b"manifest.json");
    }
    let mut link = ZipWriter::new(Cursor::new(Vec::new()));
    link.add_symlink(SPANS_FILE, "/etc/passwd", SimpleFileOptions::default()).expect("a link");
    let mut zip64 = good.zip();
    let tail = zip64.split_off(zip64.len() - 22);
    let added = [&b"PK\x06\x07"[..], &[0; 16]].concat();
    let size = u32::from_le_bytes(tail[12..16].try_into().expect("four bytes")) + 20;
    zip64.extend(added);
    zip64.extend(tail);
    let at = zip64.len() - 10;
    zip64[at..at + 4].copy_from_slice(&size.to_le_bytes());
    for (what, bytes, reason) in [
        ("nothing", Vec::new(), "not a readable zip"),
        ("a page", b"<html>an artifact that has expired</html>".to_vec(), "not a readable zip"),
        ("a comment", with_comment, "not a readable zip"),
        ("60,000 files", thousands, "60000 files"),
        ("65,535 claimed", claims_many, "65535 files"),
        ("16 more", with(&many), "19 files"),
        ("a zip64", zip64, "a zip64"),
        ("a path out", with(&[("../../etc/cron.d/x", b"")]), "\"../../etc/cron.d/x\""),
        ("an absolute path", zip(&[("/manifest.json", b"{}")]), "\"/manifest.json\""),
        ("a folder", zip(&[("spans.jsonl.gz/", b"")]), "does not write"),
        ("a link", link.finish().expect("memory").into_inner(), "does not write"),
        ("one name twice", twice, "the same name"),
        ("no manifest", zip(&[(SPANS_FILE, &good.spans)]), "manifest.json is missing"),
        ("no spans", zip(&[(MANIFEST_FILE, text.as_bytes())]), "spans.jsonl.gz is missing"),
        ("a manifest of a megabyte", zip(&[(MANIFEST_FILE, &vec![b' '; 1 << 20])]), "larger than 256 KiB"),
        ("a manifest of another type", zip(&[(MANIFEST_FILE, b"[]")]), "manifest can't be read"),
        (
            "a deep manifest",
            zip(&[(MANIFEST_FILE, &b"{\"matrix\":".repeat(1_000))]),
            "manifest can't be read",
        ),
        ("too many bytes", vec![0; ARCHIVE_BYTES + 1], "larger than 32 MiB"),
    ] {
        let error = JobArchive::from_zip(&bytes).expect_err(what).to_string();
        assert!(error.contains(reason), "{what}: {error}");
    }
}

#[test]
fn file_that_differs_from_its_manifest_is_refused() {
    let other = gzip(request(TRACE, 9, JOB).as_bytes());
    let bomb = gzip(&vec![b'0'; 40 << 20]);
    let listed = |bytes: &[u8], inflated: usize| json!({ "files": [entry(SPANS_FILE, bytes, inflated)] });
    let good = shipped(&json!({}));
    for (what, change, spans, reason) in [
        ("other bytes", listed(&good.spans, 1), other.clone(), "its size differs"),
        (
            "a wrong digest",
            json!({ "files": [{ "name": SPANS_FILE, "sha256": "00", "bytes": other.len() }] }),
            other.clone(),
            "its SHA-256 differs",
        ),
        ("more than it states", listed(&other, 10), other.clone(), "inflated size differs"),
        ("a bomb with a small stated size", listed(&bomb, 100), bomb.clone(), "inflated size differs"),
        ("a bomb", listed(&bomb, 40 << 20), bomb.clone(), "longer than 32 MiB"),
        ("not gzip", listed(b"plain", 5), b"plain".to_vec(), "can't be inflated"),
        ("another schema", json!({ "schema": 2 }), good.spans.clone(), "schema 2"),
        (
            "another file",
            json!({ "files": [{ "name": "../x", "sha256": "", "bytes": 0 }] }),
            good.spans.clone(),
            "\"../x\"",
        ),
        ("a file not listed", json!({ "files": [] }), good.spans.clone(), "not in the manifest's list"),
    ] {
        let manifest = manifest(&[], &change).to_string();
        let bytes = zip(&[(MANIFEST_FILE, manifest.as_bytes()), (SPANS_FILE, &spans)]);
        let error = JobArchive::from_zip(&bytes).expect_err(what).to_string();
        assert!(error.contains(reason), "{what}: {error}");
    }
    let mut body = good.body();
    body.push(0);
    assert_eq!(JobArchive::from_upload(&body), Err(ArchiveError::TrailingBytes(1)));
    body.truncate(body.len() - 2);
    assert_eq!(
        JobArchive::from_upload(&body),
        Err(ArchiveError::Altered { file: REPORTS_FILE, what: "size" })
    );
}

#[test]
fn unusable_lines_are_left_out_with_notes() {
    let bad_report = report_line("a.xml", "no report", 0);
    let altered = report_line("b.xml", JUNIT, 0).replace("b.xml\",\"sha256\":\"", "b.xml\",\"sha256\":\"00");
    let many = (0..50_001).map(|_| "{}").collect::<Vec<_>>().join(",");
    let many = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{many}]}}]}}]}}"#);
    let spans = gzip(format!("no json\n{}\n{many}\n", request(TRACE, 1, JOB)).as_bytes());
    let reports = gzip(format!("{bad_report}\n{altered}\n[]").as_bytes());
    let files = [(SPANS_FILE, &spans), (REPORTS_FILE, &reports)].map(|(name, bytes)| {
        json!({ "name": name, "sha256": hex::encode(Sha256::digest(bytes)), "bytes": bytes.len() })
    });
    let dropped = json!({ "dropped": { "spans": 3, "bytes": 9, "reports": ["big.xml: too large"] } });
    let manifest = manifest(&files, &dropped).to_string();
    let bytes = zip(&[(MANIFEST_FILE, manifest.as_bytes()), (SPANS_FILE, &spans), (REPORTS_FILE, &reports)]);
    let archive = JobArchive::from_zip(&bytes).expect("the readable lines are read");
    assert_eq!(archive.spans.len(), 1);
    for part in [
        "line 1 of spans.jsonl.gz was left out",
        "1 requests with spans were left out",
        "report \"a.xml\" was left out: it is not a report",
        "report \"b.xml\" was left out: its SHA-256 differs",
        "a report can't be read",
        "the action left out 3 spans (9 bytes)",
        "big.xml: too large",
    ] {
        assert!(archive.notes.iter().any(|note| note.contains(part)), "{part}: {:?}", archive.notes);
    }
    assert_eq!(Limits::default().spans, 50_000);
}

#[test]
fn manifest_of_another_run_is_a_contradiction() {
    let archive = JobArchive::from_zip(&shipped(&json!({})).zip()).expect("an archive");
    let own = Expected {
        repository_id: Some(1_296_269),
        run_id: 29_679_449,
        run_attempt: 1,
        check_run_id: Some(7),
        head_sha: None,
        trace_id: TRACE.parse().expect("a trace"),
    };
    let check = |expected: Expected| archive.manifest.contradiction(&expected);
    assert_eq!(check(own), None);
    assert_eq!(
        check(Expected { check_run_id: None, repository_id: None, ..own }),
        None,
        "unknown values are not compared"
    );
    for (part, other) in [
        ("repository \"1296269\"", Expected { repository_id: Some(1), ..own }),
        ("run \"29679449\"", Expected { run_id: 1, ..own }),
        ("attempt \"1\"", Expected { run_attempt: 2, ..own }),
        ("job \"7\"", Expected { check_run_id: Some(8), ..own }),
        ("commit \"f83a", Expected { head_sha: Some("0000"), ..own }),
        ("trace \"5b8e", Expected { trace_id: "1".repeat(32).parse().expect("a trace"), ..own }),
    ] {
        let sentence = check(other).expect(part);
        assert!(sentence.contains(part), "{sentence}");
    }
}
