//! Reruns of jobs with a suspicion, if the policy allows them: once, and the second sample decides the
//! verdict.

use super::actions::{PAST, add_history, ci, finish_run, install};
use super::{DEADLINE, Database, Fixture, REPO, on_both};
use crate::fake_github::state::permissions;
use crate::service::{Service, WEBHOOK_SECRET};
use crate::time::{eventually, now_seconds};
use crate::webhooks::{self, delivery, sha};

/// A repository with a history and this policy, and a pull request with one slow run. Returns its
/// head.
async fn suspected(fixture: &Fixture, service: &Service, policy: &str) -> String {
    fixture.fake.file(REPO, "main", ".github/pacegate.yml", policy.as_bytes());
    add_history(fixture);
    install(fixture, service).await;
    fixture.wait_for_runs(service, usize::try_from(PAST).expect("small")).await;
    let head = sha("once slow");
    fixture.deliver(service, &fixture.pull_request("opened", 7, &head)).await;
    finish_run(fixture, service, 3_001, &head, 30, 40).await;
    let check = fixture.concluded(&head).await;
    assert_eq!(check.conclusion.as_deref(), Some("neutral"), "{:?}", check.title);
    head
}

on_both!(suspicious_job_reruns_once_and_decides_verdict);
async fn suspicious_job_reruns_once_and_decides_verdict(database: Database) {
    let fixture = Fixture::new(database).await;
    fixture.fake.change_installation(99, |installation| {
        installation.permissions.insert("actions".into(), "write".into());
    });
    let service = fixture.builder.start().await;
    let head = suspected(&fixture, &service, "mode: gate\nconfirm: {rerun: true}\n").await;
    eventually("the rerun", DEADLINE, || async { (!fixture.fake.reruns().is_empty()).then_some(()) }).await;
    // The second job of the run is `test`.
    assert_eq!(fixture.fake.reruns(), [300_102]);

    let mut again = ci(3_001, &head, now_seconds() - 300, 40);
    again.attempt = 2;
    again.event = "pull_request".into();
    again.jobs.retain(|job| job.name == "test");
    fixture.fake.workflow_run(REPO, again.clone());
    let payload = webhooks::workflow_run("completed", &fixture.repository, &again);
    fixture.deliver(&service, &delivery("workflow_run", &payload, WEBHOOK_SECRET)).await;
    let check = eventually("the verdict", DEADLINE, || async {
        fixture.checks(&head).into_iter().find(|check| check.conclusion.as_deref() == Some("failure"))
    })
    .await;
    let title = check.title.expect("a title");
    assert!(title.contains("npm test") && title.contains("confirmed"), "{title}");
    let (_, verdict) = fixture.api(&service, &format!("/commits/{head}/verdict?wait=30s")).await;
    let stages = verdict["stages"].as_array().expect("stages");
    assert!(stages.iter().all(|stage| stage["verdict"] != "removed"), "the other job is not gone");
    fixture.wait_until_idle(&service, 1).await;
    assert_eq!(fixture.fake.reruns().len(), 1, "once for a head");
    let asked = fixture.fake.tokens().into_iter().filter_map(|token| token.requested_permissions);
    assert_eq!(asked.filter(|p| *p == permissions(&[("actions", "write")])).count(), 1);
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(no_rerun_beyond_policy_or_without_permission);
async fn no_rerun_beyond_policy_or_without_permission(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    suspected(&fixture, &service, "confirm: {rerun: true, reruns_a_day: 0}\n").await;
    fixture.wait_until_idle(&service, 1).await;
    assert_eq!(fixture.fake.count_of("actions/re-run-job-for-workflow-run"), 0);
    assert!(service.log().iter().any(|line| line.contains("reruns are used up")));
    // The daily limit allows another rerun, but the installation did not grant the permission.
    let moved = webhooks::push(&fixture.repository, "main", &sha("another policy"));
    fixture.fake.file(REPO, "main", ".github/pacegate.yml", b"confirm: {rerun: true}\n");
    fixture.deliver(&service, &delivery("push", &moved, WEBHOOK_SECRET)).await;
    let head = sha("slow elsewhere");
    fixture.deliver(&service, &fixture.pull_request("opened", 8, &head)).await;
    finish_run(&fixture, &service, 3_002, &head, 10, 40).await;
    fixture.concluded(&head).await;
    eventually("the log line about it", DEADLINE, || async {
        service.log().iter().any(|line| line.contains("can't be rerun")).then_some(())
    })
    .await;
    fixture.wait_until_idle(&service, 2).await;
    assert_eq!(fixture.fake.reruns(), [0_u64; 0]);
    service.terminate().await;
    fixture.fake.finish();
}
