//! The HTTP ingress for spans. Every sample is accepted. Adversarial input is refused or clamped
//! with a message, and the service keeps answering.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::{Database, Fixture, REPO, create_token, on_both};
use crate::pipeline::{Run, span, text};
use crate::service::Service;
use crate::time::now_seconds;
use crate::webhooks::sha;

/// File, content type, content encoding.
const SAMPLES: [(&str, &str, Option<&str>); 9] = [
    ("otlp-http-node-0.223.1.json", "application/json", None),
    ("otlp-http-node-0.223.1.json.gz", "application/json", Some("gzip")),
    ("otlp-http-node-0.223.1.pb", "application/x-protobuf", None),
    ("otlp-http-python-0.66b1.json", "application/json", None),
    ("otlp-http-python-1.45.2.pb", "application/x-protobuf", None),
    ("otlp-http-python-1.45.2.pb.gz", "application/x-protobuf", Some("gzip")),
    ("otlp-http-python-1.45.2.pb.zz", "application/x-protobuf", Some("deflate")),
    ("otlp-grpc-python-1.45.2.pb", "application/x-protobuf", None),
    ("otlp-specification-example.json", "application/json", None),
];

struct Answer {
    status: u16,
    content_type: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

async fn send(
    fixture: &Fixture,
    service: &Service,
    kind: &str,
    encoding: Option<&str>,
    body: Vec<u8>,
) -> Answer {
    let request = fixture.client.post(format!("{}/v1/traces", service.url())).header("content-type", kind);
    let request = match encoding {
        Some(encoding) => request.header("content-encoding", encoding),
        None => request,
    };
    let answer = request.bearer_auth(&fixture.token).body(body).send().await.expect("an answer");
    Answer {
        status: answer.status().as_u16(),
        content_type: answer.headers()["content-type"].to_str().expect("text").to_owned(),
        body: answer.bytes().await.expect("a body").to_vec(),
    }
}

on_both!(every_sample_is_accepted_unmodified);
async fn every_sample_is_accepted_unmodified(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    for (file, kind, encoding) in SAMPLES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(file);
        let body = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let answer = send(&fixture, &service, kind, encoding, body).await;
        assert_eq!((answer.status, answer.content_type.as_str()), (200, kind), "{file}: {}", answer.text());
        assert!(!answer.text().contains("were rejected"), "{file}: {}", answer.text());
    }
    // Each trace is one run, even if several encodings brought it. The example has no root.
    fixture.wait_until_idle(&service, 0).await;
    let (_, runs) = fixture.api(&service, "/runs").await;
    let runs = runs["runs"].as_array().expect("runs").clone();
    let mut traces: Vec<&str> = runs.iter().filter_map(|run| run["trace_id"].as_str()).collect();
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len(), runs.len());
    assert!(runs.len() >= 2, "{runs:?}");
    for run in &runs {
        let (status, body) =
            fixture.api(&service, &format!("/runs/{}", run["id"].as_str().expect("an id"))).await;
        assert_eq!(status, 200);
        assert!(body["stages"].as_array().expect("stages").len() > 10, "{body}");
        let (status, trace) =
            fixture.api(&service, &format!("/runs/{}/trace", run["id"].as_str().expect("an id"))).await;
        assert_eq!(status, 200);
        assert!(trace["resourceSpans"].as_array().is_some_and(|groups| !groups.is_empty()));
    }
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(refusals_state_their_reason);
async fn refusals_state_their_reason(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    let (json, protobuf) = ("application/json", "application/x-protobuf");
    let answer = send(&fixture, &service, protobuf, None, b"\x0a\xff\xff\xff\xff\x0fgarbage".to_vec()).await;
    assert_eq!((answer.status, answer.content_type.as_str()), (400, protobuf));
    assert!(
        answer.text().contains("is not OTLP protobuf: it ends in the middle of a field"),
        "{}",
        answer.text()
    );
    for (body, part) in [
        (b"{\"resourceSpans\":[".to_vec(), "EOF"),
        (b"not json".to_vec(), "is not OTLP JSON"),
        (format!("{{\"x\":{}", "[".repeat(100_000)).into_bytes(), "OTLP JSON"),
        (
            format!(
                r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
                vec!["{}"; 50_001].join(",")
            )
            .into_bytes(),
            "more than 50000 spans",
        ),
    ] {
        let answer = send(&fixture, &service, json, None, body).await;
        assert_eq!((answer.status, answer.content_type.as_str()), (400, json), "{part}");
        assert!(answer.text().contains(part), "{part}: {}", answer.text());
    }
    let answer = send(&fixture, &service, json, Some("gzip"), b"not gzip".to_vec()).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(send(&fixture, &service, "text/plain", None, b"{}".to_vec()).await.status, 415);
    // The limit of 64 MiB applies after inflation too: 80 MiB of spaces are 80 KB on the wire.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&vec![b' '; 80 << 20]).expect("memory");
    let answer = send(&fixture, &service, json, Some("gzip"), gzip.finish().expect("memory")).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    // Each trace keeps a copy of the resource, so a small request could fill the disk.
    let value = "x".repeat(1_000);
    let resource: Vec<Value> = (0..50).map(|i| text(&format!("a{i}"), &value)).collect();
    let spans: Vec<Value> =
        (0..4_000).map(|i| span(&format!("{:032x}", i + 1), &"1".repeat(16), "", "s", 1, 2)).collect();
    let many = json!({ "resourceSpans": [{ "resource": { "attributes": resource }, "scopeSpans": [{ "spans": spans }] }] });
    let answer = send(&fixture, &service, json, None, many.to_string().into_bytes()).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("send smaller batches"), "{}", answer.text());
    // A valid token is required.
    let bare = fixture.client.post(format!("{}/v1/traces", service.url())).json(&json!({}));
    for request in [bare.try_clone().expect("a request"), bare.bearer_auth("pgt_wrong")] {
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 401);
        assert!(
            answer.text().await.expect("a body").contains("token"),
            "the message names the missing token"
        );
    }
    // The payload cannot choose the repository.
    let run = Run::of_main(&sha("elsewhere"), now_seconds() - 60);
    let mut request = run.request();
    request["resourceSpans"][0]["resource"]["attributes"]
        .as_array_mut()
        .expect("attributes")
        .push(text("vcs.repository.name", "somebody/else"));
    let answer = fixture.post_spans(&service, &request).await;
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body["partialSuccess"]["rejectedSpans"], "11", "{body}");
    assert!(body["partialSuccess"]["errorMessage"].as_str().expect("a message").contains("somebody/else"));
    fixture.wait_until_idle(&service, 0).await;
    let (_, runs) = fixture.api(&service, "/runs").await;
    assert_eq!(runs["runs"], json!([]));
    service.terminate().await;
    fixture.fake.finish();
}

