//! The answers of each protocol: what is stored, and the form of each refusal.

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use super::encode::{otlp, zipkin_v2};
use super::grpc::{Client, EXPORT, POST_SPANS, frame};
use super::{Fixture, REPO, gzip, sent, stages, zlib, zstd};
use crate::end_to_end::{Database, create_token, on_both};
use crate::pipeline::Run;
use crate::service::Service;
use crate::time::now_seconds;
use crate::webhooks::sha;

async fn fixture(database: Database) -> (Fixture, Service) {
    let mut fixture = Fixture::new(database).await;
    fixture.builder = fixture.builder.clone().every_port(REPO);
    let service = fixture.builder.start().await;
    (fixture, service)
}

on_both!(every_protocol_yields_the_same_run);
async fn every_protocol_yields_the_same_run(database: Database) {
    let (fixture, service) = fixture(database).await;
    let head = sha("in every protocol");
    let run = Run::of_main(&head, now_seconds() - 600);
    let (json, protobuf) = (run.request().to_string().into_bytes(), otlp(&run));
    let zipkin = zipkin_v2(&run).to_string().into_bytes();
    fixture.push(&service, &run.request()).await;
    let mut expected = stages(&fixture, &service, REPO, &fixture.token, &head).await;
    expected.sort_unstable();
    assert!(expected.len() > 10, "{expected:?}");
    let (otlp_http, zipkin_at) = (
        format!("http://{}/v1/traces", service.port("otlp_http")),
        format!("http://{}/api/v2/spans", service.port("zipkin")),
    );
    let main = format!("{}/v1/traces", service.url());
    let (j, p) = ("application/json", "application/x-protobuf");
    // Address, content type, encoding, body, and the expected status.
    let requests = [
        (&otlp_http, j, None, json.clone(), 200),
        (&otlp_http, p, None, protobuf.clone(), 200),
        (&otlp_http, p, Some("gzip"), gzip(&protobuf), 200),
        (&otlp_http, j, Some("deflate"), zlib(&json), 200),
        (&otlp_http, j, Some("zstd"), zstd(&json), 200),
        (&main, p, Some("zstd"), zstd(&protobuf), 200),
        (&zipkin_at, j, None, zipkin.clone(), 202),
        (&zipkin_at, j, Some("gzip"), gzip(&zipkin), 202),
    ];
    for (number, (url, kind, encoding, body, status)) in requests.into_iter().enumerate() {
        let name = format!("http/number-{number}");
        let token = create_token(&fixture.builder, &name);
        let mut request = fixture.client.post(url).bearer_auth(&token).header("content-type", kind);
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        // The third request has no length: it is chunked.
        let request = if number == 2 {
            request.body(reqwest::Body::wrap(Full::new(Bytes::from(body)).map_frame(|frame| frame)))
        } else {
            request.body(body)
        };
        let answer = sent(request).await;
        assert_eq!(answer.status(), status, "{url} {kind} {encoding:?}");
        if status == 200 {
            assert_eq!(answer.headers()["content-type"], kind);
        }
        let said = answer.bytes().await.expect("a body");
        assert!(matches!(&said[..], b"" | b"{}"), "{url} {kind}: {said:?}");
        same(&fixture, &service, &name, &token, &head, &expected).await;
    }
    let client = Client::connect(&service.port("otlp_grpc")).await;
    let calls = [
        (None, frame(false, &protobuf)),
        (Some("gzip"), frame(true, &gzip(&protobuf))),
        (Some("zstd"), frame(true, &zstd(&protobuf))),
        (Some("gzip"), frame(false, &protobuf)),
    ];
    for (number, (encoding, body)) in calls.into_iter().enumerate() {
        let name = format!("grpc/number-{number}");
        let token = create_token(&fixture.builder, &name);
        let answer = client.call(EXPORT, Some(&token), encoding, body).await.expect("an answer");
        assert_eq!((answer.http, answer.code), (200, Some(0)), "{answer:?}");
        assert!(answer.message.is_empty(), "no message expected: {answer:?}");
        same(&fixture, &service, &name, &token, &head, &expected).await;
    }
    service.terminate().await;
    fixture.fake.finish();
}

async fn same(
    fixture: &Fixture,
    service: &Service,
    name: &str,
    token: &str,
    head: &str,
    expected: &[(String, i64)],
) {
    let mut found = stages(fixture, service, name, token, head).await;
    found.sort_unstable();
    assert_eq!(found.len(), expected.len(), "{name}");
    for (found, expected) in found.iter().zip(expected) {
        // Zipkin counts microseconds.
        assert!(found.0 == expected.0 && (found.1 - expected.1).abs() <= 3, "{name}: {found:?} {expected:?}");
    }
}

