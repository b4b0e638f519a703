//! Accepted spans are redacted and forwarded to another endpoint. The answers to senders do not
//! depend on that endpoint.

use axum::http::StatusCode;
use serde_json::json;

use super::{DEADLINE, Database, Fixture, on_both};
use crate::endpoint::{Behaviour, Endpoint};
use crate::pipeline::{Run, text};
use crate::service::{Builder, Service};
use crate::time::{eventually, now_seconds};
use crate::webhooks::sha;

/// Spans of a run of the pipeline.
const SPANS: usize = 11;

fn forwarding(fixture: &Fixture, endpoint: &Endpoint) -> Builder {
    fixture.builder.clone().env("PACEGATE_FORWARD_URL", endpoint.url())
}

/// Waits until `spans` spans had this outcome.
async fn wait_for_outcome(fixture: &Fixture, service: &Service, outcome: &str, spans: usize) {
    let wanted =
        format!("pacegate_forwarded_spans_total{{kind=\"otlp_http\",outcome=\"{outcome}\"}} {spans}\n");
    eventually(&wanted, DEADLINE, || async {
        let metrics = fixture.client.get(format!("{}/metrics", service.url())).send().await.ok()?;
        metrics.text().await.ok()?.contains(&wanted).then_some(())
    })
    .await;
}

fn run(n: i64) -> Run {
    Run::of_main(&sha(&format!("forwarded {n}")), now_seconds() - n * 600)
}

