//! Accepted uploads: from a job with a grant, and from another CI with an ingest token.

use pacegate_ingest::ci_job::ids;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    Database, FastPath, Fixture, JOB, PUBLIC_URL, REPO, RUN, body, gzip, manifest, on_both, test_case,
};
use crate::end_to_end::DEADLINE;
use crate::fake_github::actions::WorkflowRun;
use crate::fake_github::state::Repository;
use crate::service::{Service, WEBHOOK_SECRET};
use crate::time::{eventually, now_seconds};
use crate::webhooks::{self, sha};

on_both!(simultaneous_jobs_on_new_service_all_get_grants);
async fn simultaneous_jobs_on_new_service_all_get_grants(database: Database) {
    let path = FastPath::new(database).await;
    let service = path.started().await;
    let url = format!("{}/api/v1/actions/grants", service.url());
    let mut jobs = JoinSet::new();
    for _ in 0..20 {
        let token = path.issuer.mint(PUBLIC_URL, json!({}));
        jobs.spawn(path.fixture.client.post(&url).bearer_auth(token).send());
    }
    for answer in jobs.join_all().await {
        assert_eq!(answer.expect("an answer").status(), 201);
    }
    assert_eq!(path.issuer.jwks_fetches(), 1);
}

on_both!(job_proves_identity_and_uploads_to_own_run);
async fn job_proves_identity_and_uploads_to_own_run(database: Database) {
    let path = FastPath::new(database).await;
    let service = path.started().await;
    let token = path.issuer.mint(PUBLIC_URL, json!({}));
    let (status, granted) = path.exchange(&service, &token).await;
    assert_eq!(status, 201, "{granted}");
    let said = ["repository", "run_id", "run_attempt", "check_run_id"].map(|name| granted[name].clone());
    assert_eq!(said, [json!(REPO), json!("5001"), json!(1), json!("6001")]);
    assert!(granted["expires_at"].as_str().is_some_and(|at| at.ends_with('Z')));
    let grant = granted["grant"].as_str().expect("a grant");

    let job = ids::job_span_id(JOB).to_string();
    let lines = [
        test_case("tests::fast", Some(&job), &[("vcs.repository.name", REPO)]),
        test_case("tests::slow", None, &[]),
        test_case("tests::elsewhere", Some(&job), &[("vcs.repository.name", "acme/another")]),
    ];
    let spans = gzip(lines.join("\n").as_bytes());
    let (status, taken) = path.upload(&service, grant, body(&manifest(json!({}), &spans), &spans)).await;
    assert_eq!((status, &taken["spans"], &taken["rejected"]), (202, &json!(2), &json!(1)), "{taken}");
    assert!(taken["message"].as_str().is_some_and(|text| text.contains("acme/another")), "{taken}");
    assert_eq!(
        taken["verdict_url"],
        Value::Null,
        "GitHub has not reported the run, and the token names a merge"
    );

    // A second upload with another job's token, of a branch. It names the branch's commit, so the
    // answer has a verdict URL.
    let of_branch =
        json!({ "event_name": "push", "ref": "refs/heads/main", "head_ref": "", "sha": sha("main") });
    let grant = path.grant(&service, of_branch).await;
    let none = gzip(b"");
    let (status, taken) = path.upload(&service, &grant, body(&manifest(json!({}), &none), &none)).await;
    let url = format!("{PUBLIC_URL}/api/v1/repos/{REPO}/commits/{}/verdict", sha("main"));
    assert_eq!(
        (status, &taken),
        (202, &json!({ "spans": 0, "rejected": 0, "message": null, "verdict_url": url }))
    );

    // A token without a job id still belongs to the run.
    let grant = path.grant(&service, json!({ "check_run_id": null })).await;
    let (status, _) = path.upload(&service, &grant, body(&manifest(json!({}), &spans), &spans)).await;
    assert_eq!(status, 202);
    let log = service.log().join("\n");
    for secret in [token.as_str(), grant.as_str()] {
        assert!(!log.contains(secret), "no secret is in the log");
    }
    service.terminate().await;
    path.fixture.fake.finish();
}

async fn run_of(fixture: &Fixture, service: &Service) -> Value {
    fixture.wait_for_runs(service, 1).await;
    let (_, runs) = fixture.api(service, "/runs").await;
    let id = runs["runs"][0]["id"].as_str().expect("a run").to_owned();
    fixture.api(service, &format!("/runs/{id}")).await.1
}

