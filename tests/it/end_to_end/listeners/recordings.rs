//! Recorded requests of real exporters, byte for byte, sent to the intended listener. Python's
//! recordings name a commit, and yield the same run over every protocol. The others are accepted as
//! a whole.

use std::path::Path;

use serde_json::Value;

use super::grpc::{Client, EXPORT, POST_SPANS};
use super::{Fixture, REPO, metric, sent};
use crate::end_to_end::{DEADLINE, Database, create_token, on_both};
use crate::service::Service;
use crate::time::eventually;

/// Recording, port, path of the call, content type, content encoding.
const RECORDINGS: [(&str, &str, &str, &str, &str); 16] = [
    ("otlp-http-node-0.223.1.json", "otlp_http", "/v1/traces", "application/json", ""),
    ("otlp-http-node-0.223.1.json.gz", "otlp_http", "/v1/traces", "application/json", "gzip"),
    ("otlp-http-node-0.223.1.pb", "otlp_http", "/v1/traces", "application/x-protobuf", ""),
    ("otlp-grpc-node-0.223.1.pb", "otlp_grpc", EXPORT, "", ""),
    ("zipkin-v2-node-2.12.1.json", "zipkin", "/api/v2/spans", "application/json", ""),
    ("jaeger-http-node-2.11.thrift", "jaeger_http", "/api/traces", "application/x-thrift", ""),
    ("otlp-http-python-0.66b1.json", "otlp_http", "/v1/traces", "application/json", ""),
    ("otlp-http-python-1.45.2.pb.gz", "otlp_http", "/v1/traces", "application/x-protobuf", "gzip"),
    ("otlp-http-python-1.45.2.pb.zz", "otlp_http", "/v1/traces", "application/x-protobuf", "deflate"),
    ("otlp-grpc-python-1.45.2.pb", "otlp_grpc", EXPORT, "", ""),
    ("zipkin-v2-python-1.45.1.json", "zipkin", "/api/v2/spans", "application/json", ""),
    ("zipkin-v2-python-1.45.1.pb", "zipkin", "/api/v2/spans", "application/x-protobuf", ""),
    ("zipkin-v1-python-1.45.1.json", "zipkin", "/api/v1/spans", "application/json", ""),
    (
        "jaeger-http-python-1.21.thrift",
        "jaeger_http",
        "/api/traces?format=jaeger.thrift",
        "application/x-thrift",
        "",
    ),
    ("jaeger-grpc-python-1.21.pb", "jaeger_grpc", POST_SPANS, "", ""),
    ("jaeger-http-go-1.1.0.thrift", "jaeger_http", "/api/traces", "application/x-thrift", ""),
];

/// Recording, port and spans.
const DATAGRAMS: [(&str, &str, u64); 3] = [
    ("jaeger-udp-compact-python-1.21.thrift", "jaeger_udp_compact", 17),
    ("jaeger-udp-compact-go-1.1.0.thrift", "jaeger_udp_compact", 16),
    ("jaeger-udp-binary-node-2.11.thrift", "jaeger_udp_binary", 15),
];

/// The key and the result of each stage.
type Stages = Vec<(String, String)>;

fn recording(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The stages of each run of the pipeline: keys and results. A message that is handled later is a
/// run with few stages.
async fn stages(fixture: &Fixture, service: &Service) -> Vec<Stages> {
    let (_, body) = fixture.api(service, "/runs").await;
    let mut all = Vec::new();
    for run in body["runs"].as_array().expect("runs") {
        let (_, run) = fixture.api(service, &format!("/runs/{}", run["id"].as_str().expect("an id"))).await;
        let stages = run["stages"].as_array().expect("stages").iter();
        let mut stages: Stages = stages.map(|stage| (text(&stage["key"]), text(&stage["result"]))).collect();
        stages.sort();
        if stages.len() > 8 {
            all.push(stages);
        }
    }
    all
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

on_both!(every_recording_yields_its_language_pipeline);
async fn every_recording_yields_its_language_pipeline(database: Database) {
    let mut fixture = Fixture::new(database).await;
    fixture.builder = fixture.builder.clone().every_port(REPO);
    let service = fixture.builder.start().await;
    for (number, (name, port, path, kind, encoding)) in RECORDINGS.into_iter().enumerate() {
        // Python's recordings name a repository, which has to be the token's.
        let named = name.contains("-python-");
        let token = if named {
            fixture.token.clone()
        } else {
            create_token(&fixture.builder, &format!("recorded/{number}"))
        };
        let body = recording(name);
        if kind.is_empty() {
            let client = Client::connect(&service.port(port)).await;
            let answer = client.send(path, &token, &body).await;
            assert_eq!(answer.code, Some(0), "{name}: {answer:?}");
            assert!(!String::from_utf8_lossy(&answer.message).contains("rejected"), "{name}: {answer:?}");
        } else {
            let url = format!("http://{}{path}", service.port(port));
            let mut request =
                fixture.client.post(url).bearer_auth(&token).header("content-type", kind).body(body);
            if !encoding.is_empty() {
                request = request.header("content-encoding", encoding);
            }
            let answer = sent(request).await;
            let expected = if port == "otlp_http" { 200 } else { 202 };
            assert_eq!(answer.status(), expected, "{name}: {}", answer.text().await.expect("text"));
        }
    }
    // Every trace is collected before the checks.
    fixture.wait_until_idle(&service, 0).await;
    let runs = stages(&fixture, &service).await;
    assert!(runs.len() > 4, "{runs:?}");
    for run in &runs {
        assert_eq!(run, &runs[0]);
    }
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(datagram_recordings_yield_the_same_pipeline);
async fn datagram_recordings_yield_the_same_pipeline(database: Database) {
    let mut fixture = Fixture::new(database).await;
    fixture.builder = fixture.builder.clone().every_port(REPO);
    let service = fixture.builder.start().await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    for (name, port, spans) in DATAGRAMS {
        let counted = async || {
            metric(
                &fixture,
                &service,
                &format!("pacegate_spans_total{{kind=\"{port}\",outcome=\"accepted\"}}"),
            )
            .await
        };
        let before = counted().await;
        socket.send_to(&recording(name), service.port(port)).await.expect("sent");
        // A datagram has no answer. It has arrived when it is counted.
        eventually(name, DEADLINE, || async { (counted().await == before + spans).then_some(()) }).await;
    }
    fixture.wait_until_idle(&service, 0).await;
    assert_eq!(stages(&fixture, &service).await.len(), 1, "Python's names a commit");
    service.terminate().await;
    fixture.fake.finish();
}
