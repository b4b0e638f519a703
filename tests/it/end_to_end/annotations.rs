//! More annotations than GitHub accepts in one request, with SIGKILL between the requests. Each
//! annotation is there once, because the service sends only those that GitHub does not have yet.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Database, Fixture, REPO, on_both};
use crate::fake_github::Side;
use crate::pipeline::{Run, text};
use crate::time::now_seconds;
use crate::webhooks::sha;

/// At most this many exceptions of a span are read.
const EXCEPTIONS: usize = 20;

on_both!(kill_between_requests_duplicates_no_annotation);
async fn kill_between_requests_duplicates_no_annotation(database: Database) {
    let mut fixture = Fixture::new(database).await;
    // After a kill, the slot of a write is free again once the call must have timed out.
    fixture.builder = fixture.builder.clone().env("PACEGATE_GITHUB_TIMEOUT", "5s");
    let mut service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let head = sha("many errors");
    let update = |side| fixture.fake.pause_at("PATCH", "/check-runs/", side);
    let mut pause = update(Side::AfterWrite);
    let (request, errors) = with_many_errors(&head);
    fixture.push(&service, &request).await;
    fixture.deliver(&service, &fixture.pull_request("opened", 7, &head)).await;
    for (held, next) in [(50, Some(Side::BeforeWrite)), (50, Some(Side::AfterWrite)), (100, None)] {
        pause.reached().await;
        assert_eq!(fixture.checks(&head)[0].annotations.len(), held);
        service.kill();
        pause.drop_connection();
        if let Some(side) = next {
            pause = update(side);
        }
        service = fixture.builder.start().await;
    }
    let check = fixture.concluded(&head).await;
    let titles: BTreeSet<&str> = check.annotations.iter().filter_map(|a| a["title"].as_str()).collect();
    assert_eq!((check.annotations.len(), titles.len()), (errors, errors), "each once: {titles:?}");
    assert_eq!((check.actions.len(), fixture.checks(&head).len()), (2, 1));
    fixture.wait_until_idle(&service, 1).await;
    assert_eq!(fixture.fake.comments(REPO, 7).len(), 1);
    service.terminate().await;
    fixture.fake.finish();
}

/// A run whose operations raise errors of their own, each at a line of the repository, and the
/// number of these errors.
fn with_many_errors(head: &str) -> (Value, usize) {
    let mut run = Run::of_main(head, now_seconds() - 600);
    run.branch = Some("change-7".into());
    let mut spans = run.spans();
    let mut count = 0;
    for span in spans.iter_mut().filter(|span| span.get("attributes").is_none()) {
        let end = span["endTimeUnixNano"].clone();
        let raised = (0..EXCEPTIONS).map(|_| {
            count += 1;
            let (kind, line) = (format!("Error{count}"), count);
            json!({ "name": "exception", "timeUnixNano": end, "attributes": [
                text("exception.type", &kind),
                text("exception.message", "no answer"),
                text("exception.stacktrace", &format!(
                    "Traceback (most recent call last):\n  File \"src/orders.py\", line {line}, in order\n{kind}: no answer"
                )),
            ] })
        });
        span["events"] = raised.collect();
    }
    (json!({ "resourceSpans": [run.group(&spans)] }), count)
}
