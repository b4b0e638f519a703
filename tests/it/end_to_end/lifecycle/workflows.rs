//! The check of a head with several workflow runs: two workflows, and a run with a rerun job.

use super::super::actions::{PAST, add_history, ci, install};
use super::super::{DEADLINE, Database, Fixture, REPO, on_both};
use crate::fake_github::actions::WorkflowRun;
use crate::fake_github::state::PullRequest;
use crate::service::Service;
use crate::time::{eventually, now_seconds};
use crate::webhooks::{self, sha};

/// A run of pull request 7, with `slower` seconds more in its test.
fn of_change(id: u64, head: &str, minutes: i64, slower: i64) -> WorkflowRun {
    let mut run = ci(id, head, now_seconds() - minutes * 60, slower);
    (run.event, run.head_branch) = ("pull_request".into(), "change-7".into());
    run
}

/// The second workflow.
fn docs(id: u64, head: &str, minutes: i64) -> WorkflowRun {
    let started_at = now_seconds() - minutes * 60;
    let mut run = WorkflowRun::new(id, REPO, head, started_at).job("docs", 3, &[("Run mdbook build", 30)]);
    (run.workflow_id, run.workflow) = (159_039, "Docs".into());
    (run.event, run.head_branch) = ("pull_request".into(), "change-7".into());
    run
}

/// Sets a run on GitHub to its state at this action, and delivers the event.
async fn deliver_run_event(fixture: &Fixture, service: &Service, action: &str, run: &WorkflowRun) {
    let mut now = run.clone();
    if action != "completed" {
        (now.status, now.conclusion) = ("in_progress".into(), None);
    }
    fixture.fake.workflow_run(REPO, now);
    fixture
        .deliver_event(service, "workflow_run", &webhooks::workflow_run(action, &fixture.repository, run))
        .await;
}

async fn title_becomes(fixture: &Fixture, head: &str, title: &str) {
    eventually(title, DEADLINE, || async {
        (fixture.checks(head).first()?.title.as_deref() == Some(title)).then_some(())
    })
    .await;
}

/// Installs the App and waits until the history is read.
async fn installed(fixture: &Fixture) -> Service {
    add_history(fixture);
    let service = fixture.builder.start().await;
    install(fixture, &service).await;
    fixture.wait_for_runs(&service, usize::try_from(PAST).expect("small")).await;
    fixture.wait_until_idle(&service, 0).await;
    service
}

on_both!(check_waits_for_both_workflows_and_ends_once);
async fn check_waits_for_both_workflows_and_ends_once(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = installed(&fixture).await;
    let (first, second) = (sha("one workflow"), sha("two workflows"));
    fixture.deliver_pull_request_event(&service, "opened", &PullRequest::new(7, REPO, &first)).await;
    deliver_run_event(&fixture, &service, "completed", &of_change(3_001, &first, 60, 40)).await;
    fixture.concluded(&first).await;

    fixture.deliver_pull_request_event(&service, "synchronize", &PullRequest::new(7, REPO, &second)).await;
    let (tests, book) = (of_change(3_002, &second, 20, 40), docs(3_102, &second, 20));
    deliver_run_event(&fixture, &service, "requested", &tests).await;
    deliver_run_event(&fixture, &service, "in_progress", &tests).await;
    title_becomes(&fixture, &second, "Waiting for CI (0 of 1 read)").await;
    // The second workflow's events arrive late and out of order.
    deliver_run_event(&fixture, &service, "in_progress", &book).await;
    deliver_run_event(&fixture, &service, "requested", &book).await;
    title_becomes(&fixture, &second, "Waiting for CI and Docs (0 of 2 read)").await;
    deliver_run_event(&fixture, &service, "completed", &tests).await;
    title_becomes(&fixture, &second, "Waiting for Docs (1 of 2 read)").await;
    fixture.wait_until_idle(&service, 2).await;
    assert_eq!(fixture.checks(&second)[0].status, "in_progress");
    let speaks_of_it = || fixture.fake.comments(REPO, 7).iter().any(|c| c.body.contains(&second[..7]));
    assert!(!speaks_of_it());
    deliver_run_event(&fixture, &service, "completed", &book).await;
    let title = fixture.concluded(&second).await.title.expect("a title");
    assert!(title.contains("npm test") && title.contains("confirmed"), "{title}");
    fixture.wait_until_idle(&service, 2).await;
    assert!(speaks_of_it());
    let id = fixture.checks(&second)[0].id;
    let ends = fixture.fake.requests().into_iter().filter(|request| {
        request.path.ends_with(&format!("/check-runs/{id}"))
            && request.body.as_ref().is_some_and(|body| !body["conclusion"].is_null())
    });
    assert_eq!(ends.count(), 1);
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(rerun_job_joins_its_run_not_the_baseline);
async fn rerun_job_joins_its_run_not_the_baseline(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = installed(&fixture).await;
    let head = sha("ran again");
    fixture.deliver_pull_request_event(&service, "opened", &PullRequest::new(7, REPO, &head)).await;
    let mut first = of_change(3_001, &head, 60, 40);
    first.conclusion = Some("failure".into());
    first.jobs[1].conclusion = "failure".into();
    deliver_run_event(&fixture, &service, "completed", &first).await;
    let before = fixture.concluded(&head).await;
    fixture.wait_until_idle(&service, 1).await;
    // The lint job is carried over with its old times. The tests ran again.
    let again = of_change(3_001, &head, 20, 0);
    let jobs = vec![first.jobs[0].clone(), again.jobs[1].clone()];
    let second = WorkflowRun { attempt: 2, jobs, ..again };
    deliver_run_event(&fixture, &service, "requested", &second).await;
    // GitHub repeats the event about the end of the first attempt.
    fixture
        .deliver_event(
            &service,
            "workflow_run",
            &webhooks::workflow_run("completed", &fixture.repository, &first),
        )
        .await;
    fixture.wait_until_idle(&service, 1).await;
    deliver_run_event(&fixture, &service, "completed", &second).await;
    eventually("both attempts", DEADLINE, || async {
        let (_, runs) = fixture.api(&service, &format!("/runs?sha={head}")).await;
        (runs["runs"].as_array()?.len() == 2).then_some(())
    })
    .await;
    fixture.wait_until_idle(&service, 1).await;
    let after = fixture.concluded(&head).await;
    assert_eq!((after.id, fixture.checks(&head).len()), (before.id, 1));
    assert_ne!(
        (after.title, after.summary),
        (before.title, before.summary),
        "the check is brought up to date"
    );
    let verdict = fixture.verdict(&service, &head, &fixture.token).await;
    assert!(verdict["notes"].to_string().contains("attempt 2 ran test again"), "{}", verdict["notes"]);
    let lint = verdict["stages"].as_array().expect("stages").iter().find(|s| s["path"][1] == "lint");
    assert!(
        lint.is_some_and(|lint| lint["candidate_s"].is_number()),
        "a job that did not run again still counts"
    );

    let next = sha("another change");
    fixture.deliver_pull_request_event(&service, "opened", &PullRequest::new(8, REPO, &next)).await;
    let mut run = of_change(3_003, &next, 5, 0);
    run.head_branch = "change-8".into();
    deliver_run_event(&fixture, &service, "completed", &run).await;
    fixture.concluded(&next).await;
    assert_eq!(fixture.verdict(&service, &next, &fixture.token).await["baseline"]["runs"], PAST);
    service.terminate().await;
    fixture.fake.finish();
}
