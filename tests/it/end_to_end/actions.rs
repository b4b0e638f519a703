//! Verdicts without any sent span. After the installation, the service reads GitHub's own workflow
//! runs as the baseline, and judges the next pull request.

use super::{DEADLINE, Database, Fixture, REPO, on_both};
use crate::fake_github::Side;
use crate::fake_github::actions::WorkflowRun;
use crate::service::{Service, WEBHOOK_SECRET};
use crate::time::{eventually, now_seconds};
use crate::webhooks::{self, delivery, sha};

/// Green runs of main in the history.
pub(crate) const PAST: u64 = 45;

/// A run with times in whole seconds, as in GitHub's API. Steps of about a second take 0 or 1.
pub(crate) fn ci(id: u64, head: &str, started_at: i64, slower: i64) -> WorkflowRun {
    let noise = i64::try_from(id * 7 % 5).expect("small");
    let flips = i64::try_from(id % 2).expect("small");
    WorkflowRun::new(id, REPO, head, started_at)
        .job("lint", 3 + noise, &[("Set up job", 1), ("Run npm run lint", 20 + noise)])
        .job(
            "test",
            5 + noise * 9,
            &[
                ("Set up job", 1 + flips),
                ("Run actions/checkout@v4", flips),
                ("Run npm test", 60 + noise + slower),
                ("Post Run actions/checkout@v4", 1 - flips),
            ],
        )
}

/// Adds the history of main, and other runs that must never be part of a baseline.
pub(crate) fn add_history(fixture: &Fixture) {
    let now = now_seconds();
    for n in 0..PAST {
        let ago = i64::try_from(n + 1).expect("small") * 3 * 3600;
        fixture.fake.workflow_run(REPO, ci(1_000 - n, &sha(&format!("main {n}")), now - ago, 0));
    }
    let slow = |id, change: &dyn Fn(&mut WorkflowRun)| {
        let mut run = ci(id, &sha(&format!("not the baseline {id}")), now - 5_000, 600);
        change(&mut run);
        fixture.fake.workflow_run(REPO, run);
    };
    slow(2_001, &|run| run.attempt = 2);
    slow(2_002, &|run| run.event = "pull_request".into());
    slow(2_003, &|run| run.head_repo = "somebody/fork".into());
    slow(2_004, &|run| run.conclusion = Some("failure".to_owned()));
    slow(2_005, &|run| run.head_branch = "feature".into());
}

/// Adds a pull request's run that ended to GitHub, and delivers the event.
pub(crate) async fn finish_run(
    fixture: &Fixture,
    service: &Service,
    id: u64,
    head: &str,
    minutes: i64,
    slower: i64,
) {
    let mut run = ci(id, head, now_seconds() - minutes * 60, slower);
    run.event = "pull_request".into();
    run.head_branch = "change-7".into();
    fixture.fake.workflow_run(REPO, run.clone());
    let payload = webhooks::workflow_run("completed", &fixture.repository, &run);
    fixture.deliver(service, &delivery("workflow_run", &payload, WEBHOOK_SECRET)).await;
}

pub(crate) async fn install(fixture: &Fixture, service: &Service) {
    let payload = webhooks::installation("created", 99, &[&fixture.repository]);
    fixture.deliver(service, &delivery("installation", &payload, WEBHOOK_SECRET)).await;
}

async fn page(fixture: &Fixture, service: &Service) -> String {
    let request = fixture.client.get(format!("{}/{REPO}", service.url())).bearer_auth(&fixture.token);
    request.send().await.expect("an answer").text().await.expect("a page")
}

