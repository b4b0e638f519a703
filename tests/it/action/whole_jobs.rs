//! From a slowed test case to the check that names it. Jobs run with the action, GitHub reports
//! them, and the service collects the action's artifacts and judges the runs.

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::artifact_service::ArtifactService;
use super::bundle::{assert_unharmed, exec, runner};
use super::recording::{Recording, job_of, run_of, times};
use super::runner::Job;
use crate::end_to_end::actions::install;
use crate::end_to_end::{DEADLINE, Database, Fixture, HISTORY, REPO, on_both};
use crate::fake_github::actions::WorkflowRun;
use crate::service::{Service, WEBHOOK_SECRET};
use crate::time::{eventually, now_seconds};
use crate::webhooks::{self, delivery, sha};

/// Tests can wait only for cases of a few seconds, so the smallest reported increase is low.
pub(super) const POLICY: &[u8] = b"defaults: {min_increase: 1500ms}\n";

/// A usual job of main, and a job of pull request 7 with one slower test case and another that is
/// faster by the same time. They run once for both databases.
pub(super) async fn recorded() -> &'static (Recording, Recording) {
    static RECORDED: OnceCell<(Recording, Recording)> = OnceCell::const_new();
    let record = async || {
        let usual = Recording::make(Job::new(REPO, 5_001, "test", &sha("usual")), 3.0, 0.4).await;
        let slow = Job::new(REPO, 5_002, "test", &sha("second of seven")).of_pull_request(7);
        (usual, Recording::make(slow, 0.4, 3.0).await)
    };
    RECORDED.get_or_init(record).await
}

/// The branch of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RunKind {
    Main,
    PullRequest,
    /// A pull request from a fork's branch with the name main.
    Fork,
}

/// Ends a run: adds it with its artifact to GitHub and delivers the event.
pub(super) async fn finish_run_with_artifact(
    fixture: &Fixture,
    service: &Service,
    recording: &Recording,
    of: RunKind,
) {
    recording.put_artifact(&fixture.fake);
    finish_run(fixture, service, recording.run(REPO), of).await;
}

/// Ends a run without artifact: adds it to GitHub and delivers the event.
pub(super) async fn finish_run(fixture: &Fixture, service: &Service, mut run: WorkflowRun, of: RunKind) {
    if of != RunKind::Main {
        "pull_request".clone_into(&mut run.event);
    }
    match of {
        RunKind::Main => {}
        RunKind::PullRequest => "change-7".clone_into(&mut run.head_branch),
        RunKind::Fork => "somebody/fork".clone_into(&mut run.head_repo),
    }
    fixture.fake.workflow_run(REPO, run.clone());
    let payload = webhooks::workflow_run("completed", &fixture.repository, &run);
    fixture.deliver(service, &delivery("workflow_run", &payload, WEBHOOK_SECRET)).await;
}

/// Thirty runs of main, the last one three hours ago.
pub(super) async fn history(fixture: &Fixture, service: &Service, usual: &Recording) {
    let now = now_seconds();
    for n in 0..u64::from(HISTORY) {
        let hours = i64::try_from(3 * (n + 1)).expect("small");
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let noise = 1.0 + 0.01 * ((n * 7 % 5) as f64 - 2.0);
        let run = usual.again(1_000 + n, &sha(&format!("main {n}")), now - hours * 3600, noise);
        finish_run_with_artifact(fixture, service, &run, RunKind::Main).await;
    }
    fixture.wait_for_runs(service, HISTORY as usize).await;
}

/// The paths of the stages with a finding, joined by slashes.
pub(super) fn blamed(verdict: &Value) -> Vec<String> {
    let stages = verdict["stages"].as_array().expect("stages").iter();
    let guilty = stages.filter(|stage| stage["verdict"] == "regressed" && stage["explained_by"].is_null());
    guilty.map(path).collect()
}

fn path(stage: &Value) -> String {
    let path: Vec<&str> =
        stage["path"].as_array().expect("a path").iter().filter_map(Value::as_str).collect();
    path.join(" / ")
}