on_both!(manifest_describes_run_when_no_app_does);
async fn manifest_describes_run_when_no_app_does(database: Database) {
    let path = FastPath::new(database).await;
    // The App exists but is not installed on this repository. Only the token identifies it.
    let service = path.fixture.builder.clone().env("PACEGATE_SETTLE", "100ms").start().await;
    let job = ids::job_span_id(JOB).to_string();
    let spans = gzip(test_case("tests::slow", Some(&job), &[]).as_bytes());
    let over =
        json!({ "ref": "refs/heads/main", "event_name": "push", "matrix": { "os": "linux", "shard": 2 } });
    let token = path.fixture.token.clone();
    let (status, taken) = path.upload(&service, &token, body(&manifest(over, &spans), &spans)).await;
    assert_eq!((status, &taken["spans"]), (202, &json!(1)), "{taken}");
    let sha = sha("a merge of seven");
    assert!(taken["verdict_url"].as_str().is_some_and(|url| url.contains(&sha)), "{taken}");
    let run = run_of(&path.fixture, &service).await;
    let said = ["head_sha", "pipeline", "external_id", "result"].map(|name| run["run"][name].clone());
    assert_eq!(said, [json!(sha), json!("CI"), json!(RUN.to_string()), json!("success")], "{run}");
    assert_eq!(run["run"]["lineage"], json!({ "kind": "branch", "name": "main" }));
    let paths: Vec<_> =
        run["stages"].as_array().expect("stages").iter().map(|stage| &stage["path"]).collect();
    assert!(paths.contains(&&json!(["CI", "test (linux, 2)", "tests::slow"])), "{paths:?}");
    assert_eq!(run["run"]["trace_id"], json!(ids::trace_id(RUN, 1)));
    // Another job, which began earlier and failed. The run starts earlier and fails with it.
    let other = ids::job_span_id(JOB + 1);
    let failed = test_case("a step", Some(&other.to_string()), &[])
        .replace(r#""kind":1"#, r#""kind":1,"status":{"code":2}"#);
    let failed = gzip(failed.as_bytes());
    let over = json!({
        "ref": "refs/heads/main", "job": "lint", "check_run_id": (JOB + 1).to_string(), "job_span_id": other,
        "started_at_unix_nano": ((now_seconds() - 200) * 1_000_000_000).to_string(),
    });
    let (status, taken) = path.upload(&service, &token, body(&manifest(over, &failed), &failed)).await;
    assert_eq!(status, 202, "{taken}");
    let whole = eventually("the run of both jobs", DEADLINE, || async {
        let run = run_of(&path.fixture, &service).await;
        (run["run"]["result"] == "failure").then_some(run)
    });
    let run = whole.await;
    assert!(run["run"]["duration_ns"].as_i64().is_some_and(|ns| ns > 150_000_000_000), "{run}");
    assert_eq!(run["run"]["notes"], json!([]));
    // The token determines the repository, not the manifest.
    let of_another = manifest(json!({ "repository": "acme/another" }), &spans);
    let (status, refused) = path.upload(&service, &token, body(&of_another, &spans)).await;
    assert_eq!(status, 400, "{refused}");
    service.terminate().await;
    path.fixture.fake.finish();
}

on_both!(renamed_or_moved_repository_keeps_its_number);
async fn renamed_or_moved_repository_keeps_its_number(database: Database) {
    let path = FastPath::new(database).await;
    let service = path.started().await;
    // The name in the token may be outdated or belong to another repository. The number counts.
    let (status, granted) = path
        .exchange(&service, &path.issuer.mint(PUBLIC_URL, json!({ "repository": "acme/old-name" })))
        .await;
    assert_eq!((status, &granted["repository"]), (201, &json!(REPO)));
    let elsewhere = Repository::new(77, "acme/elsewhere");
    let payload = webhooks::installation("created", 99, &[&path.fixture.repository, &elsewhere]);
    path.fixture.fake.repository(99, elsewhere);
    path.fixture.deliver(&service, &webhooks::delivery("installation", &payload, WEBHOOK_SECRET)).await;
    path.fixture.wait_until_idle(&service, 0).await;
    let (status, granted) =
        path.exchange(&service, &path.issuer.mint(PUBLIC_URL, json!({ "repository_id": "77" }))).await;
    assert_eq!((status, &granted["repository"]), (201, &json!("acme/elsewhere")));
    service.terminate().await;
    path.fixture.fake.finish();
}

on_both!(uploaded_spans_nest_below_step_after_run_ends);
async fn uploaded_spans_nest_below_step_after_run_ends(database: Database) {
    let path = FastPath::new(database).await;
    let service = path.started().await;
    // The job of the valid claims began a minute ago. Its step contains the test case of half a
    // minute ago.
    let mut run = WorkflowRun::new(5_001, REPO, &sha("head of seven"), now_seconds() - 65);
    (run.event, run.head_branch) = ("pull_request".to_owned(), "change-7".to_owned());
    let run = run.job("test", 5, &[("Set up job", 1), ("Run npm test", 59)]);
    // The number that the fake gives to the first job of a run.
    let number = RUN * 100 + 1;
    let claims = json!({ "check_run_id": number.to_string() });
    let grant = path.grant(&service, claims).await;
    let main = [("vcs.ref.head.name", "main"), ("vcs.change.id", "9")];
    let spans = gzip(test_case("tests::slow", None, &main).as_bytes());
    let over = json!({ "check_run_id": number.to_string(), "job_span_id": ids::job_span_id(number) });
    let (status, taken) = path.upload(&service, &grant, body(&manifest(over, &spans), &spans)).await;
    assert_eq!((status, &taken["spans"]), (202, &json!(1)), "{taken}");
    path.fixture.fake.workflow_run(REPO, run.clone());
    let ended = webhooks::workflow_run("completed", &path.fixture.repository, &run);
    path.fixture.deliver(&service, &webhooks::delivery("workflow_run", &ended, WEBHOOK_SECRET)).await;
    let run = run_of(&path.fixture, &service).await;
    let paths: Vec<_> =
        run["stages"].as_array().expect("stages").iter().map(|stage| &stage["path"]).collect();
    assert!(paths.contains(&&json!(["CI", "test", "Run npm test", "tests::slow"])), "{paths:?}");
    // The run's commit and lineage come from GitHub, even if the span names a branch.
    assert_eq!(run["run"]["head_sha"], json!(sha("head of seven")));
    assert_ne!(run["run"]["lineage"]["kind"], "branch");
    service.terminate().await;
    path.fixture.fake.finish();
}