on_both!(installation_leads_to_verdict_from_actions_alone);
async fn installation_leads_to_verdict_from_actions_alone(database: Database) {
    let fixture = Fixture::new(database).await;
    add_history(&fixture);
    let service = fixture.builder.start().await;
    // The service is killed while it reads. The runs read before are kept and not fetched again.
    let pause = fixture.fake.pause_at("GET", "/runs/985/attempts/1/jobs", Side::AfterWrite);
    install(&fixture, &service).await;
    pause.reached().await;
    assert!(page(&fixture, &service).await.contains("History is being read: 0 of 200 runs of CI"));
    service.kill();
    pause.drop_connection();
    let service = fixture.builder.start().await;
    fixture.wait_for_runs(&service, usize::try_from(PAST).expect("small")).await;
    fixture.wait_until_idle(&service, 0).await;
    let fetched = fixture.fake.count_of("actions/list-jobs-for-workflow-run-attempt");
    assert_eq!(fetched, usize::try_from(PAST).expect("small") + 1, "only what was cut off is fetched twice");
    assert!(!page(&fixture, &service).await.contains("History is being read"));

    let (first, second) = (sha("first of seven"), sha("second of seven"));
    fixture.deliver(&service, &fixture.pull_request("opened", 7, &first)).await;
    finish_run(&fixture, &service, 3_001, &first, 30, 40).await;
    let check = fixture.concluded(&first).await;
    assert_eq!(check.conclusion.as_deref(), Some("neutral"), "{:?}", check.title);
    fixture.deliver(&service, &fixture.pull_request("synchronize", 7, &second)).await;
    finish_run(&fixture, &service, 3_002, &second, 10, 40).await;
    let title = fixture.concluded(&second).await.title.expect("a title");
    assert!(title.contains("npm test") && title.contains("confirmed"), "{title}");

    let (_, suspect) = fixture.api(&service, &format!("/commits/{first}/verdict?wait=30s")).await;
    assert_eq!(suspect["verdict"], "suspect");
    let (_, verdict) = fixture.api(&service, &format!("/commits/{second}/verdict?wait=30s")).await;
    assert_eq!((&verdict["verdict"], &verdict["baseline"]["runs"]), (&"regressed".into(), &PAST.into()));
    let of_stages = verdict["stages"].as_array().expect("stages");
    let blamed: Vec<_> = of_stages
        .iter()
        .filter(|stage| stage["verdict"] == "regressed" && stage["explained_by"].is_null())
        .map(|stage| stage["path"].clone())
        .collect();
    assert_eq!(blamed, [serde_json::json!(["CI", "test", "Run npm test"])]);
    // A second delivery of the same end causes no read, verdict or write.
    fixture.wait_until_idle(&service, 2).await;
    let writes = fixture.concluded(&second).await.writes;
    let mut repeated = ci(3_002, &second, now_seconds(), 40);
    repeated.event = "pull_request".into();
    let again = webhooks::workflow_run("completed", &fixture.repository, &repeated);
    fixture.deliver(&service, &delivery("workflow_run", &again, WEBHOOK_SECRET)).await;
    fixture.wait_until_idle(&service, 2).await;
    assert_eq!(fixture.concluded(&second).await.writes, writes);
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(fork_run_joins_pull_request_once_jobs_complete);
async fn fork_run_joins_pull_request_once_jobs_complete(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    let head = sha("of a fork");
    // GitHub knows the pull request, but its delivery has not come. Only GitHub's list names it.
    let mut pr = crate::fake_github::state::PullRequest::new(12, REPO, &head);
    (pr.head_ref, pr.head_repo) = ("main".to_owned(), "somebody/my-app".to_owned());
    fixture.fake.pull_request(REPO, pr);
    let mut run = ci(3_100, &head, now_seconds() - 200, 0);
    (run.event, run.head_repo) = ("pull_request".to_owned(), "somebody/my-app".to_owned());
    run.updated_at = now_seconds();
    let whole = run.clone();
    run.jobs[1].completed_at = None;
    fixture.fake.workflow_run(REPO, run.clone());
    let payload = webhooks::workflow_run("completed", &fixture.repository, &run);
    fixture.deliver(&service, &delivery("workflow_run", &payload, WEBHOOK_SECRET)).await;
    eventually("the request for the jobs", DEADLINE, || async {
        (fixture.fake.count_of("actions/list-jobs-for-workflow-run-attempt") > 0).then_some(())
    })
    .await;
    fixture.fake.workflow_run(REPO, whole);
    fixture.wait_for_runs(&service, 1).await;
    let (_, runs) = fixture.api(&service, "/runs").await;
    assert_eq!(runs["runs"][0]["lineage"], serde_json::json!({ "kind": "pull_request", "number": 12 }));
    fixture.wait_until_idle(&service, 0).await;
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(history_is_imported_from_command_line);
async fn history_is_imported_from_command_line(database: Database) {
    let fixture = Fixture::new(database).await;
    add_history(&fixture);
    let import = |builder: &crate::service::Builder, runs: &str| {
        let output = builder.run(&["import", REPO, "--runs", runs]);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let of_person = fixture
        .builder
        .clone()
        .env("PACEGATE_GITHUB_APP_ID", "")
        .env("PACEGATE_GITHUB_PRIVATE_KEY", "")
        .env("PACEGATE_GITHUB_WEBHOOK_SECRET", "");
    let (code, _, said) = import(&of_person, "30");
    assert_eq!(code, Some(2));
    assert!(said.contains("GITHUB_TOKEN"), "{said}");
    let of_person = of_person.env("GITHUB_TOKEN", &fixture.fake.personal_token(99));
    let (code, line, said) = import(&of_person, "30");
    assert_eq!(
        (code, line.as_str()),
        (Some(0), "acme/my-app: 30 runs of main are its baseline, 30 of them new (CI 30)\n"),
        "{said}"
    );
    let (code, line, said) = import(&fixture.builder, "200");
    let expected = "acme/my-app: 45 runs of main are its baseline, 15 of them new (CI 45)\n";
    assert_eq!((code, line.as_str()), (Some(0), expected), "{said}");
    let fetched = fixture.fake.count_of("actions/list-jobs-for-workflow-run-attempt");
    assert_eq!(fetched, usize::try_from(PAST).expect("small"), "nothing is fetched twice");
    let replay = fixture.builder.run(&["replay", "--repo", REPO, "--format", "json"]);
    assert_eq!(replay.status.code(), Some(0), "{}", String::from_utf8_lossy(&replay.stderr));
    fixture.fake.finish();
}