/// A run whose spans have every kind of defect that can be clamped.
fn adversarial(head: &str) -> Value {
    let run = Run::of_main(head, now_seconds() - 600);
    let (trace, mut spans) = (run.trace_id(), run.spans());
    let root = spans.last().expect("a root")["spanId"].as_str().expect("an id").to_owned();
    let begin = i128::from(run.started_at) * 1_000_000_000;
    let id = |n: u32| format!("{:016x}", 0x00c0_ffee_0000_0000_u64 + u64::from(n));
    let mut odd = span(&trace, &id(1), &root, &"x".repeat(1_000_000), begin, begin + 1);
    odd["attributes"] = json!([
        { "key": "nan", "value": { "doubleValue": "NaN" } },
        { "key": "inf", "value": { "doubleValue": "-Infinity" } },
        { "key": "deep", "value": { "arrayValue": { "values": [{ "arrayValue": {} }] } } },
    ]);
    spans.push(odd);
    // PostgreSQL's text type cannot hold a zero byte.
    let mut zeros = span(&trace, &id(7), &root, "zero\0byte", begin, begin + 1);
    zeros["status"] = json!({ "code": 2, "message": "bad\0luck" });
    zeros["attributes"] = json!([
        text("stage.name", "st\0age"),
        text("pipeline.name", "my\0app"),
        text("cicd.pipeline.run.id", "r\0")
    ]);
    spans.push(zeros);
    spans.push(span(&trace, &id(2), &root, "negative", begin + 9_000_000_000, begin));
    spans.push(span(&trace, &id(3), &id(4), "cycle-a", begin, begin + 1));
    spans.push(span(&trace, &id(4), &id(3), "cycle-b", begin, begin + 1));
    spans.push(span(&trace, &id(5), "", "second-root", begin, begin + 1));
    spans.push(span(&trace, &id(6), "ffffffffffffffff", "orphan", begin, begin + 1));
    for n in 0..10_000 {
        let parent = if n == 0 { root.clone() } else { id(99 + n) };
        spans.push(span(&trace, &id(100 + n), &parent, "deeper", begin, begin + 1));
    }
    json!({ "resourceSpans": [run.group(&spans)] })
}

