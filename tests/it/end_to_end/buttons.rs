//! The buttons of a check: the permission they need, the effect of a decision, and its effect after
//! a merge. Also rerequests of a check and of a check suite.

use serde_json::json;

use super::{DEADLINE, Database, Fixture, REPO, on_both};
use crate::fake_github::state::{CheckRun, PullRequest};
use crate::service::{Service, WEBHOOK_SECRET};
use crate::time::{eventually, now_seconds, rfc3339};
use crate::webhooks::{self, delivery, sha};

/// A pull request whose second push confirmed a slowdown. Returns its head and its check.
pub(super) async fn regressed(fixture: &Fixture, service: &Service, number: u64) -> (String, CheckRun) {
    fixture.push_history(service).await;
    let heads = [sha(&format!("{number} first")), sha(&format!("{number} second"))];
    for (action, head, minutes) in [("opened", &heads[0], 30), ("synchronize", &heads[1], 10)] {
        fixture.deliver(service, &fixture.pull_request(action, number, head)).await;
        fixture.push(service, &slowed(number, head, minutes)).await;
        fixture.concluded(head).await;
    }
    fixture.wait_until_idle(service, 2).await;
    let check = fixture.concluded(&heads[1]).await;
    let title = check.title.clone().unwrap_or_default();
    assert!(title.contains("integration-tests") && title.contains("confirmed"), "{title}");
    (heads[1].clone(), check)
}

/// A slowed run without the error of [`Fixture::slowed`].
fn slowed(number: u64, head: &str, minutes_ago: i64) -> serde_json::Value {
    let mut run =
        crate::pipeline::Run::slowed(head, &format!("change-{number}"), now_seconds() - minutes_ago * 60);
    run.raises = false;
    run.request()
}

pub(super) async fn press(fixture: &Fixture, service: &Service, check: &CheckRun, button: &str, login: &str) {
    let external_id = check.external_id.as_deref().expect("every check has one");
    let payload =
        webhooks::check_run_action(&fixture.repository, &check.head_sha, external_id, button, login);
    fixture.deliver(service, &delivery("check_run", &payload, WEBHOOK_SECRET)).await;
}

pub(super) async fn wait_for_conclusion(fixture: &Fixture, head: &str, conclusion: &str) -> CheckRun {
    eventually(&format!("a check that is {conclusion}"), DEADLINE, || async {
        fixture.checks(head).into_iter().next_back().filter(|c| c.conclusion.as_deref() == Some(conclusion))
    })
    .await
}

