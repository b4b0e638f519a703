//! Reads and writes the archives that the action ships. Copies of a recorded job get other times
//! and other run ids, because a history needs many runs.

use std::io::{Cursor, Read, Write};

use base64::Engine;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;

/// An unpacked archive.
#[derive(Clone, Debug)]
pub(super) struct Archive {
    pub manifest: Value,
    /// OTLP requests, one per line of the file.
    pub spans: Vec<Value>,
    pub reports: Vec<Value>,
}

impl Archive {
    /// Reads a zip and checks it against the contract: exactly the files of the manifest, with its
    /// digests.
    pub(super) fn read(zip: &[u8]) -> Self {
        let mut zip = zip::ZipArchive::new(Cursor::new(zip)).expect("a zip");
        let mut names: Vec<String> =
            zip.file_names().map(|name| name.expect("a name").into_owned()).collect();
        names.sort();
        let mut bytes = |name: &str| {
            let mut bytes = Vec::new();
            zip.by_name(name).expect("a file").read_to_end(&mut bytes).expect("its bytes");
            bytes
        };
        let manifest: Value = serde_json::from_slice(&bytes("manifest.json")).expect("JSON");
        let files = manifest["files"].as_array().expect("files");
        let listed = files.iter().map(|file| file["name"].as_str().expect("a name").to_owned());
        let mut wanted: Vec<String> = listed.chain(["manifest.json".to_owned()]).collect();
        wanted.sort();
        assert_eq!(names, wanted, "the files are those that the manifest names");
        let mut lines = |name: &str| {
            let Some(file) = files.iter().find(|file| file["name"] == name) else { return Vec::new() };
            let packed = bytes(name);
            let mut text = String::new();
            MultiGzDecoder::new(packed.as_slice()).read_to_string(&mut text).expect("gzip");
            let lines: Vec<Value> =
                text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
            assert_eq!(file["sha256"], hex::encode(Sha256::digest(&packed)), "{name}");
            assert_eq!(
                (&file["bytes"], &file["lines"]),
                (&json!(packed.len()), &json!(lines.len())),
                "{name}"
            );
            lines
        };
        let (spans, reports) = (lines("spans.jsonl.gz"), lines("reports.jsonl.gz"));
        Self { manifest, spans, reports }
    }

    /// The archive as a zip, with a matching manifest.
    pub(super) fn zip(&self) -> Vec<u8> {
        let mut manifest = self.manifest.clone();
        let mut files = vec![("spans.jsonl.gz", &self.spans)];
        files.extend((!self.reports.is_empty()).then_some(("reports.jsonl.gz", &self.reports)));
        let packed: Vec<(&str, Vec<u8>, Value)> = files
            .into_iter()
            .map(|(name, lines)| {
                let text = lines.iter().fold(String::new(), |text, line| text + &line.to_string() + "\n");
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(text.as_bytes()).expect("memory");
                let bytes = encoder.finish().expect("memory");
                let mut said = json!({
                    "name": name, "sha256": hex::encode(Sha256::digest(&bytes)), "bytes": bytes.len(),
                    "inflated_bytes": text.len(), "lines": lines.len(),
                });
                if name.starts_with("spans") {
                    said["spans"] = json!(self.names().len());
                }
                (name, bytes, said)
            })
            .collect();
        manifest["files"] = packed.iter().map(|(_, _, said)| said.clone()).collect();
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let manifest = ("manifest.json", manifest.to_string().into_bytes());
        let rest = packed.into_iter().map(|(name, bytes, _)| (name, bytes));
        for (name, bytes) in [manifest].into_iter().chain(rest) {
            zip.start_file(name, SimpleFileOptions::default()).expect("memory");
            zip.write_all(&bytes).expect("memory");
        }
        zip.finish().expect("memory").into_inner()
    }

    /// Every span.
    pub(super) fn each(&self) -> Vec<&Value> {
        let requests = self.spans.iter().filter_map(|request| request["resourceSpans"].as_array()).flatten();
        let scopes = requests.filter_map(|resource| resource["scopeSpans"].as_array()).flatten();
        scopes.filter_map(|scope| scope["spans"].as_array()).flatten().collect()
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.each().into_iter().map(|span| span["name"].as_str().expect("a name")).collect()
    }

    pub(super) fn report_paths(&self) -> Vec<&str> {
        self.reports.iter().map(|line| line["report"]["path"].as_str().expect("a path")).collect()
    }

    /// The decoded content of a report.
    pub(super) fn report(&self, index: usize) -> String {
        let content = self.reports[index]["report"]["content_base64"].as_str().expect("a content");
        let content = base64::engine::general_purpose::STANDARD.decode(content).expect("base64");
        String::from_utf8(content).expect("text")
    }
}
