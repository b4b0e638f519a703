//! The action's direct uploads. With the job's OIDC token no artifact is needed. With an ingest
//! token no GitHub App is needed, and the upload alone makes the run.

use serde_json::{Value, json};

use super::artifact_service::ArtifactService;
use super::bundle::{assert_unharmed, curl, pytest, runner};
use super::recording::{job_of, run_of, times};
use super::runner::{Access, Job};
use super::whole_jobs::{
    POLICY, RunKind, assert_no_dead_task, blamed, finish_run, finish_run_with_artifact, history, recorded,
};
use crate::end_to_end::actions::install;
use crate::end_to_end::{DEADLINE, Database, Fixture, REPO, create_token, on_both};
use crate::fake_github::actions::WorkflowRun;
use crate::fake_github::oidc::{Issuer, REQUEST_TOKEN};
use crate::service::{Service, WEBHOOK_SECRET};
use crate::time::{eventually, now_seconds};
use crate::webhooks::{self, delivery, sha};

/// A free address. The service needs to know its own address before it starts.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

on_both!(spans_sent_with_job_token_need_no_artifact);
async fn spans_sent_with_job_token_need_no_artifact(database: Database) {
    let (usual, slow) = recorded().await;
    let (mut fixture, issuer, address) =
        (Fixture::new(database).await, Issuer::start().await, free_address());
    let url = format!("http://{address}");
    for (name, value) in
        [("LISTEN", address.as_str()), ("PUBLIC_URL", &url), ("GITHUB_OIDC_ISSUER", issuer.url())]
    {
        fixture.builder = fixture.builder.env(&format!("PACEGATE_{name}"), value);
    }
    fixture.fake.file(REPO, "main", ".github/pacegate.yml", POLICY);
    let service = fixture.builder.start().await;
    install(&fixture, &service).await;
    history(&fixture, &service, usual).await;
    let (first, second) = (sha("first of seven"), sha("sent at once"));
    fixture.deliver(&service, &fixture.pull_request("opened", 7, &first)).await;
    finish_run_with_artifact(
        &fixture,
        &service,
        &slow.again(5_003, &first, now_seconds() - 1800, 1.01),
        RunKind::PullRequest,
    )
    .await;
    fixture.concluded(&first).await;
    let downloads = fixture.fake.artifact_downloads();

    let artifacts = ArtifactService::start().await;
    let mut job = Job::new(REPO, 5_030, "test", &second).of_pull_request(7).with("server-url", &url);
    job.id_tokens = Some(Access { url: issuer.request_url(), token: REQUEST_TOKEN.to_owned() });
    issuer.runner_claims(json!({ "run_id": "5030", "check_run_id": "503001", "sha": job.checked_out() }));
    fixture.deliver(&service, &fixture.pull_request("synchronize", 7, &second)).await;
    // GitHub announces a run before its first job begins.
    let mut began = WorkflowRun::new(5_030, REPO, &second, now_seconds());
    "in_progress".clone_into(&mut began.status);
    began.conclusion = None;
    begin(&fixture, &service, began).await;
    let mut runner = runner(job, &artifacts);
    runner.main();
    let step = runner.run("Run pytest", &pytest(0.4, 3.0));
    assert_eq!(step.code, Some(0), "{}", step.text());
    let post = runner.post().clone();
    assert_eq!(post.warnings(), [""; 0], "{}", post.text());
    assert_unharmed(&runner, &artifacts);
    let verdict_url = format!("{url}/api/v1/repos/{REPO}/commits/{second}/verdict");
    assert!(post.summary.contains(&verdict_url), "{}", post.summary);

    // GitHub has no artifact of this run.
    finish_run(
        &fixture,
        &service,
        run_of(REPO, 5_030, &second, vec![job_of("test", &times(&runner.steps))]),
        RunKind::PullRequest,
    )
    .await;
    let check = fixture.concluded(&second).await;
    let answer =
        fixture.client.get(&verdict_url).bearer_auth(&fixture.token).send().await.expect("an answer");
    let verdict: Value = answer.json().await.expect("JSON");
    assert_eq!(verdict["verdict"], "regressed", "{verdict:#}");
    let blamed = blamed(&verdict);
    assert!(blamed.iter().any(|path| path.contains("test_checkout")), "{blamed:#?} {:?}", check.title);
    assert_eq!(fixture.fake.artifact_downloads(), downloads, "nothing was fetched");
    let log = service.log().join("\n");
    assert!(!log.contains("eyJ") && !log.contains("pgg_"), "a secret is in the log:\n{log}");
    assert_no_dead_task(&fixture, &service).await;
    fixture.fake.finish();
}

async fn begin(fixture: &Fixture, service: &Service, mut run: WorkflowRun) {
    "pull_request".clone_into(&mut run.event);
    "change-7".clone_into(&mut run.head_branch);
    fixture.fake.workflow_run(REPO, run.clone());
    let payload = webhooks::workflow_run("in_progress", &fixture.repository, &run);
    fixture.deliver(service, &delivery("workflow_run", &payload, WEBHOOK_SECRET)).await;
}

on_both!(job_of_any_ci_sends_with_ingest_token);
async fn job_of_any_ci_sends_with_ingest_token(database: Database) {
    let builder = database.configure(Service::builder()).env("PACEGATE_SETTLE", "200ms");
    let token = create_token(&builder, REPO);
    let service = builder.start().await;
    let head = sha("a job of another CI");
    // Without an artifact service, a job number and OIDC tokens, as outside GitHub Actions.
    let artifacts = ArtifactService::start().await;
    let mut job = Job::new(REPO, 41, "build", &head).with("server-url", &service.url()).with("token", &token);
    (job.check_run_id, job.secrets) = (None, vec![token.clone()]);
    let mut runner = runner(job, &artifacts);
    runner.job.results = None;
    runner.main();
    runner.run("Run make", &curl(3, 10));
    let post = runner.post();
    assert_eq!(post.warnings().len(), 1, "only the artifact is missing: {}", post.text());
    assert_unharmed(&runner, &artifacts);
    let client = reqwest::Client::new();
    let run = eventually("the commit's run", DEADLINE, || async {
        let url = format!("{}/api/v1/repos/{REPO}/runs?sha={head}", service.url());
        let answer = client.get(url).bearer_auth(&token).send().await.expect("an answer");
        let body: Value = answer.json().await.expect("JSON");
        body["runs"].get(0).cloned()
    })
    .await;
    let id = run["id"].as_str().expect("an id");
    let url = format!("{}/api/v1/repos/{REPO}/runs/{id}", service.url());
    let answer = client.get(url).bearer_auth(&token).send().await.expect("an answer");
    let run: Value = answer.json().await.expect("JSON");
    assert!(run.to_string().contains("by hand"), "{run:#}");
}
