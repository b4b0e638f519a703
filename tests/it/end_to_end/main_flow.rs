//! The main use of the product: two pushes of a slowed pipeline lead to one check run that says
//! regressed, and one comment. Other tests cover the variants of this flow.

use serde_json::Value;

use super::{Database, Fixture, HISTORY, REPO, on_both};
use crate::fake_github::state::permissions;
use crate::service::WEBHOOK_SECRET;
use crate::webhooks::{self, delivery, sha};

on_both!(two_slowed_pushes_yield_confirmed_regression);
async fn two_slowed_pushes_yield_confirmed_regression(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;

    let first = sha("first push");
    fixture.deliver(&service, &fixture.pull_request("opened", 7, &first)).await;
    crate::time::eventually("the check in progress", super::DEADLINE, || async {
        fixture.checks(&first).first().map(|check| assert_eq!(check.status, "in_progress"))
    })
    .await;
    fixture.push(&service, &Fixture::slowed(7, &first, 30)).await;
    let check = fixture.concluded(&first).await;
    assert_eq!((check.name.as_str(), check.conclusion.as_deref()), ("Pacegate", Some("neutral")));
    assert_eq!(check.external_id, Some(format!("{first}:1")));

    let second = sha("second push");
    fixture.deliver(&service, &fixture.pull_request("synchronize", 7, &second)).await;
    fixture.push(&service, &Fixture::slowed(7, &second, 10)).await;
    let check = fixture.concluded(&second).await;
    let title = check.title.expect("a title");
    assert!(title.contains("integration-tests") && title.contains("confirmed"), "{title}");
    assert!(title.contains("new error"), "{title}");
    // Two watchdog tasks of checks remain, which are not due yet.
    fixture.wait_until_idle(&service, 2).await;

    assert_eq!(
        fixture.checks(&first).len() + fixture.checks(&second).len(),
        2,
        "one check run for each head"
    );
    let comments = fixture.fake.comments(REPO, 7);
    assert_eq!(comments.len(), 1);
    let body = &comments[0].body;
    assert!(body.contains("confirmed in 2 runs") && body.contains("OrderTimeout"), "{body}");

    let (status, verdict) = fixture.api(&service, &format!("/commits/{second}/verdict?wait=30s")).await;
    assert_eq!((status, verdict["verdict"].as_str()), (200, Some("regressed")));
    let blamed: Vec<&Value> = verdict["stages"]
        .as_array()
        .expect("stages")
        .iter()
        .filter(|stage| stage["verdict"] == "regressed" && stage["explained_by"].is_null())
        .collect();
    assert_eq!(blamed.len(), 1, "one cause, not its ancestors: {blamed:?}");
    assert_eq!(blamed[0]["path"], serde_json::json!(["my-app", "test", "integration-tests"]));
    assert_eq!(verdict["baseline"]["runs"], HISTORY);
    assert_eq!(verdict["errors"][0]["verdict"], "new");

    // The page shows exactly what GitHub received.
    let (_, runs) = fixture.api(&service, &format!("/runs?sha={second}")).await;
    assert_eq!(runs["runs"][0]["lineage"]["number"], 7);
    let page = async |path: &str| {
        let answer =
            fixture.client.get(format!("{}{path}", service.url())).bearer_auth(&fixture.token).send().await;
        unescaped(&answer.expect("an answer").text().await.expect("a page"))
    };
    let list = page(&format!("/{REPO}")).await;
    let links: Vec<&str> = list.split("href=\"").filter_map(|part| part.split('"').next()).collect();
    let newest =
        links.iter().find(|href| href.contains("/comparisons/")).expect("a link to the newest comparison");
    let shown = page(newest).await;
    assert!(shown.contains("Posted on "), "the page says that it was posted");
    let check = fixture.concluded(&second).await;
    for part in [check.title, check.summary, check.text, Some(body.clone())] {
        let part = part.expect("GitHub got all four");
        assert!(shown.contains(&part), "the page does not show what GitHub got:\n{part}");
    }

    // Each token has only the permissions of its task, and only this repository.
    for token in fixture.fake.tokens() {
        assert_eq!(token.requested_repositories, Some(serde_json::json!(["my-app"])));
        let asked = token.requested_permissions.expect("permissions are always named");
        let allowed = [
            permissions(&[("pull_requests", "read")]),
            permissions(&[("checks", "write")]),
            permissions(&[("pull_requests", "write")]),
            permissions(&[("actions", "read")]),
            permissions(&[("contents", "read")]),
            permissions(&[("contents", "read")]),
        ];
        assert!(allowed.contains(&asked), "{asked:?}");
    }
    let log = service.log().join("\n");
    let (_, key) = fixture.fake.credentials();
    let secrets: Vec<String> = fixture.fake.tokens().into_iter().map(|token| token.text).collect();
    for secret in
        secrets.iter().map(String::as_str).chain([fixture.token.as_str(), WEBHOOK_SECRET, &key[40..80]])
    {
        assert!(!log.contains(secret), "a secret is in the log");
    }
    service.terminate().await;
    fixture.fake.finish();
}

