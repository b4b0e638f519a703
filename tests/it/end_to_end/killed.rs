//! SIGKILL in every step of publishing: after a restart GitHub shows the same as without the kill.
//! A graceful stop loses no request that was answered.

use super::{DEADLINE, Database, Fixture, REPO, on_both};
use crate::fake_github::Side;
use crate::time::eventually;
use crate::webhooks::sha;

/// Each call of publishing, held before or after GitHub carries it out.
const STEPS: [(&str, &str, Side); 14] = [
    ("POST", "/access_tokens", Side::BeforeWrite),
    ("POST", "/access_tokens", Side::AfterWrite),
    ("GET", "/pulls/", Side::BeforeWrite),
    ("GET", "/check-runs?", Side::BeforeWrite),
    ("POST", "/check-runs", Side::BeforeWrite),
    ("POST", "/check-runs", Side::AfterWrite),
    ("PATCH", "/check-runs/", Side::BeforeWrite),
    ("PATCH", "/check-runs/", Side::AfterWrite),
    ("GET", "/comments", Side::BeforeWrite),
    ("GET", "/comments", Side::AfterWrite),
    ("POST", "/comments", Side::BeforeWrite),
    ("POST", "/comments", Side::AfterWrite),
    // Only a second push changes a comment.
    ("PATCH", "/issues/comments/", Side::BeforeWrite),
    ("PATCH", "/issues/comments/", Side::AfterWrite),
];

on_both!(kill_at_any_publishing_step_changes_no_result);
async fn kill_at_any_publishing_step_changes_no_result(database: Database) {
    let mut fixture = Fixture::new(database).await;
    // After a kill, the slot of a write is free again once the call must have timed out.
    fixture.builder = fixture.builder.clone().env("PACEGATE_GITHUB_TIMEOUT", "5s");
    let mut service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let mut expected: Option<(Option<String>, String)> = None;
    let mut watchdogs = 0;
    for (number, step) in (100_u64..).zip(std::iter::once(None).chain(STEPS.into_iter().map(Some))) {
        let mut action = "opened";
        if step.is_some_and(|(_, path, _)| path.contains("/issues/comments/")) {
            let first = sha(&format!("before {number}"));
            fixture.push(&service, &Fixture::slowed(number, &first, 20)).await;
            fixture.deliver(&service, &fixture.pull_request(action, number, &first)).await;
            eventually("the first comment", DEADLINE, || async {
                fixture.fake.comments(REPO, number).first().map(|_| ())
            })
            .await;
            watchdogs += 1;
            fixture.wait_until_idle(&service, watchdogs).await;
            action = "synchronize";
        }
        let head = sha(&format!("killed {number}"));
        fixture.fake.revoke_tokens(); // so that each round mints its own
        let pause = step.map(|(method, path, side)| fixture.fake.pause_at(method, path, side));
        // Both are answered before the kill. An answered request must not be lost.
        fixture.push(&service, &Fixture::slowed(number, &head, 10)).await;
        fixture.deliver(&service, &fixture.pull_request(action, number, &head)).await;
        if let Some(pause) = pause {
            pause.reached().await;
            service.kill();
            pause.drop_connection();
            service = fixture.builder.start().await;
        }
        let check = fixture.concluded(&head).await;
        let comment = eventually("the comment", DEADLINE, || async {
            fixture.fake.comments(REPO, number).first().cloned()
        })
        .await;
        // Each check so far has a watchdog task that is not due yet.
        watchdogs += 1;
        fixture.wait_until_idle(&service, watchdogs).await;
        assert_eq!(fixture.checks(&head).len(), 1, "one check run after {step:?}");
        assert_eq!(fixture.fake.comments(REPO, number).len(), 1, "one comment after {step:?}");
        // The noise differs with the commit, so only the first part of the title is compared.
        let phrase = check.title.map(|title| title.split(' ').next().unwrap_or_default().to_owned());
        let first_line = comment.body.lines().next().unwrap_or_default().to_owned();
        let shown = (phrase, first_line);
        assert_eq!(
            expected.get_or_insert(shown.clone()),
            &shown,
            "the same as without a kill after {step:?}"
        );
    }
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(graceful_stop_loses_no_answered_request);
async fn graceful_stop_loses_no_answered_request(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    let url = format!("{}/v1/traces", service.url());
    // Clients push until the listener is closed. The stop comes meanwhile.
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (http, url, token) = (fixture.client.clone(), url.clone(), fixture.token.clone());
            tokio::spawn(async move {
                let mut accepted = 0;
                for i in 0..10_000 {
                    let head = sha(&format!("client {client} run {i}"));
                    let run = crate::pipeline::Run::of_main(&head, 1_790_000_000 + i);
                    let sent = http.post(&url).bearer_auth(&token).json(&run.request()).send().await;
                    match sent {
                        Ok(answer) if answer.status().is_success() => accepted += 1,
                        _ => break,
                    }
                }
                accepted
            })
        })
        .collect();
    fixture.wait_for_runs(&service, 8).await;
    service.terminate().await;
    let mut accepted = 0;
    for client in clients {
        accepted += client.await.expect("a client");
    }
    assert!(accepted >= 8, "{accepted} requests were answered");
    let service = fixture.builder.start().await;
    eventually("every answered run", DEADLINE, || async {
        let text =
            fixture.client.get(format!("{}/metrics", service.url())).send().await.ok()?.text().await.ok()?;
        text.contains("pacegate_open_jobs 0\n").then_some(())
    })
    .await;
    let page = fixture.client.get(format!("{}/", service.url())).bearer_auth(&fixture.token).send().await;
    let page = page.expect("an answer").text().await.expect("a page");
    // The list of repositories counts the runs: at least every answered one. A request whose answer
    // was lost on its way may be stored as well.
    let stored = runs_on(&page);
    assert!((accepted..=accepted + 4).contains(&stored), "{accepted} answered, {stored} stored");
    service.terminate().await;
    fixture.fake.finish();
}

/// The number in the first numeric cell of the page.
fn runs_on(page: &str) -> usize {
    let cell = page.split("<td class=\"n\">").nth(1).expect("a numeric cell");
    let digits: String = cell.chars().take_while(|c| *c != '<').filter(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}
