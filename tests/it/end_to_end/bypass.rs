//! Attempts to get a green check, and ordinary events that look like such attempts. None of them
//! makes a verdict milder.

use super::actions::{PAST, ci, ended, install, past};
use super::{Database, PATIENCE, REPO, Scene, on_both};
use crate::fake_github::state::PullRequest;
use crate::service::WEBHOOK_SECRET;
use crate::time::{eventually, now_seconds};
use crate::webhooks::{self, delivery, sha};

on_both!(second_pull_request_with_same_head_keeps_verdict);
async fn second_pull_request_with_same_head_keeps_verdict(database: Database) {
    let scene = Scene::new(database).await;
    scene.fake.file(REPO, "main", ".github/pacegate.yml", b"mode: gate\n");
    let service = scene.builder.start().await;
    scene.push_history(&service).await;
    let (first, second) = (sha("slow"), sha("slow again"));
    for (action, head, minutes) in [("opened", &first, 30), ("synchronize", &second, 10)] {
        scene.deliver(&service, &scene.pull_request(action, 7, head)).await;
        scene.push(&service, &Scene::slowed(7, head, minutes)).await;
        scene.concluded(head).await;
    }
    let check = scene.concluded(&second).await;
    assert_eq!(check.conclusion.as_deref(), Some("failure"), "{:?}", check.title);
    // Into a branch without a history and without a policy.
    let elsewhere = PullRequest { base_ref: "gh-pages".into(), ..PullRequest::new(9, REPO, &second) };
    scene.fake.pull_request(REPO, elsewhere.clone());
    let opened = webhooks::pull_request("opened", &scene.repository, &elsewhere);
    scene.deliver(&service, &delivery("pull_request", &opened, WEBHOOK_SECRET)).await;
    let again = webhooks::check_suite_rerequested(&scene.repository, &second);
    scene.deliver(&service, &delivery("check_suite", &again, WEBHOOK_SECRET)).await;
    let newest = eventually("the next evaluation", PATIENCE, || async {
        scene.checks(&second).into_iter().nth(1).filter(|check| check.status == "completed")
    })
    .await;
    assert_eq!(newest.conclusion.as_deref(), Some("failure"), "{:?}", newest.title);
    service.terminate().await;
    scene.fake.finish();
}

on_both!(unfinished_workflow_makes_check_neutral);
async fn unfinished_workflow_makes_check_neutral(database: Database) {
    let mut scene = Scene::new(database).await;
    scene.builder = scene.builder.clone().env("PACEGATE_CHECK_TIMEOUT", "6s");
    past(&scene);
    let service = scene.builder.start().await;
    install(&scene, &service).await;
    scene.wait_for_runs(&service, usize::try_from(PAST).expect("small")).await;
    let head = sha("half measured");
    let mut hanging = ci(4_001, &head, now_seconds() - 600, 0);
    (hanging.workflow, hanging.workflow_id) = ("Perf".to_owned(), 7);
    (hanging.event, hanging.status) = ("pull_request".to_owned(), "in_progress".to_owned());
    hanging.conclusion = None;
    scene.fake.workflow_run(REPO, hanging.clone());
    let payload = webhooks::workflow_run("in_progress", &scene.repository, &hanging);
    scene.deliver(&service, &delivery("workflow_run", &payload, WEBHOOK_SECRET)).await;
    scene.deliver(&service, &scene.pull_request("opened", 7, &head)).await;
    ended(&scene, &service, 4_000, &head, 5, 0).await;
    let check = scene.concluded(&head).await;
    let title = check.title.expect("a title");
    assert_eq!(check.conclusion.as_deref(), Some("neutral"), "{title}");
    let shown = format!("{title} {}", check.summary.expect("a summary"));
    assert!(title.contains("Not judged") && shown.contains("Perf"), "{shown}");
    service.terminate().await;
    scene.fake.finish();
}

on_both!(commit_heading_no_pull_request_gets_no_check);
async fn commit_heading_no_pull_request_gets_no_check(database: Database) {
    let scene = Scene::new(database).await;
    let service = scene.builder.start().await;
    scene.push_history(&service).await;
    let of_main = sha("main 29");
    let again = webhooks::check_suite_rerequested(&scene.repository, &of_main);
    scene.deliver(&service, &delivery("check_suite", &again, WEBHOOK_SECRET)).await;
    scene.quiet(&service, 0).await;
    assert!(scene.checks(&of_main).is_empty(), "no event would ever conclude it");
    service.terminate().await;
    scene.fake.finish();
}
