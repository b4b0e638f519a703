//! Verdicts without any sent span. After the installation, the service reads GitHub's own workflow
//! runs as the baseline, and judges the next pull request.

use super::{Database, PATIENCE, REPO, Scene, on_both};
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
pub(crate) fn past(scene: &Scene) {
    let now = now_seconds();
    for n in 0..PAST {
        let ago = i64::try_from(n + 1).expect("small") * 3 * 3600;
        scene.fake.workflow_run(REPO, ci(1_000 - n, &sha(&format!("main {n}")), now - ago, 0));
    }
    let slow = |id, change: &dyn Fn(&mut WorkflowRun)| {
        let mut run = ci(id, &sha(&format!("not the baseline {id}")), now - 5_000, 600);
        change(&mut run);
        scene.fake.workflow_run(REPO, run);
    };
    slow(2_001, &|run| run.attempt = 2);
    slow(2_002, &|run| run.event = "pull_request".into());
    slow(2_003, &|run| run.head_repo = "somebody/fork".into());
    slow(2_004, &|run| run.conclusion = Some("failure".to_owned()));
    slow(2_005, &|run| run.head_branch = "feature".into());
}

/// Adds a pull request's run that ended to GitHub, and delivers the event.
pub(crate) async fn ended(scene: &Scene, service: &Service, id: u64, head: &str, minutes: i64, slower: i64) {
    let mut run = ci(id, head, now_seconds() - minutes * 60, slower);
    run.event = "pull_request".into();
    run.head_branch = "change-7".into();
    scene.fake.workflow_run(REPO, run.clone());
    let payload = webhooks::workflow_run("completed", &scene.repository, &run);
    scene.deliver(service, &delivery("workflow_run", &payload, WEBHOOK_SECRET)).await;
}

pub(crate) async fn install(scene: &Scene, service: &Service) {
    let payload = webhooks::installation("created", 99, &[&scene.repository]);
    scene.deliver(service, &delivery("installation", &payload, WEBHOOK_SECRET)).await;
}

async fn page(scene: &Scene, service: &Service) -> String {
    let request = scene.client.get(format!("{}/{REPO}", service.url())).bearer_auth(&scene.token);
    request.send().await.expect("an answer").text().await.expect("a page")
}

on_both!(installation_leads_to_verdict_from_actions_alone);
async fn installation_leads_to_verdict_from_actions_alone(database: Database) {
    let scene = Scene::new(database).await;
    past(&scene);
    let service = scene.builder.start().await;
    // The service is killed while it reads. The runs read before are kept and not fetched again.
    let pause = scene.fake.pause_at("GET", "/runs/985/attempts/1/jobs", Side::AfterWrite);
    install(&scene, &service).await;
    pause.reached().await;
    assert!(page(&scene, &service).await.contains("History is being read: 0 of 200 runs of CI"));
    service.kill();
    pause.drop_connection();
    let service = scene.builder.start().await;
    scene.wait_for_runs(&service, usize::try_from(PAST).expect("small")).await;
    scene.quiet(&service, 0).await;
    let fetched = scene.fake.count_of("actions/list-jobs-for-workflow-run-attempt");
    assert_eq!(fetched, usize::try_from(PAST).expect("small") + 1, "only what was cut off is fetched twice");
    assert!(!page(&scene, &service).await.contains("History is being read"));

    let (first, second) = (sha("first of seven"), sha("second of seven"));
    scene.deliver(&service, &scene.pull_request("opened", 7, &first)).await;
    ended(&scene, &service, 3_001, &first, 30, 40).await;
    let check = scene.concluded(&first).await;
    assert_eq!(check.conclusion.as_deref(), Some("neutral"), "{:?}", check.title);
    scene.deliver(&service, &scene.pull_request("synchronize", 7, &second)).await;
    ended(&scene, &service, 3_002, &second, 10, 40).await;
    let title = scene.concluded(&second).await.title.expect("a title");
    assert!(title.contains("npm test") && title.contains("confirmed"), "{title}");

    let (_, suspect) = scene.api(&service, &format!("/commits/{first}/verdict?wait=30s")).await;
    assert_eq!(suspect["verdict"], "suspect");
    let (_, verdict) = scene.api(&service, &format!("/commits/{second}/verdict?wait=30s")).await;
    assert_eq!((&verdict["verdict"], &verdict["baseline"]["runs"]), (&"regressed".into(), &PAST.into()));
    let of_stages = verdict["stages"].as_array().expect("stages");
    let blamed: Vec<_> = of_stages
        .iter()
        .filter(|stage| stage["verdict"] == "regressed" && stage["explained_by"].is_null())
        .map(|stage| stage["path"].clone())
        .collect();
    assert_eq!(blamed, [serde_json::json!(["CI", "test", "Run npm test"])]);
    // A second delivery of the same end causes no read, verdict or write.
    scene.quiet(&service, 2).await;
    let writes = scene.concluded(&second).await.writes;
    let mut told = ci(3_002, &second, now_seconds(), 40);
    told.event = "pull_request".into();
    let again = webhooks::workflow_run("completed", &scene.repository, &told);
    scene.deliver(&service, &delivery("workflow_run", &again, WEBHOOK_SECRET)).await;
    scene.quiet(&service, 2).await;
    assert_eq!(scene.concluded(&second).await.writes, writes);
    service.terminate().await;
    scene.fake.finish();
}