on_both!(grpc_refusals_have_code_and_message);
async fn grpc_refusals_have_code_and_message(database: Database) {
    let (fixture, service) = fixture(database).await;
    let token = Some(fixture.token.as_str());
    let head = sha("through gRPC");
    let good = otlp(&Run::of_main(&head, now_seconds() - 600));
    let mut huge = frame(false, &[]);
    huge[1..5].fill(0xff);
    let bomb = vec![0; 80 << 20];
    for port in ["otlp_grpc", "jaeger_grpc"] {
        let client = Client::connect(&service.port(port)).await;
        let path = if port == "otlp_grpc" { EXPORT } else { POST_SPANS };
        let (unauthenticated, invalid, unimplemented) = (16, 3, 12);
        for (path, token, encoding, body, code, said) in [
            (path, None, None, frame(false, &good), unauthenticated, "token"),
            (path, Some("pgt_wrong"), None, frame(false, &good), unauthenticated, "revoked"),
            (path, token, None, frame(false, b"\x0a\xff\xff\xff\xff\x0fx"), invalid, "is not"),
            (path, token, None, Vec::new(), invalid, "no message"),
            (path, token, None, frame(false, &good)[..9].to_vec(), invalid, "announced"),
            (path, token, None, [frame(false, &good), frame(false, &good)].concat(), invalid, "one message"),
            (path, token, None, huge.clone(), invalid, "64 MiB"),
            (path, token, None, frame(true, &gzip(&good)), invalid, "grpc-encoding"),
            (path, token, Some("gzip"), frame(true, &good), invalid, "not gzip"),
            (path, token, Some("gzip"), frame(true, &gzip(&bomb)), invalid, "64 MiB"),
            (path, token, Some("zstd"), frame(true, &zstd(&bomb)), invalid, "64 MiB"),
            (path, token, Some("snappy"), frame(true, &good), unimplemented, "gzip"),
            ("/some.Service/Method", token, None, frame(false, &good), unimplemented, "this port takes"),
        ] {
            let answer = client.call(path, token, encoding, body).await.expect("an answer");
            assert_eq!((answer.http, answer.code), (200, Some(code)), "{port} {said}: {answer:?}");
            assert!(answer.text.replace("%20", " ").contains(said), "{port} {said}: {answer:?}");
            // A request that a retry cannot mend gets no code that clients retry.
            assert!(!answer.retry_info && answer.message.is_empty(), "{answer:?}");
        }
    }
    // A partial success: the payload names another repository.
    let client = Client::connect(&service.port("otlp_grpc")).await;
    let other = create_token(&fixture.builder, "another/one");
    let mut nameless = Run::of_main("", now_seconds() - 600);
    nameless.branch = None;
    for (token, run, said) in [(&other, nameless, "vcs.ref.head.revision")] {
        let answer = client.send(EXPORT, token, &otlp(&run)).await;
        assert_eq!(answer.code, Some(0), "{answer:?}");
        assert!(String::from_utf8_lossy(&answer.message).contains(said), "{answer:?}");
    }
    // Other senders are served meanwhile.
    assert_eq!(client.send(EXPORT, &fixture.token, &good).await.code, Some(0));
    assert!(stages(&fixture, &service, REPO, &fixture.token, &head).await.len() > 10);
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(http_refusals_follow_each_protocol);
async fn http_refusals_follow_each_protocol(database: Database) {
    let (fixture, service) = fixture(database).await;
    let at = |port: &str, path: &str| format!("http://{}{path}", service.port(port));
    let traces = at("otlp_http", "/v1/traces");
    let (v1, v2) = (at("zipkin", "/api/v1/spans"), at("zipkin", "/api/v2/spans"));
    let thrift = at("jaeger_http", "/api/traces");
    let json = "application/json";
    let deep = format!("[{}", "[".repeat(100_000)).into_bytes();
    // A claim of six million spans in twenty bytes: a struct, its field 2, a list of structs.
    let claim = b"\x0c\x00\x01\x0b\x00\x01\x00\x00\x00\x00\x00\x0f\x00\x02\x0c\x00\x5b\x8d\x80\x00".to_vec();
    let bomb = vec![b' '; 80 << 20];
    for (url, kind, encoding, body, status, said) in [
        (&traces, "text/plain", None, b"{}".to_vec(), 415, "application/x-protobuf"),
        (&traces, json, Some("br"), b"{}".to_vec(), 415, "zstd"),
        (&traces, json, Some("gzip, gzip"), b"{}".to_vec(), 415, "once"),
        (&traces, json, Some("zstd"), zstd(&bomb), 413, "64 MiB"),
        (&traces, json, Some("deflate"), zlib(&bomb), 413, "64 MiB"),
        (&v2, "text/plain", None, b"[]".to_vec(), 415, "application/x-protobuf"),
        (&v2, json, None, deep.clone(), 400, "Zipkin"),
        (&v2, json, Some("gzip"), gzip(&bomb), 413, "64 MiB"),
        (&v1, "application/x-thrift", None, claim.clone(), 415, "/api/v2/spans"),
        (&thrift, json, None, b"{}".to_vec(), 415, "application/x-thrift"),
        (&thrift, "application/x-thrift", None, claim, 400, "is not"),
        (&thrift, "application/x-thrift", Some("zstd"), zstd(&bomb), 413, "64 MiB"),
    ] {
        let mut request = fixture.client.post(url).bearer_auth(&fixture.token).header("content-type", kind);
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        let answer = sent(request.body(body)).await;
        let found = answer.status();
        let text = answer.text().await.expect("text");
        assert_eq!(found, status, "{url} {said}: {text}");
        assert!(text.contains(said), "{url} {said}: {text}");
    }
    for (url, kind) in [(&v2, json), (&thrift, "application/x-thrift"), (&traces, json)] {
        let answer = sent(fixture.client.post(url).header("content-type", kind).body("[]")).await;
        assert_eq!(answer.status(), 401, "{url}");
    }
    for (port, said) in
        [("otlp_http", "/v1/traces"), ("zipkin", "/api/v2/spans"), ("jaeger_http", "/api/traces")]
    {
        let answer = sent(fixture.client.get(at(port, "/"))).await;
        assert_eq!(answer.status(), 404);
        let problem: Value = answer.json().await.expect("a problem");
        assert!(problem["detail"].as_str().expect("a sentence").contains(said), "{problem}");
    }
    assert_eq!(
        sent(fixture.client.post(&v2).bearer_auth(&fixture.token).json(&json!([]))).await.status(),
        202
    );
    service.terminate().await;
    fixture.fake.finish();
}
