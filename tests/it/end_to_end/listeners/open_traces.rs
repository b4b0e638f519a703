//! Traces that never get a root. A repository may have a limited number of them, and its other
//! pipelines go on.

use serde_json::{Value, json};

use super::{Fixture, REPO, sent, stages};
use crate::end_to_end::{Database, create_token, on_both};
use crate::pipeline::{Run, span};
use crate::time::now_seconds;
use crate::webhooks::sha;

/// A request with `count` traces. Each has one span whose parent never comes.
fn rootless(first: u32, count: u32) -> Value {
    let now = i128::from(now_seconds()) * 1_000_000_000;
    let spans: Vec<Value> = (first..first + count)
        .map(|n| span(&format!("{:032x}", n + 1), "00000000000000aa", "00000000000000bb", "lost", now, now))
        .collect();
    json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] })
}

on_both!(traces_without_root_are_limited_to_ten_thousand);
async fn traces_without_root_are_limited_to_ten_thousand(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    let push = async |body: &Value| {
        let url = format!("{}/v1/traces", service.url());
        let answer = sent(fixture.client.post(url).bearer_auth(&fixture.token).json(body)).await;
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    assert_eq!(push(&rootless(0, 9_990)).await.0, 200);
    // The limit is checked before any part of a request is accepted.
    let (status, text) = push(&rootless(9_990, 11)).await;
    assert!(status == 503 && text.contains("wait for their root span"), "{status} {text}");
    assert_eq!(push(&rootless(9_990, 10)).await.0, 200, "traces within the limit");
    assert_eq!(push(&rootless(20_000, 1)).await.0, 503);
    assert_eq!(push(&rootless(0, 5)).await.0, 200, "more spans of known traces");
    // A trace with its root becomes a run, even beside all the others without one.
    let head = sha("beside ten thousand others");
    assert_eq!(push(&Run::of_main(&head, now_seconds() - 600).request()).await.0, 200);
    assert!(stages(&fixture, &service, REPO, &fixture.token, &head).await.len() > 10);
    service.terminate().await;
    fixture.fake.finish();
}

/// The ids of a repository's runs, in the order of their creation.
async fn runs(fixture: &Fixture, url: &str, repo: &str, token: &str) -> Vec<String> {
    let url = format!("{url}/api/v1/repos/{repo}/runs");
    let answer = sent(fixture.client.get(url).bearer_auth(token)).await;
    let answer: Value = answer.json().await.expect("JSON");
    let runs = answer["runs"].as_array().expect("runs");
    runs.iter().map(|run| run["id"].as_str().expect("an id").to_owned()).collect()
}

on_both!(mass_sender_is_served_after_others);
async fn mass_sender_is_served_after_others(database: Database) {
    let fixture = Fixture::new(database).await;
    let other = create_token(&fixture.builder, "other/repo");
    let builder = fixture.builder.clone().env("PACEGATE_SETTLE", "0s");
    let service = builder.clone().arguments(&["--no-worker"]).start().await;
    let push = async |token: &str, body: &Value| {
        let url = format!("{}/v1/traces", service.url());
        assert_eq!(sent(fixture.client.post(url).bearer_auth(token).json(body)).await.status(), 200);
    };
    push(&fixture.token, &rootless(0, 501)).await;
    let run = |n: i64| Run::of_main(&sha(&format!("of a mass {n}")), now_seconds() - 600 * n);
    for n in 1..=8 {
        push(&fixture.token, &run(n).request()).await;
    }
    push(&other, &run(9).request()).await;
    service.terminate().await;

    let service = builder.env("PACEGATE_JOBS", "1").start().await;
    fixture.wait_for_runs(&service, 8).await;
    let first = runs(&fixture, &service.url(), "other/repo", &other).await;
    let mass = runs(&fixture, &service.url(), REPO, &fixture.token).await;
    assert!(first.len() == 1 && mass.iter().all(|id| *id > first[0]), "{first:?} before {mass:?}");
    service.terminate().await;
    fixture.fake.finish();
}
