//! Traces that never get a root: so many of a repository and no more, and its pipelines go on.

use serde_json::{Value, json};

use super::{REPO, Scene, sent, stages};
use crate::end_to_end::{Database, create_token, on_both};
use crate::pipeline::{Run, span};
use crate::time::now_seconds;
use crate::webhooks::sha;

/// A request of so many traces, each of one span whose parent never comes.
fn rootless(first: u32, count: u32) -> Value {
    let now = i128::from(now_seconds()) * 1_000_000_000;
    let spans: Vec<Value> = (first..first + count)
        .map(|n| span(&format!("{:032x}", n + 1), "00000000000000aa", "00000000000000bb", "lost", now, now))
        .collect();
    json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] })
}

on_both!(ten_thousand_traces_wait_for_their_root_and_no_more);
async fn ten_thousand_traces_wait_for_their_root_and_no_more(database: Database) {
    let scene = Scene::new(database).await;
    let service = scene.builder.start().await;
    let push = async |body: &Value| {
        let url = format!("{}/v1/traces", service.url());
        let answer = sent(scene.client.post(url).bearer_auth(&scene.token).json(body)).await;
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    assert_eq!(push(&rootless(0, 9_990)).await.0, 200);
    // Counted before any of a request is taken.
    let (status, text) = push(&rootless(9_990, 11)).await;
    assert!(status == 503 && text.contains("wait for their root span"), "{status} {text}");
    assert_eq!(push(&rootless(9_990, 10)).await.0, 200, "those that fit");
    assert_eq!(push(&rootless(20_000, 1)).await.0, 503);
    assert_eq!(push(&rootless(0, 5)).await.0, 200, "more of what is known");
    // Whoever brings its root is a run, however many others are none.
    let head = sha("beside ten thousand others");
    assert_eq!(push(&Run::of_main(&head, now_seconds() - 600).request()).await.0, 200);
    assert!(stages(&scene, &service, REPO, &scene.token, &head).await.len() > 10);
    service.terminate().await;
    scene.fake.finish();
}

/// The identifiers of a repository's runs, which are in the order in which they were made.
async fn runs(scene: &Scene, url: &str, repo: &str, token: &str) -> Vec<String> {
    let url = format!("{url}/api/v1/repos/{repo}/runs");
    let answer = sent(scene.client.get(url).bearer_auth(token)).await;
    let answer: Value = answer.json().await.expect("JSON");
    let runs = answer["runs"].as_array().expect("runs");
    runs.iter().map(|run| run["id"].as_str().expect("an id").to_owned()).collect()
}

on_both!(who_sends_masses_stands_behind_the_others);
async fn who_sends_masses_stands_behind_the_others(database: Database) {
    let scene = Scene::new(database).await;
    let other = create_token(&scene.builder, "other/repo");
    let builder = scene.builder.clone().env("PACEGATE_SETTLE", "0s");
    let service = builder.clone().arguments(&["--no-worker"]).start().await;
    let push = async |token: &str, body: &Value| {
        let url = format!("{}/v1/traces", service.url());
        assert_eq!(sent(scene.client.post(url).bearer_auth(token).json(body)).await.status(), 200);
    };
    push(&scene.token, &rootless(0, 501)).await;
    let run = |n: i64| Run::of_main(&sha(&format!("of a mass {n}")), now_seconds() - 600 * n);
    for n in 1..=8 {
        push(&scene.token, &run(n).request()).await;
    }
    push(&other, &run(9).request()).await;
    service.terminate().await;

    let service = builder.env("PACEGATE_JOBS", "1").start().await;
    scene.wait_for_runs(&service, 8).await;
    let first = runs(&scene, &service.url(), "other/repo", &other).await;
    let mass = runs(&scene, &service.url(), REPO, &scene.token).await;
    assert!(first.len() == 1 && mass.iter().all(|id| *id > first[0]), "{first:?} before {mass:?}");
    service.terminate().await;
    scene.fake.finish();
}