on_both!(odd_values_are_clamped_and_noted);
async fn odd_values_are_clamped_and_noted(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    let head = sha("hostile");
    fixture.push(&service, &adversarial(&head)).await;
    fixture.wait_for_runs(&service, 1).await;
    let (_, runs) = fixture.api(&service, &format!("/runs?sha={head}")).await;
    let run = &runs["runs"][0];
    let notes = run["notes"].to_string();
    for part in [
        "ended before the start",
        "cycle of parents",
        "had no parent, although",
        "did not arrive",
        "64 levels",
    ] {
        assert!(notes.contains(part), "{part} in {notes}");
    }
    let (_, body) = fixture.api(&service, &format!("/runs/{}", run["id"].as_str().expect("an id"))).await;
    let stages = body["stages"].as_array().expect("stages");
    assert!(stages.iter().all(|stage| stage["duration_ns"].as_i64().expect("a number") >= 0));
    assert!(stages.iter().all(|stage| stage["key"].as_str().expect("a key").len() < 20_000));
    // The run's page can be shown, too.
    let page = format!("{}/{REPO}/runs/{}", service.url(), run["id"].as_str().expect("an id"));
    let page = fixture.client.get(page).bearer_auth(&fixture.token).send().await.expect("an answer");
    assert_eq!(page.status(), 200);
    fixture.push_history(&service).await;
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(trace_without_commit_is_accepted_with_warning);
async fn trace_without_commit_is_accepted_with_warning(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    let mut request = Run::of_main(&sha("nameless"), now_seconds() - 60).request();
    request["resourceSpans"][0]["resource"] = json!({});
    let answer = fixture.post_spans(&service, &request).await;
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body["partialSuccess"]["rejectedSpans"], "0");
    assert!(
        body["partialSuccess"]["errorMessage"].as_str().expect("a warning").contains("vcs.ref.head.revision")
    );
    fixture.wait_until_idle(&service, 0).await;
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(run_from_future_is_dated_when_received);
async fn run_from_future_is_dated_when_received(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    let head = sha("of the future");
    fixture.push(&service, &Run::of_main(&head, 4_102_444_800).request()).await;
    fixture.wait_for_runs(&service, 1).await;
    let (_, runs) = fixture.api(&service, &format!("/runs?sha={head}")).await;
    let run = &runs["runs"][0];
    assert!(run["started_at"].as_i64().expect("a time") / 1_000_000 <= now_seconds(), "{run}");
    assert!(run["notes"].to_string().contains("clock is ahead"), "{run}");
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(late_spans_join_the_same_run);
async fn late_spans_join_the_same_run(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    let head = sha("late");
    let run = Run::of_main(&head, now_seconds() - 600);
    let (early, late): (Vec<Value>, Vec<Value>) =
        run.spans().into_iter().partition(|span| !span["name"].as_str().expect("a name").contains("tests"));
    fixture.push(&service, &json!({ "resourceSpans": [run.group(&early)] })).await;
    fixture.wait_for_runs(&service, 1).await;
    let stages = async || {
        let (_, runs) = fixture.api(&service, "/runs").await;
        assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1));
        let (_, body) =
            fixture.api(&service, &format!("/runs/{}", runs["runs"][0]["id"].as_str().expect("id"))).await;
        body["stages"].as_array().expect("stages").len()
    };
    let before = stages().await;
    // Sent twice: a repeated span counts once.
    for _ in 0..2 {
        fixture.push(&service, &json!({ "resourceSpans": [run.group(&late)] })).await;
    }
    crate::time::eventually("the late stages", super::DEADLINE, || async {
        (stages().await == before + late.len()).then_some(())
    })
    .await;
    fixture.wait_until_idle(&service, 0).await;
    service.terminate().await;
    fixture.fake.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_reads_and_writes_own_repository_only() {
    let fixture = Fixture::new(Database::sqlite()).await;
    let service = fixture.builder.start().await;
    fixture.push(&service, &Run::of_main(&sha("mine"), now_seconds() - 60).request()).await;
    fixture.wait_for_runs(&service, 1).await;
    let other = create_token(&fixture.builder, "other/repo");
    let get = async |path: &str, token: Option<&str>| {
        let request = fixture.client.get(format!("{}{path}", service.url()));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.expect("an answer").status().as_u16()
    };
    for path in [format!("/api/v1/repos/{REPO}/runs"), format!("/{REPO}")] {
        assert_eq!(get(&path, Some(&fixture.token)).await, 200, "{path}");
        assert_eq!(get(&path, Some(&other)).await, 404, "{path}");
    }
    assert_eq!(get(&format!("/api/v1/repos/{REPO}/runs"), None).await, 404, "hidden without a token");
    // A browser is asked for a token, for private pages and for pages that do not exist.
    for path in [format!("/{REPO}"), "/no/such".to_owned()] {
        assert_eq!(get(&path, None).await, 401, "{path}");
    }
    let output = fixture.builder.run(&["token", "list", "--repo", REPO]);
    let listed = String::from_utf8(output.stdout).expect("text");
    assert!(!listed.contains(&fixture.token), "a token is shown once");
    let id = listed.split_whitespace().next().expect("an id").to_owned();
    assert!(fixture.builder.run(&["token", "revoke", "--repo", REPO, &id]).status.success());
    let answer = fixture.post_spans(&service, &json!({})).await;
    assert_eq!(answer.status(), 401);
    service.terminate().await;
    fixture.fake.finish();
}
