//! The companion action's fast path: a job exchanges its OIDC token for a grant and uploads the
//! spans of its steps. False tokens and uploads are refused with a log line and have no effect.

mod attacks;
mod uploads;

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use pacegate_ingest::ci_job::ids;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::actions::install;
use super::{Database, Fixture, REPO, on_both};
use crate::fake_github::oidc::Issuer;
use crate::service::Service;
use crate::time::now_seconds;
use crate::webhooks::sha;

pub(super) const PUBLIC_URL: &str = "https://pacegate.example.com";
/// The run, attempt and job of [`Issuer::good_claims`].
pub(super) const RUN: i64 = 5_001;
pub(super) const JOB: i64 = 6_001;

/// A service with an App, and the issuer whose tokens it accepts.
pub(super) struct FastPath {
    pub fixture: Fixture,
    pub issuer: Issuer,
}

impl FastPath {
    pub(super) async fn new(database: Database) -> Self {
        let mut fixture = Fixture::new(database).await;
        let issuer = Issuer::start().await;
        fixture.builder = fixture
            .builder
            .env("PACEGATE_GITHUB_OIDC_ISSUER", issuer.url())
            .env("PACEGATE_PUBLIC_URL", &format!("{PUBLIC_URL}/"));
        Self { fixture, issuer }
    }

    /// Starts the service and installs the App on the repository.
    pub(super) async fn started(&self) -> Service {
        let service = self.fixture.builder.start().await;
        install(&self.fixture, &service).await;
        self.fixture.wait_until_idle(&service, 0).await;
        service
    }

    /// Requests a grant with a token.
    pub(super) async fn exchange(&self, service: &Service, token: &str) -> (u16, Value) {
        let request = self.fixture.client.post(format!("{}/api/v1/actions/grants", service.url()));
        answer(request.bearer_auth(token)).await
    }

    /// A grant for a valid token with these claims.
    pub(super) async fn grant(&self, service: &Service, claims: Value) -> String {
        let (status, granted) = self.exchange(service, &self.issuer.mint(PUBLIC_URL, claims)).await;
        assert_eq!(status, 201, "{granted}");
        granted["grant"].as_str().expect("a grant").to_owned()
    }

    /// Uploads a body with a grant or a token.
    pub(super) async fn upload(&self, service: &Service, bearer: &str, body: Vec<u8>) -> (u16, Value) {
        let request = self.fixture.client.post(format!("{}/api/v1/actions/traces", service.url()));
        let request = request.header("content-type", "application/jsonl").header("content-encoding", "gzip");
        answer(request.bearer_auth(bearer).body(body)).await
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    (status, answer.json().await.expect("JSON"))
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut to = GzEncoder::new(Vec::new(), Compression::fast());
    to.write_all(bytes).and_then(|()| to.finish()).expect("memory")
}

/// The manifest of the valid claims' job for these spans. `over` replaces fields.
pub(super) fn manifest(over: Value, spans: &[u8]) -> Value {
    let ended = now_seconds() * 1_000_000_000;
    let good = json!({
        "schema": 1, "repository": REPO, "repository_id": "1296269", "run_id": RUN.to_string(), "run_attempt": 1,
        "job": "test", "check_run_id": JOB.to_string(), "head_sha": sha("a merge of seven"), "workflow": "CI",
        "event_name": "pull_request", "ref": "refs/pull/7/merge", "trace_id": ids::trace_id(RUN, 1),
        "job_span_id": ids::job_span_id(JOB), "runner_name": "GitHub Actions 2", "matrix": {},
        "started_at_unix_nano": (ended - 60_000_000_000).to_string(), "ended_at_unix_nano": ended.to_string(),
        "runner": { "os.type": "linux", "host.arch": "amd64", "host.cpu.count": 4 },
        "files": [{ "name": "spans.jsonl.gz", "sha256": hex::encode(Sha256::digest(spans)), "bytes": spans.len() }],
        "dropped": { "spans": 0, "bytes": 0, "reports": [] },
    });
    crate::fake_github::views::overlay(good, over)
}

/// A body in the action's format.
pub(super) fn body(manifest: &Value, spans: &[u8]) -> Vec<u8> {
    [gzip(format!("{}\n", json!({ "manifest": manifest })).as_bytes()), spans.to_vec()].concat()
}

/// A test case of two seconds below that parent, half a minute ago, as a line of OTLP JSON.
pub(super) fn test_case(name: &str, parent: Option<&String>, of_resource: &[(&str, &str)]) -> String {
    let begin = (now_seconds() - 30) * 1_000_000_000;
    let attribute = |(key, value): &(&str, &str)| json!({ "key": key, "value": { "stringValue": value } });
    json!({ "resourceSpans": [{
        "resource": { "attributes": of_resource.iter().map(attribute).collect::<Vec<_>>() },
        "scopeSpans": [{ "spans": [{
            "traceId": ids::trace_id(RUN, 1), "spanId": hex::encode(&Sha256::digest(name)[..8]),
            "parentSpanId": parent, "name": name, "kind": 1,
            "startTimeUnixNano": begin.to_string(), "endTimeUnixNano": (begin + 2_000_000_000).to_string(),
        }] }],
    }] })
    .to_string()
}