on_both!(accepted_spans_are_forwarded_redacted_with_headers);
async fn accepted_spans_are_forwarded_redacted_with_headers(database: Database) {
    let fixture = Fixture::new(database).await;
    let endpoint = Endpoint::start(Behaviour::Accepts).await;
    let token = format!("ghp_{}", "Ab3dEf7hIj".repeat(4));
    let builder = forwarding(&fixture, &endpoint)
        .env("PACEGATE_FORWARD_HEADERS", "authorization=Basic%20dTpw,x-scope-orgid=7")
        .env("PACEGATE_REDACT_KEYS", "iban")
        .env("PACEGATE_TRACE_LINK", "https://jaeger.example.com/trace/{trace_id}");
    let service = builder.start().await;
    let run = run(1);
    let mut spans = run.spans();
    spans[0]["name"] = json!(format!("clone https://{token}@github.com/a/b"));
    spans[0]["attributes"] = json!([text("customer.iban", "DE00123")]);
    fixture.push(&service, &json!({ "resourceSpans": [run.group(&spans)] })).await;
    wait_for_outcome(&fixture, &service, "forwarded", SPANS).await;
    let forwarded = endpoint.spans();
    assert_eq!(forwarded.len(), SPANS);
    assert!(forwarded.iter().all(|(trace, _)| *trace == run.trace_id()));
    assert!(
        forwarded.iter().any(|(_, name)| name == "clone https://[redacted]@github.com/a/b"),
        "{forwarded:?}"
    );
    let headers = endpoint.first_headers();
    for (name, value) in
        [("authorization", "Basic dTpw"), ("x-scope-orgid", "7"), ("content-type", "application/x-protobuf")]
    {
        assert_eq!(headers[name], value);
    }
    // The stored trace is redacted too, and the link leads to the forwarded trace.
    fixture.wait_for_runs(&service, 1).await;
    let (_, runs) = fixture.api(&service, "/runs").await;
    let id = runs["runs"][0]["id"].as_str().expect("an id").to_owned();
    let (_, answer) = fixture.api(&service, &format!("/runs/{id}")).await;
    assert_eq!(answer["trace"]["url"], format!("https://jaeger.example.com/trace/{}", run.trace_id()));
    assert_eq!(answer["trace"]["kept"], true, "{answer}");
    let (_, trace) = fixture.api(&service, &format!("/runs/{id}/trace")).await;
    for secret in [&token, "DE00123"] {
        assert!(!trace.to_string().contains(secret), "{secret} in {trace}");
        assert!(!service.log().join("\n").contains(secret));
    }
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(forwarded_spans_are_kept_and_not_reforwarded);
async fn forwarded_spans_are_kept_and_not_reforwarded(database: Database) {
    let fixture = Fixture::new(database).await;
    let endpoint = Endpoint::start(Behaviour::Accepts).await;
    let service = forwarding(&fixture, &endpoint).start().await;
    let url = format!("{}/v1/traces", service.url());
    let request = fixture.client.post(url).bearer_auth(&fixture.token).json(&run(1).request());
    let answer = request.header("x-pacegate-forwarded", "1").send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let ours = run(2);
    fixture.push(&service, &ours.request()).await;
    wait_for_outcome(&fixture, &service, "forwarded", SPANS).await;
    fixture.wait_for_runs(&service, 2).await;
    assert!(
        endpoint.spans().iter().all(|(trace, _)| *trace == ours.trace_id()),
        "a loop would repeat forever"
    );
    assert_eq!(endpoint.first_headers()["x-pacegate-forwarded"], "1");
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(refused_spans_are_dropped_busy_endpoint_is_retried);
async fn refused_spans_are_dropped_busy_endpoint_is_retried(database: Database) {
    let fixture = Fixture::new(database).await;
    let endpoint = Endpoint::start(Behaviour::Answers(StatusCode::BAD_REQUEST)).await;
    let service = forwarding(&fixture, &endpoint).start().await;
    fixture.push(&service, &run(1).request()).await;
    wait_for_outcome(&fixture, &service, "refused", SPANS).await;
    assert_eq!(endpoint.request_count(), 1, "a refusal is not sent again");
    endpoint.set(Behaviour::Answers(StatusCode::SERVICE_UNAVAILABLE));
    fixture.push(&service, &run(2).request()).await;
    eventually("a second attempt", DEADLINE, || async { (endpoint.request_count() >= 3).then_some(()) })
        .await;
    fixture.push(&service, &run(3).request()).await;
    endpoint.set(Behaviour::Accepts);
    wait_for_outcome(&fixture, &service, "forwarded", 2 * SPANS).await;
    assert_eq!(endpoint.spans().len(), 2 * SPANS);
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(hanging_endpoint_delays_no_sender_and_no_stop);
async fn hanging_endpoint_delays_no_sender_and_no_stop(database: Database) {
    let fixture = Fixture::new(database).await;
    let endpoint = Endpoint::start(Behaviour::Hangs).await;
    let service = forwarding(&fixture, &endpoint).start().await;
    for n in 1..=5 {
        fixture.push(&service, &run(n).request()).await;
    }
    fixture.wait_for_runs(&service, 5).await;
    assert!(endpoint.spans().is_empty());
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(graceful_stop_forwards_waiting_spans);
async fn graceful_stop_forwards_waiting_spans(database: Database) {
    let fixture = Fixture::new(database).await;
    // The endpoint does not accept spans yet. A batch waits a second for the next attempt.
    let endpoint = Endpoint::start(Behaviour::Answers(StatusCode::SERVICE_UNAVAILABLE)).await;
    let service = forwarding(&fixture, &endpoint).start().await;
    fixture.push(&service, &run(1).request()).await;
    eventually("an attempt", DEADLINE, || async { (endpoint.request_count() > 0).then_some(()) }).await;
    fixture.push(&service, &run(2).request()).await;
    endpoint.set(Behaviour::Accepts);
    service.terminate().await;
    assert_eq!(endpoint.spans().len(), 2 * SPANS, "nothing was left behind");
    fixture.fake.finish();
}

#[test]
fn invalid_settings_are_reported_at_start() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let policies = folder.path().join("retention.yml");
    std::fs::write(&policies, "policies:\n  - {name: a, type: latancy}\n").expect("a file");
    let policies = policies.to_str().expect("a path");
    for (name, value, part) in [
        ("PACEGATE_FORWARD_URL", "tempo:4318", "http://"),
        ("PACEGATE_TRACE_LINK", "https://jaeger.example.com/", "{trace_id}"),
        ("PACEGATE_RETENTION", policies, "line 2, column"),
        ("PACEGATE_REDACT_KEYS", "a[", "not a pattern"),
    ] {
        let builder = Service::builder()
            .sqlite_in(folder.path())
            .env(name, value)
            .env("PACEGATE_LISTEN", "127.0.0.1:0");
        let output = builder.run(&["serve"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{name}: {said}");
        assert!(said.contains(part), "{name}: {said}");
    }
}
