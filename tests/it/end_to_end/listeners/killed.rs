//! SIGKILL under load, ten times. Every span of a request that was answered with success is there
//! after the restart, for every protocol.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::encode::{otlp, zipkin_v2};
use super::grpc::{Client, EXPORT, frame};
use super::{DEADLINE, Fixture, REPO};
use crate::end_to_end::{Database, on_both};
use crate::pipeline::Run;
use crate::time::{eventually, now_seconds};
use crate::webhooks::sha;

const KILLS: usize = 10;
/// Answered requests of each client before the kill.
const ANSWERED: usize = 3;

/// Commits of answered requests, by client.
type Answered = Arc<Mutex<[Vec<String>; 3]>>;

on_both!(answered_spans_survive_ten_kills_under_load);
async fn answered_spans_survive_ten_kills_under_load(database: Database) {
    let mut fixture = Fixture::new(database).await;
    fixture.builder = fixture.builder.clone().every_port(REPO);
    let mut all: Vec<String> = Vec::new();
    for round in 0..KILLS {
        let service = fixture.builder.start().await;
        let answered = Answered::default();
        let http = (fixture.client.clone(), format!("http://{}/v1/traces", service.port("otlp_http")));
        let zipkin = (fixture.client.clone(), format!("http://{}/api/v2/spans", service.port("zipkin")));
        let grpc = Client::connect(&service.port("otlp_grpc")).await;
        let token = fixture.token.clone();
        let clients = [
            tokio::spawn(load(round, 0, answered.clone(), {
                let token = token.clone();
                async move |run: Run| post(&http, &token, &run.request()).await
            })),
            tokio::spawn(load(round, 1, answered.clone(), {
                let token = token.clone();
                async move |run: Run| post(&zipkin, &token, &zipkin_v2(&run)).await
            })),
            tokio::spawn(load(round, 2, answered.clone(), async move |run: Run| {
                let call = grpc.call(EXPORT, Some(&token), None, frame(false, &otlp(&run))).await;
                call.is_some_and(|answer| answer.code == Some(0))
            })),
        ];
        eventually("answers to every client", DEADLINE, || async {
            let answered = answered.lock().expect("no panic inside");
            answered.iter().all(|heads| heads.len() >= ANSWERED).then_some(())
        })
        .await;
        service.kill();
        for client in clients {
            client.await.expect("a client");
        }
        all.extend(answered.lock().expect("no panic inside").iter().flatten().cloned());
    }
    let service = fixture.builder.start().await;
    let spans = Run::of_main("", 0).spans().len();
    for head in &all {
        let id = eventually("the run of an answered request", DEADLINE, || async {
            let (_, runs) = fixture.api(&service, &format!("/runs?sha={head}")).await;
            runs["runs"][0]["id"].as_str().map(str::to_owned)
        })
        .await;
        let (_, trace) = fixture.api(&service, &format!("/runs/{id}/trace")).await;
        assert_eq!(span_count(&trace), spans, "every span of {head}");
    }
    assert!(all.len() >= KILLS * ANSWERED * 3);
    service.terminate().await;
    fixture.fake.finish();
}

/// Pushes one run after another until a request is not answered with success.
async fn load<F>(round: usize, client: usize, answered: Answered, push: F)
where
    F: AsyncFn(Run) -> bool,
{
    for number in 0..10_000 {
        let head = sha(&format!("round {round} client {client} run {number}"));
        if !push(Run::of_main(&head, now_seconds() - 600)).await {
            return;
        }
        answered.lock().expect("no panic inside")[client].push(head);
    }
}

async fn post((http, url): &(reqwest::Client, String), token: &str, body: &Value) -> bool {
    let sent = http.post(url).bearer_auth(token).json(body).send().await;
    sent.is_ok_and(|answer| answer.status().is_success())
}

/// The number of spans in a document of OTLP JSON.
fn span_count(trace: &Value) -> usize {
    let groups = trace["resourceSpans"].as_array().expect("groups").iter();
    let scopes = groups.flat_map(|group| group["scopeSpans"].as_array().expect("scopes"));
    scopes.map(|scope| scope["spans"].as_array().map_or(0, Vec::len)).sum()
}
