//! Reruns of suspicious jobs, if the policy wants them: once, and the second sample decides the
//! verdict.

use super::actions::{PAST, ci, ended, install, past};
use super::{Database, PATIENCE, REPO, Scene, on_both};
use crate::fake_github::state::permissions;
use crate::service::{Service, WEBHOOK_SECRET};
use crate::time::{eventually, now_seconds};
use crate::webhooks::{self, delivery, sha};

/// A repository with a history and this policy, and a pull request with one slow run. Returns its
/// head.
async fn suspected(scene: &Scene, service: &Service, policy: &str) -> String {
    scene.fake.file(REPO, "main", ".github/pacegate.yml", policy.as_bytes());
    past(scene);
    install(scene, service).await;
    scene.wait_for_runs(service, usize::try_from(PAST).expect("small")).await;
    let head = sha("once slow");
    scene.deliver(service, &scene.pull_request("opened", 7, &head)).await;
    ended(scene, service, 3_001, &head, 30, 40).await;
    let check = scene.concluded(&head).await;
    assert_eq!(check.conclusion.as_deref(), Some("neutral"), "{:?}", check.title);
    head
}

on_both!(suspicious_job_reruns_once_and_decides_verdict);
async fn suspicious_job_reruns_once_and_decides_verdict(database: Database) {
    let scene = Scene::new(database).await;
    scene.fake.change_installation(99, |installation| {
        installation.permissions.insert("actions".into(), "write".into());
    });
    let service = scene.builder.start().await;
    let head = suspected(&scene, &service, "mode: gate\nconfirm: {rerun: true}\n").await;
    eventually("the rerun", PATIENCE, || async { (!scene.fake.reruns().is_empty()).then_some(()) }).await;
    // The second job of the run is `test`.
    assert_eq!(scene.fake.reruns(), [300_102]);

    let mut again = ci(3_001, &head, now_seconds() - 300, 40);
    again.attempt = 2;
    again.event = "pull_request".into();
    again.jobs.retain(|job| job.name == "test");
    scene.fake.workflow_run(REPO, again.clone());
    let payload = webhooks::workflow_run("completed", &scene.repository, &again);
    scene.deliver(&service, &delivery("workflow_run", &payload, WEBHOOK_SECRET)).await;
    let check = eventually("the verdict", PATIENCE, || async {
        scene.checks(&head).into_iter().find(|check| check.conclusion.as_deref() == Some("failure"))
    })
    .await;
    let title = check.title.expect("a title");
    assert!(title.contains("npm test") && title.contains("confirmed"), "{title}");
    let (_, verdict) = scene.api(&service, &format!("/commits/{head}/verdict?wait=30s")).await;
    let stages = verdict["stages"].as_array().expect("stages");
    assert!(stages.iter().all(|stage| stage["verdict"] != "removed"), "the other job is not gone");
    scene.quiet(&service, 1).await;
    assert_eq!(scene.fake.reruns().len(), 1, "once for a head");
    let asked = scene.fake.tokens().into_iter().filter_map(|token| token.requested_permissions);
    assert_eq!(asked.filter(|p| *p == permissions(&[("actions", "write")])).count(), 1);
    service.terminate().await;
    scene.fake.finish();
}

on_both!(no_rerun_beyond_policy_or_without_permission);
async fn no_rerun_beyond_policy_or_without_permission(database: Database) {
    let scene = Scene::new(database).await;
    let service = scene.builder.start().await;
    suspected(&scene, &service, "confirm: {rerun: true, reruns_a_day: 0}\n").await;
    scene.quiet(&service, 1).await;
    assert_eq!(scene.fake.count_of("actions/re-run-job-for-workflow-run"), 0);
    assert!(service.log().iter().any(|line| line.contains("reruns are used up")));
    // The daily limit allows another rerun, but the installation did not grant the permission.
    let moved = webhooks::push(&scene.repository, "main", &sha("another policy"));
    scene.fake.file(REPO, "main", ".github/pacegate.yml", b"confirm: {rerun: true}\n");
    scene.deliver(&service, &delivery("push", &moved, WEBHOOK_SECRET)).await;
    let head = sha("slow elsewhere");
    scene.deliver(&service, &scene.pull_request("opened", 8, &head)).await;
    ended(&scene, &service, 3_002, &head, 10, 40).await;
    scene.concluded(&head).await;
    eventually("the log line about it", PATIENCE, || async {
        service.log().iter().any(|line| line.contains("can't be run again")).then_some(())
    })
    .await;
    scene.quiet(&service, 2).await;
    assert_eq!(scene.fake.reruns(), [0_u64; 0]);
    service.terminate().await;
    scene.fake.finish();
}