on_both!(slow_test_case_is_named_inside_unchanged_step);
async fn slow_test_case_is_named_inside_unchanged_step(database: Database) {
    let (usual, slow) = recorded().await;
    let fixture = Fixture::new(database).await;
    fixture.fake.file(REPO, "main", ".github/pacegate.yml", POLICY);
    let service = fixture.builder.start().await;
    install(&fixture, &service).await;
    history(&fixture, &service, usual).await;
    // A fork's runs must not be part of the baseline, even if their archives name main.
    for n in 0..3 {
        let started_at = now_seconds() - 5400 + 60 * i64::try_from(n).expect("small");
        let mut run = slow.again(6_000 + n, &sha(&format!("of a fork {n}")), started_at, 1.0);
        run.archive.manifest["ref"] = json!("refs/heads/main");
        run.archive.manifest["event_name"] = json!("push");
        finish_run_with_artifact(&fixture, &service, &run, RunKind::Fork).await;
    }
    fixture.wait_for_runs(&service, HISTORY as usize + 3).await;

    let (first, second) = (sha("first of seven"), sha("second of seven"));
    fixture.deliver(&service, &fixture.pull_request("opened", 7, &first)).await;
    finish_run_with_artifact(
        &fixture,
        &service,
        &slow.again(5_003, &first, now_seconds() - 1800, 1.01),
        RunKind::PullRequest,
    )
    .await;
    fixture.concluded(&first).await;
    fixture.deliver(&service, &fixture.pull_request("synchronize", 7, &second)).await;
    finish_run_with_artifact(&fixture, &service, slow, RunKind::PullRequest).await;
    let check = fixture.concluded(&second).await;

    let (status, verdict) = fixture.api(&service, &format!("/commits/{second}/verdict")).await;
    assert_eq!((status, &verdict["verdict"]), (200, &json!("regressed")), "{verdict:#}");
    assert_eq!(verdict["baseline"]["runs"], HISTORY, "{:#}", verdict["baseline"]);
    let blamed = blamed(&verdict);
    assert!(
        blamed.iter().any(|path| path.contains("/ Run pytest /") && path.contains("test_checkout")),
        "{blamed:#?}"
    );
    assert!(!blamed.iter().any(|path| path.contains("test_cart")), "{blamed:#?}");
    let stages = verdict["stages"].as_array().expect("stages");
    let step = stages.iter().find(|stage| path(stage) == "CI / test / Run pytest").expect("the step");
    assert_eq!(step["verdict"], "pass", "the step has its usual duration: {step:#}");
    let shown = format!("{:?} {:?} {:?}", check.title, check.summary, check.text);
    assert!(shown.contains("checkout"), "{shown}");
    // The tree has the spans of every tool, each below the step that ran it.
    let paths: Vec<String> = stages.iter().map(path).collect();
    for wanted in
        ["Run npm run build / bundle / minify", "Run pacegate exec / deploy / migrate", "rounds half"]
    {
        assert!(paths.iter().any(|path| path.contains(wanted)), "no {wanted} in {paths:#?}");
    }
    assert_no_dead_task(&fixture, &service).await;
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(matrix_jobs_each_contribute_their_own_stages);
async fn matrix_jobs_each_contribute_their_own_stages(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    install(&fixture, &service).await;
    let (artifacts, head, mut jobs) = (ArtifactService::start().await, sha("a matrix"), Vec::new());
    for (n, node) in [(1, 18), (2, 20)] {
        let mut job = Job::new(REPO, 5_010, "test", &head);
        (job.check_run_id, job.matrix) = (Some(501_000 + n), json!({ "node": node }));
        job.runner_name = format!("GitHub Actions {n}");
        let mut runner = runner(job, &artifacts);
        runner.main();
        runner.run("Run make deploy", &exec());
        runner.post();
        assert_unharmed(&runner, &artifacts);
        jobs.push(job_of(&format!("test ({node})"), &times(&runner.steps)));
    }
    artifacts.finish();
    for artifact in artifacts.artifacts() {
        fixture.fake.put_artifact(artifact.run_id, &artifact.name, &artifact.zip);
    }
    finish_run(&fixture, &service, run_of(REPO, 5_010, &head, jobs), RunKind::Main).await;
    let stages = stages_of(&fixture, &service, &head).await;
    for node in [18, 20] {
        let wanted = format!("CI / test ({node}) / Run make deploy / deploy / migrate");
        assert!(stages.contains(&wanted), "no {wanted} in {stages:#?}");
    }
    assert_eq!(stages.iter().filter(|path| path.ends_with(" / migrate")).count(), 2, "{stages:#?}");
    assert_no_dead_task(&fixture, &service).await;
    fixture.fake.finish();
}

/// Fails if the service has a dead task.
pub(super) async fn assert_no_dead_task(fixture: &Fixture, service: &Service) {
    let answer = fixture.client.get(format!("{}/metrics", service.url())).send().await.expect("an answer");
    let text = answer.text().await.expect("a body");
    assert!(text.contains("pacegate_dead_jobs 0\n"), "{text}");
}

/// The stages of the only run of a commit, as paths.
pub(super) async fn stages_of(fixture: &Fixture, service: &Service, head: &str) -> Vec<String> {
    let id = eventually("the commit's run", DEADLINE, || async {
        let (_, body) = fixture.api(service, &format!("/runs?sha={head}")).await;
        body["runs"][0]["id"].as_str().map(str::to_owned)
    })
    .await;
    let (_, run) = fixture.api(service, &format!("/runs/{id}")).await;
    run["stages"].as_array().expect("stages").iter().map(path).collect()
}