on_both!(fork_run_joins_pull_request_once_jobs_complete);
async fn fork_run_joins_pull_request_once_jobs_complete(database: Database) {
    let scene = Scene::new(database).await;
    let service = scene.builder.start().await;
    let head = sha("of a fork");
    // GitHub knows the pull request, but its delivery has not come. Only GitHub's list names it.
    let mut pr = crate::fake_github::state::PullRequest::new(12, REPO, &head);
    (pr.head_ref, pr.head_repo) = ("main".to_owned(), "somebody/my-app".to_owned());
    scene.fake.pull_request(REPO, pr);
    let mut run = ci(3_100, &head, now_seconds() - 200, 0);
    (run.event, run.head_repo) = ("pull_request".to_owned(), "somebody/my-app".to_owned());
    run.updated_at = now_seconds();
    let whole = run.clone();
    run.jobs[1].completed_at = None;
    scene.fake.workflow_run(REPO, run.clone());
    let payload = webhooks::workflow_run("completed", &scene.repository, &run);
    scene.deliver(&service, &delivery("workflow_run", &payload, WEBHOOK_SECRET)).await;
    eventually("the request for the jobs", PATIENCE, || async {
        (scene.fake.count_of("actions/list-jobs-for-workflow-run-attempt") > 0).then_some(())
    })
    .await;
    scene.fake.workflow_run(REPO, whole);
    scene.wait_for_runs(&service, 1).await;
    let (_, runs) = scene.api(&service, "/runs").await;
    assert_eq!(runs["runs"][0]["lineage"], serde_json::json!({ "kind": "pull_request", "number": 12 }));
    scene.quiet(&service, 0).await;
    service.terminate().await;
    scene.fake.finish();
}

on_both!(history_is_imported_from_command_line);
async fn history_is_imported_from_command_line(database: Database) {
    let scene = Scene::new(database).await;
    past(&scene);
    let import = |builder: &crate::service::Builder, runs: &str| {
        let output = builder.run(&["import", REPO, "--runs", runs]);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let of_person = scene
        .builder
        .clone()
        .env("PACEGATE_GITHUB_APP_ID", "")
        .env("PACEGATE_GITHUB_PRIVATE_KEY", "")
        .env("PACEGATE_GITHUB_WEBHOOK_SECRET", "");
    let (code, _, said) = import(&of_person, "30");
    assert_eq!(code, Some(2));
    assert!(said.contains("GITHUB_TOKEN"), "{said}");
    let of_person = of_person.env("GITHUB_TOKEN", &scene.fake.personal_token(99));
    let (code, line, said) = import(&of_person, "30");
    assert_eq!(
        (code, line.as_str()),
        (Some(0), "acme/my-app: 30 runs of main are its baseline, 30 of them new (CI 30)\n"),
        "{said}"
    );
    let (code, line, said) = import(&scene.builder, "200");
    let expected = "acme/my-app: 45 runs of main are its baseline, 15 of them new (CI 45)\n";
    assert_eq!((code, line.as_str()), (Some(0), expected), "{said}");
    let fetched = scene.fake.count_of("actions/list-jobs-for-workflow-run-attempt");
    assert_eq!(fetched, usize::try_from(PAST).expect("small"), "nothing is fetched twice");
    let replay = scene.builder.run(&["replay", "--repo", REPO, "--format", "json"]);
    assert_eq!(replay.status.code(), Some(0), "{}", String::from_utf8_lossy(&replay.stderr));
    scene.fake.finish();
}
