//! The check of a head with several workflow runs: two workflows, and a run with a rerun job.

use super::super::actions::{PAST, ci, install, past};
use super::super::{Database, PATIENCE, REPO, Scene, on_both};
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
async fn tell_run(scene: &Scene, service: &Service, action: &str, run: &WorkflowRun) {
    let mut now = run.clone();
    if action != "completed" {
        (now.status, now.conclusion) = ("in_progress".into(), None);
    }
    scene.fake.workflow_run(REPO, now);
    scene.tell(service, "workflow_run", &webhooks::workflow_run(action, &scene.repository, run)).await;
}

async fn title_becomes(scene: &Scene, head: &str, title: &str) {
    eventually(title, PATIENCE, || async {
        (scene.checks(head).first()?.title.as_deref() == Some(title)).then_some(())
    })
    .await;
}

/// Installs the App and waits until the history is read.
async fn installed(scene: &Scene) -> Service {
    past(scene);
    let service = scene.builder.start().await;
    install(scene, &service).await;
    scene.wait_for_runs(&service, usize::try_from(PAST).expect("small")).await;
    scene.quiet(&service, 0).await;
    service
}

on_both!(check_waits_for_both_workflows_and_ends_once);
async fn check_waits_for_both_workflows_and_ends_once(database: Database) {
    let scene = Scene::new(database).await;
    let service = installed(&scene).await;
    let (first, second) = (sha("one workflow"), sha("two workflows"));
    scene.tell_of(&service, "opened", &PullRequest::new(7, REPO, &first)).await;
    tell_run(&scene, &service, "completed", &of_change(3_001, &first, 60, 40)).await;
    scene.concluded(&first).await;

    scene.tell_of(&service, "synchronize", &PullRequest::new(7, REPO, &second)).await;
    let (tests, book) = (of_change(3_002, &second, 20, 40), docs(3_102, &second, 20));
    tell_run(&scene, &service, "requested", &tests).await;
    tell_run(&scene, &service, "in_progress", &tests).await;
    title_becomes(&scene, &second, "Waiting for CI (0 of 1 read)").await;
    // The second workflow's events arrive late and out of order.
    tell_run(&scene, &service, "in_progress", &book).await;
    tell_run(&scene, &service, "requested", &book).await;
    title_becomes(&scene, &second, "Waiting for CI and Docs (0 of 2 read)").await;
    tell_run(&scene, &service, "completed", &tests).await;
    title_becomes(&scene, &second, "Waiting for Docs (1 of 2 read)").await;
    scene.quiet(&service, 2).await;
    assert_eq!(scene.checks(&second)[0].status, "in_progress");
    let speaks_of_it = || scene.fake.comments(REPO, 7).iter().any(|c| c.body.contains(&second[..7]));
    assert!(!speaks_of_it());
    tell_run(&scene, &service, "completed", &book).await;
    let title = scene.concluded(&second).await.title.expect("a title");
    assert!(title.contains("npm test") && title.contains("confirmed"), "{title}");
    scene.quiet(&service, 2).await;
    assert!(speaks_of_it());
    let id = scene.checks(&second)[0].id;
    let ends = scene.fake.requests().into_iter().filter(|request| {
        request.path.ends_with(&format!("/check-runs/{id}"))
            && request.body.as_ref().is_some_and(|body| !body["conclusion"].is_null())
    });
    assert_eq!(ends.count(), 1);
    service.terminate().await;
    scene.fake.finish();
}

on_both!(rerun_job_joins_its_run_not_the_baseline);
async fn rerun_job_joins_its_run_not_the_baseline(database: Database) {
    let scene = Scene::new(database).await;
    let service = installed(&scene).await;
    let head = sha("ran again");
    scene.tell_of(&service, "opened", &PullRequest::new(7, REPO, &head)).await;
    let mut first = of_change(3_001, &head, 60, 40);
    first.conclusion = Some("failure".into());
    first.jobs[1].conclusion = "failure".into();
    tell_run(&scene, &service, "completed", &first).await;
    let before = scene.concluded(&head).await;
    scene.quiet(&service, 1).await;
    // The lint job is carried over with its old times. The tests ran again.
    let again = of_change(3_001, &head, 20, 0);
    let jobs = vec![first.jobs[0].clone(), again.jobs[1].clone()];
    let second = WorkflowRun { attempt: 2, jobs, ..again };
    tell_run(&scene, &service, "requested", &second).await;
    // GitHub repeats the event about the end of the first attempt.
    scene
        .tell(&service, "workflow_run", &webhooks::workflow_run("completed", &scene.repository, &first))
        .await;
    scene.quiet(&service, 1).await;
    tell_run(&scene, &service, "completed", &second).await;
    eventually("both attempts", PATIENCE, || async {
        let (_, runs) = scene.api(&service, &format!("/runs?sha={head}")).await;
        (runs["runs"].as_array()?.len() == 2).then_some(())
    })
    .await;
    scene.quiet(&service, 1).await;
    let after = scene.concluded(&head).await;
    assert_eq!((after.id, scene.checks(&head).len()), (before.id, 1));
    assert_ne!(
        (after.title, after.summary),
        (before.title, before.summary),
        "the check is brought up to date"
    );
    let verdict = scene.verdict(&service, &head, &scene.token).await;
    assert!(verdict["notes"].to_string().contains("attempt 2 ran test again"), "{}", verdict["notes"]);
    let lint = verdict["stages"].as_array().expect("stages").iter().find(|s| s["path"][1] == "lint");
    assert!(lint.is_some_and(|lint| lint["candidate_s"].is_number()), "a job that did not run again still counts");

    let next = sha("another change");
    scene.tell_of(&service, "opened", &PullRequest::new(8, REPO, &next)).await;
    let mut run = of_change(3_003, &next, 5, 0);
    run.head_branch = "change-8".into();
    tell_run(&scene, &service, "completed", &run).await;
    scene.concluded(&next).await;
    assert_eq!(scene.verdict(&service, &next, &scene.token).await["baseline"]["runs"], PAST);
    service.terminate().await;
    scene.fake.finish();
}
