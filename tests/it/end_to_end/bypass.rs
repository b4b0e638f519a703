//! Attempts to get a green check, and ordinary events that look like such attempts. None of them
//! makes a verdict milder.

use super::actions::{PAST, add_history, ci, finish_run, install};
use super::{DEADLINE, Database, Fixture, REPO, on_both};
use crate::fake_github::state::PullRequest;
use crate::service::WEBHOOK_SECRET;
use crate::time::{eventually, now_seconds};
use crate::webhooks::{self, delivery, sha};

on_both!(second_pull_request_with_same_head_keeps_verdict);
async fn second_pull_request_with_same_head_keeps_verdict(database: Database) {
    let fixture = Fixture::new(database).await;
    fixture.fake.file(REPO, "main", ".github/pacegate.yml", b"mode: gate\n");
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let (first, second) = (sha("slow"), sha("slow again"));
    for (action, head, minutes) in [("opened", &first, 30), ("synchronize", &second, 10)] {
        fixture.deliver(&service, &fixture.pull_request(action, 7, head)).await;
        fixture.push(&service, &Fixture::slowed(7, head, minutes)).await;
        fixture.concluded(head).await;
    }
    let check = fixture.concluded(&second).await;
    assert_eq!(check.conclusion.as_deref(), Some("failure"), "{:?}", check.title);
    // Into a branch without a history and without a policy.
    let elsewhere = PullRequest { base_ref: "gh-pages".into(), ..PullRequest::new(9, REPO, &second) };
    fixture.fake.pull_request(REPO, elsewhere.clone());
    let opened = webhooks::pull_request("opened", &fixture.repository, &elsewhere);
    fixture.deliver(&service, &delivery("pull_request", &opened, WEBHOOK_SECRET)).await;
    let again = webhooks::check_suite_rerequested(&fixture.repository, &second);
    fixture.deliver(&service, &delivery("check_suite", &again, WEBHOOK_SECRET)).await;
    let newest = eventually("the next evaluation", DEADLINE, || async {
        fixture.checks(&second).into_iter().nth(1).filter(|check| check.status == "completed")
    })
    .await;
    assert_eq!(newest.conclusion.as_deref(), Some("failure"), "{:?}", newest.title);
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(unfinished_workflow_makes_check_neutral);
async fn unfinished_workflow_makes_check_neutral(database: Database) {
    let mut fixture = Fixture::new(database).await;
    fixture.builder = fixture.builder.clone().env("PACEGATE_CHECK_TIMEOUT", "6s");
    add_history(&fixture);
    let service = fixture.builder.start().await;
    install(&fixture, &service).await;
    fixture.wait_for_runs(&service, usize::try_from(PAST).expect("small")).await;
    let head = sha("half measured");
    let mut hanging = ci(4_001, &head, now_seconds() - 600, 0);
    (hanging.workflow, hanging.workflow_id) = ("Perf".to_owned(), 7);
    (hanging.event, hanging.status) = ("pull_request".to_owned(), "in_progress".to_owned());
    hanging.conclusion = None;
    fixture.fake.workflow_run(REPO, hanging.clone());
    let payload = webhooks::workflow_run("in_progress", &fixture.repository, &hanging);
    fixture.deliver(&service, &delivery("workflow_run", &payload, WEBHOOK_SECRET)).await;
    fixture.deliver(&service, &fixture.pull_request("opened", 7, &head)).await;
    finish_run(&fixture, &service, 4_000, &head, 5, 0).await;
    let check = fixture.concluded(&head).await;
    let title = check.title.expect("a title");
    assert_eq!(check.conclusion.as_deref(), Some("neutral"), "{title}");
    let shown = format!("{title} {}", check.summary.expect("a summary"));
    assert!(title.contains("Not judged") && shown.contains("Perf"), "{shown}");
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(commit_heading_no_pull_request_gets_no_check);
async fn commit_heading_no_pull_request_gets_no_check(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let of_main = sha("main 29");
    let again = webhooks::check_suite_rerequested(&fixture.repository, &of_main);
    fixture.deliver(&service, &delivery("check_suite", &again, WEBHOOK_SECRET)).await;
    fixture.wait_until_idle(&service, 0).await;
    assert!(fixture.checks(&of_main).is_empty(), "no event would ever conclude it");
    service.terminate().await;
    fixture.fake.finish();
}
