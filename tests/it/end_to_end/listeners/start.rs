//! The open ports after a start. The start fails if a requested port is not available, or if spans
//! from a port cannot be assigned to a repository.

use std::net::TcpListener;

use serde_json::json;

use super::{DEADLINE, Fixture, REPO, sent};
use crate::end_to_end::Database;
use crate::pipeline::Run;
use crate::service::Service;
use crate::time::{eventually, now_seconds};
use crate::webhooks::sha;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requested_port_opens_or_start_fails() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let held = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = held.local_addr().expect("an address").to_string();
    for (variables, said) in [
        (&[("PACEGATE_ZIPKIN_LISTEN", taken.as_str())][..], "PACEGATE_ZIPKIN_LISTEN takes another"),
        (&[("PACEGATE_JAEGER_UDP_COMPACT_LISTEN", "127.0.0.1:0")], "PACEGATE_JAEGER_UDP_REPO=OWNER/NAME"),
        (
            &[("PACEGATE_JAEGER_UDP_BINARY_LISTEN", "0.0.0.0:0"), ("PACEGATE_DEFAULT_REPO", "a/b")],
            "for an address that other machines reach",
        ),
        (&[("PACEGATE_MEMORY_LIMIT", "lots")], "write 64KiB, 512MiB, 2GiB or bytes"),
    ] {
        let builder = Service::builder().sqlite_in(folder.path());
        let builder = variables.iter().fold(builder, |builder, (name, value)| builder.env(name, value));
        let output = builder.run(&["serve"]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.replace('\n', " ").contains(said), "{said}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn default_port_in_use_causes_a_warning() {
    // The bind fails if another process has port 9411. Either way the port is in use.
    let _held = TcpListener::bind("127.0.0.1:9411");
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let service = Service::builder().sqlite_in(folder.path()).without("PACEGATE_ZIPKIN_LISTEN").start().await;
    let warned = service.log().iter().any(|line| line.contains("PACEGATE_ZIPKIN_LISTEN takes another"));
    assert!(warned, "{:?}", service.log());
    service.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_spans_without_token_use_default_repository() {
    let mut fixture = Fixture::new(Database::sqlite()).await;
    fixture.builder = fixture.builder.clone().every_port(REPO).env("PACEGATE_DEFAULT_REPO", REPO);
    let service = fixture.builder.start().await;
    let run = Run::of_main(&sha("nobody's"), now_seconds() - 60);
    let url = format!("http://{}/v1/traces", service.port("otlp_http"));
    for (header, status) in [(None, 200), (Some("x-forwarded-for"), 401)] {
        let mut request = fixture.client.post(&url).json(&run.request());
        if let Some(header) = header {
            request = request.header(header, "192.0.2.7");
        }
        assert_eq!(sent(request).await.status(), status, "{header:?}");
    }
    let grpc = super::grpc::Client::connect(&service.port("otlp_grpc")).await;
    let body = super::grpc::frame(false, &super::encode::otlp(&run));
    let answer = grpc.call(super::grpc::EXPORT, None, None, body).await.expect("an answer");
    assert_eq!(answer.code, Some(0), "{answer:?}");
    fixture.wait_for_runs(&service, 1).await;
    service.terminate().await;
    fixture.fake.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_and_memory_limits_answer_with_retry_time() {
    for (name, value, status, code) in
        [("PACEGATE_TOKEN_RATE", "1", 429, 8), ("PACEGATE_MEMORY_LIMIT", "1MiB", 503, 14)]
    {
        let mut fixture = Fixture::new(Database::sqlite()).await;
        fixture.builder =
            fixture.builder.clone().every_port(REPO).env("PACEGATE_TOKEN_BURST", "1").env(name, value);
        let service = fixture.builder.start().await;
        let client = super::grpc::Client::connect(&service.port("otlp_grpc")).await;
        let run = super::encode::otlp(&Run::of_main(&sha("fast"), now_seconds() - 60));
        // The rate limit lets the first request pass and overdraws the bucket. The memory limit
        // refuses both.
        let first = client.send(super::grpc::EXPORT, &fixture.token, &run).await;
        assert_eq!(first.code, Some(if status == 429 { 0 } else { code }), "{first:?}");
        let second = client.send(super::grpc::EXPORT, &fixture.token, &run).await;
        assert!(second.code == Some(code) && second.retry_info, "{second:?}");
        for (port, path) in [("otlp_http", "/v1/traces"), ("zipkin", "/api/v2/spans")] {
            let url = format!("http://{}{path}", service.port(port));
            let answer = sent(fixture.client.post(url).bearer_auth(&fixture.token).json(&json!({}))).await;
            assert_eq!(answer.status(), status, "{port}");
            assert!(answer.headers().contains_key("retry-after"), "{port}");
        }
        // Webhooks and pages are not limited by it.
        fixture.deliver(&service, &fixture.pull_request("opened", 1, &sha("a head"))).await;
        assert_eq!(sent(fixture.client.get(format!("{}/healthz", service.url()))).await.status(), 200);
        service.terminate().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_answers_in_flight_requests_on_every_port() {
    let mut fixture = Fixture::new(Database::sqlite()).await;
    fixture.builder = fixture.builder.clone().every_port(REPO);
    let service = fixture.builder.start().await;
    // Idle connections do not delay the stop.
    let _http = tokio::net::TcpStream::connect(service.port("zipkin")).await.expect("a connection");
    let _grpc = super::grpc::Client::connect(&service.port("otlp_grpc")).await;
    let held = sent(fixture.client.get(format!("{}/healthz", service.url()))).await;
    assert_eq!(held.status(), 200);
    let pid = service.pid();
    service.terminate().await;
    eventually("the process to be gone", DEADLINE, || async {
        (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    })
    .await;
    fixture.fake.finish();
}