/// Replaces the numeric entities of the template engine.
fn unescaped(html: &str) -> String {
    let entities = [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&")];
    entities.iter().fold(html.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

on_both!(unchanged_pipeline_gets_success_and_no_comment);
async fn unchanged_pipeline_gets_success_and_no_comment(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let head = sha("unchanged");
    fixture.deliver(&service, &fixture.pull_request("opened", 3, &head)).await;
    let mut run = crate::pipeline::Run::of_main(&head, crate::time::now_seconds() - 600);
    run.branch = Some("change-3".into());
    fixture.push(&service, &run.request()).await;
    let check = fixture.concluded(&head).await;
    assert_eq!(check.conclusion.as_deref(), Some("success"), "{:?}", check.title);
    fixture.wait_until_idle(&service, 1).await;
    assert!(fixture.fake.comments(REPO, 3).is_empty(), "no comment without a finding");
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(comment_becomes_resolved_after_recovery);
async fn comment_becomes_resolved_after_recovery(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let (slow, fixed) = (sha("slow"), sha("fixed"));
    fixture.deliver(&service, &fixture.pull_request("opened", 8, &slow)).await;
    fixture.push(&service, &Fixture::slowed(8, &slow, 30)).await;
    fixture.concluded(&slow).await;
    fixture.wait_until_idle(&service, 1).await;
    assert_eq!(fixture.fake.comments(REPO, 8).len(), 1);
    fixture.deliver(&service, &fixture.pull_request("synchronize", 8, &fixed)).await;
    let mut run = crate::pipeline::Run::of_main(&fixed, crate::time::now_seconds() - 600);
    run.branch = Some("change-8".into());
    fixture.push(&service, &run.request()).await;
    let check = fixture.concluded(&fixed).await;
    assert_eq!(check.conclusion.as_deref(), Some("success"), "{:?}", check.title);
    fixture.wait_until_idle(&service, 2).await;
    let comments = fixture.fake.comments(REPO, 8);
    assert_eq!(comments.len(), 1);
    assert!(comments[0].body.to_lowercase().contains("resolved"), "{}", comments[0].body);
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(rerequest_starts_a_new_evaluation);
async fn rerequest_starts_a_new_evaluation(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let head = sha("asked for again");
    fixture.deliver(&service, &fixture.pull_request("opened", 5, &head)).await;
    fixture.push(&service, &Fixture::slowed(5, &head, 10)).await;
    let first = fixture.concluded(&head).await;
    fixture.wait_until_idle(&service, 1).await;
    let again = webhooks::check_run_rerequested(
        &fixture.repository,
        first.id,
        &head,
        first.external_id.as_deref().expect("an id"),
    );
    let again = delivery("check_run", &again, WEBHOOK_SECRET);
    fixture.deliver(&service, &again).await;
    fixture.deliver(&service, &again).await;
    crate::time::eventually("the second check run", super::DEADLINE, || async {
        let checks = fixture.checks(&head);
        (checks.len() == 2 && checks.iter().all(|check| check.status == "completed")).then_some(())
    })
    .await;
    fixture.wait_until_idle(&service, 2).await;
    let checks = fixture.checks(&head);
    assert_eq!(checks[0].writes, first.writes, "the old check run is left as it was");
    assert_eq!(checks[1].external_id, Some(format!("{head}:2")));
    assert_eq!(fixture.fake.comments(REPO, 5).len(), 1);
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(check_without_trace_is_concluded);
async fn check_without_trace_is_concluded(database: Database) {
    let mut fixture = Fixture::new(database).await;
    fixture.builder = fixture.builder.clone().env("PACEGATE_CHECK_TIMEOUT", "500ms");
    let service = fixture.builder.start().await;
    let head = sha("silent");
    fixture.deliver(&service, &fixture.pull_request("opened", 2, &head)).await;
    let check = fixture.concluded(&head).await;
    assert_eq!(check.conclusion.as_deref(), Some("neutral"));
    let summary = check.summary.expect("a summary");
    assert!(summary.contains("No complete trace"), "{summary}");
    fixture.wait_until_idle(&service, 0).await;
    service.terminate().await;
    fixture.fake.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_and_worker_run_as_two_processes() {
    let fixture = Fixture::new(Database::postgres().await).await;
    let service = fixture.builder.clone().arguments(&["--no-worker"]).start().await;
    let worker = fixture.builder.start_worker();
    fixture.push_history(&service).await;
    let head = sha("two processes");
    fixture.deliver(&service, &fixture.pull_request("opened", 4, &head)).await;
    fixture.push(&service, &Fixture::slowed(4, &head, 10)).await;
    fixture.concluded(&head).await;
    fixture.wait_until_idle(&service, 1).await;
    worker.terminate().await;
    service.terminate().await;
    fixture.fake.finish();
}
