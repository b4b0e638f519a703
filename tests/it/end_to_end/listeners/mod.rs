//! The listeners for spans, through the real binary on both databases: each protocol's own answers,
//! and senders that try to exhaust memory or connections.

mod encode;
mod floods;
mod grpc;
mod killed;
mod open_traces;
mod protocols;
mod recordings;
mod start;

use std::io::Write;

use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use super::{DEADLINE, Fixture, REPO};
use crate::service::Service;
use crate::time::eventually;

/// Both compressions are used for bombs.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(bytes).expect("memory");
    gzip.finish().expect("memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("memory")
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    zlib.write_all(bytes).expect("memory");
    zlib.finish().expect("memory")
}

async fn sent(request: RequestBuilder) -> Response {
    request.send().await.expect("an answer")
}

/// A memory figure of the process in KiB, by a name such as `VmRSS`.
fn memory(service: &Service, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.pid())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// The stages of a commit's only run: each stage's key and microseconds.
async fn stages(
    fixture: &Fixture,
    service: &Service,
    repo: &str,
    token: &str,
    sha: &str,
) -> Vec<(String, i64)> {
    let get = async |path: String| -> Value {
        let url = format!("{}/api/v1/repos/{repo}/runs{path}", service.url());
        sent(fixture.client.get(url).bearer_auth(token)).await.json().await.expect("JSON")
    };
    let id = eventually("the run", DEADLINE, || async {
        let runs = get(format!("?sha={sha}")).await;
        runs["runs"][0]["id"].as_str().map(str::to_owned)
    })
    .await;
    let run = get(format!("/{id}")).await;
    let stages = run["stages"].as_array().expect("stages").iter().map(|stage| {
        let duration = stage["duration_ns"].as_i64().expect("a number");
        (stage["key"].as_str().expect("a key").to_owned(), duration / 1_000)
    });
    stages.collect()
}

/// A value of `/metrics`, 0 when there is none yet.
async fn metric(fixture: &Fixture, service: &Service, line: &str) -> u64 {
    let text =
        sent(fixture.client.get(format!("{}/metrics", service.url()))).await.text().await.expect("text");
    let value = text.lines().find_map(|each| each.strip_prefix(line)).unwrap_or(" 0");
    value.trim().parse().expect("a number")
}