on_both!(acceptance_holds_until_change_gets_worse);
async fn acceptance_holds_until_change_gets_worse(database: Database) {
    let fixture = Fixture::new(database).await;
    fixture.fake.collaborator(REPO, "reader", "read");
    fixture.fake.collaborator(REPO, "ada", "write");
    let service = fixture.builder.start().await;
    let (head, check) = regressed(&fixture, &service, 7).await;
    let buttons: Vec<&str> =
        check.actions.iter().filter_map(|action| action["identifier"].as_str()).collect();
    assert_eq!(buttons, ["accept", "reevaluate", "mute"]);

    // A person without write permission changes nothing, on any button.
    for (login, button) in
        [("reader", "accept"), ("nobody", "accept"), ("../../x", "mute"), ("ada", "format")]
    {
        press(&fixture, &service, &check, button, login).await;
    }
    fixture.wait_until_idle(&service, 2).await;
    assert_eq!(fixture.concluded(&head).await.conclusion, check.conclusion);
    assert_eq!(fixture.fake.count_of("repos/get-collaborator-permission-level"), 2);

    press(&fixture, &service, &check, "accept", "ada").await;
    let accepted = wait_for_conclusion(&fixture, &head, "success").await;
    assert_eq!(accepted.id, check.id, "the same evaluation");
    let shown = [accepted.summary, accepted.text].map(Option::unwrap_or_default).concat();
    assert!(shown.contains("ada") && shown.to_lowercase().contains("accepted"), "{shown}");
    fixture.wait_until_idle(&service, 2).await;
    let comment = fixture.fake.comments(REPO, 7).remove(0).body;
    assert!(comment.contains("Nothing is open") && comment.contains("accepted"), "{comment}");

    // The decision carries over to the next push. A materially larger slowdown is a finding again.
    let third = sha("as slow");
    fixture.deliver(&service, &fixture.pull_request("synchronize", 7, &third)).await;
    fixture.push(&service, &slowed(7, &third, 5)).await;
    wait_for_conclusion(&fixture, &third, "success").await;
    let fourth = sha("slower still");
    fixture.deliver(&service, &fixture.pull_request("synchronize", 7, &fourth)).await;
    for minutes in [4, 3, 2] {
        let mut run = crate::pipeline::Run::slowed(&fourth, "change-7", now_seconds() - minutes * 60);
        (run.raises, run.slow) = (false, 3.0);
        fixture.push(&service, &run.request()).await;
    }
    let again = wait_for_conclusion(&fixture, &fourth, "neutral").await;
    let text = [again.title, again.text].map(Option::unwrap_or_default).concat();
    assert!(text.contains("integration-tests") && text.contains("worse than that"), "{text}");
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(accepted_change_becomes_new_level_after_merge);
async fn accepted_change_becomes_new_level_after_merge(database: Database) {
    let fixture = Fixture::new(database).await;
    fixture.fake.collaborator(REPO, "ada", "admin");
    let service = fixture.builder.start().await;
    let (head, check) = regressed(&fixture, &service, 7).await;
    press(&fixture, &service, &check, "accept", "ada").await;
    wait_for_conclusion(&fixture, &head, "success").await;
    let merged_at = now_seconds() - 100;
    let merged =
        PullRequest { open: false, merged_at: Some(rfc3339(merged_at)), ..PullRequest::new(7, REPO, &head) };
    fixture.fake.pull_request(REPO, merged.clone());
    let closed = webhooks::pull_request("closed", &fixture.repository, &merged);
    fixture.deliver(&service, &delivery("pull_request", &closed, WEBHOOK_SECRET)).await;
    // Main is as slow from here on. One run of it is enough for the new level.
    for seconds in [90, 60] {
        let mut run =
            crate::pipeline::Run::of_main(&sha(&format!("merged {seconds}")), now_seconds() - seconds);
        run.slow = 1.7;
        fixture.push(&service, &run.request()).await;
    }
    fixture.wait_for_runs(&service, super::HISTORY as usize + 4).await;
    let next = sha("another change");
    fixture.deliver(&service, &fixture.pull_request("opened", 8, &next)).await;
    fixture.push(&service, &slowed(8, &next, 0)).await;
    let check = fixture.concluded(&next).await;
    assert_eq!(check.conclusion.as_deref(), Some("success"), "{:?} {:?}", check.title, check.summary);
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(muted_stage_is_muted_in_every_pull_request);
async fn muted_stage_is_muted_in_every_pull_request(database: Database) {
    let fixture = Fixture::new(database).await;
    fixture.fake.collaborator(REPO, "ada", "write");
    let service = fixture.builder.start().await;
    let (head, check) = regressed(&fixture, &service, 7).await;
    press(&fixture, &service, &check, "mute", "ada").await;
    let muted = wait_for_conclusion(&fixture, &head, "success").await;
    let shown = [muted.summary, muted.text].map(Option::unwrap_or_default).concat();
    assert!(shown.contains("ada") && shown.to_lowercase().contains("muted"), "{shown}");
    let other = sha("elsewhere");
    fixture.deliver(&service, &fixture.pull_request("opened", 8, &other)).await;
    fixture.push(&service, &slowed(8, &other, 5)).await;
    wait_for_conclusion(&fixture, &other, "success").await;
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(check_reevaluates_on_button_and_suite_request);
async fn check_reevaluates_on_button_and_suite_request(database: Database) {
    let fixture = Fixture::new(database).await;
    fixture.fake.collaborator(REPO, "ada", "write");
    let service = fixture.builder.start().await;
    let (head, check) = regressed(&fixture, &service, 7).await;
    press(&fixture, &service, &check, "reevaluate", "ada").await;
    let completed = |count| {
        let (fixture, head) = (&fixture, &head);
        eventually("the next check run", DEADLINE, move || async move {
            let checks = fixture.checks(head);
            let all = checks.len() == count && checks.iter().all(|check| check.status == "completed");
            all.then_some(())
        })
    };
    completed(2).await;
    let suite = webhooks::check_suite_rerequested(&fixture.repository, &head);
    fixture.deliver(&service, &delivery("check_suite", &suite, WEBHOOK_SECRET)).await;
    completed(3).await;
    let ids: Vec<_> = fixture.checks(&head).into_iter().filter_map(|check| check.external_id).collect();
    assert_eq!(json!(ids), json!([1, 2, 3].map(|n| format!("{head}:{n}"))));
    service.terminate().await;
    fixture.fake.finish();
}
