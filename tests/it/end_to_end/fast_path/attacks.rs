//! Forged or misused tokens, grants and uploads are refused. None of them leads to a run or a
//! baseline.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pacegate_ingest::ci_job::ids;
use serde_json::{Value, json};

use super::super::DEADLINE;
use super::{Database, FastPath, JOB, PUBLIC_URL, REPO, RUN, body, gzip, manifest, on_both, test_case};
use crate::fake_github::keys;
use crate::fake_github::oidc::signed;
use crate::fake_github::state::PullRequest;
use crate::service::{Service, WEBHOOK_SECRET};
use crate::time::{eventually, now_seconds};
use crate::webhooks::{self, delivery, sha};

/// Waits for `count` log lines with one of these texts. Log lines arrive through a pipe.
async fn wait_for_log_lines(service: &Service, what: &[&str], count: usize) {
    let lines = || service.log().iter().filter(|line| what.iter().any(|what| line.contains(what))).count();
    eventually("a line for each refusal", DEADLINE, || async { (lines() >= count).then_some(()) }).await;
    assert_eq!(lines(), count);
}

async fn assert_no_run_stored(path: &FastPath, service: &Service) {
    path.fixture.wait_until_idle(service, 0).await;
    let (_, runs) = path.fixture.api(service, "/runs").await;
    assert_eq!(runs["runs"], json!([]));
}

on_both!(forged_or_misused_token_gets_no_grant);
async fn forged_or_misused_token_gets_no_grant(database: Database) {
    let path = FastPath::new(database).await;
    let service = path.started().await;
    let issuer = &path.issuer;
    let now = now_seconds();
    let mint = |claims: Value| issuer.mint(PUBLIC_URL, claims);
    let push = |event: &str| json!({ "event_name": event, "ref": "refs/heads/main", "head_ref": "" });
    let good = || issuer.good_claims(PUBLIC_URL);
    let header = |alg, kid: &str| Header { kid: Some(kid.to_owned()), ..Header::new(alg) };
    let public_pem = issuer.public_pem();
    let confused = EncodingKey::from_secret(public_pem.as_bytes());
    let confused =
        jsonwebtoken::encode(&header(Algorithm::HS256, "key-1"), &good(), &confused).expect("a JWT");
    let claims_of = |token: &str| token.split('.').nth(1).expect("claims").to_owned();
    // {"alg":"none","kid":"key-1"}
    let none = format!("eyJhbGciOiJub25lIiwia2lkIjoia2V5LTEifQ.{}.", claims_of(&mint(json!({}))));
    let forgeries = [
        ("another audience", 401, issuer.mint("https://other.example.com", json!({}))),
        ("GitHub's usual audience", 401, issuer.mint("https://github.com/acme", json!({}))),
        ("expired", 401, mint(json!({ "iat": now - 900, "exp": now - 90 }))),
        ("not yet valid", 401, mint(json!({ "iat": now + 120, "nbf": now + 120 }))),
        ("lives for a year", 401, mint(json!({ "exp": now + 365 * 86_400 }))),
        ("no identifier", 401, mint(json!({ "jti": null }))),
        ("the wrong key", 401, signed("key-1", keys::stranger(), good())),
        ("an unknown key", 401, signed("key-99", keys::stranger(), good())),
        ("HS256 with the public key", 401, confused),
        ("no signature", 401, none),
        ("another issuer", 401, mint(json!({ "iss": "https://token.actions.example.com" }))),
        ("no token", 401, "pgt_nothing".to_owned()),
        ("pull_request_target", 403, mint(push("pull_request_target"))),
        ("workflow_run", 403, mint(push("workflow_run"))),
        ("issue_comment", 403, mint(push("issue_comment"))),
        ("a repository without the App", 403, mint(json!({ "repository_id": "4242" }))),
    ];
    for (what, expected, token) in &forgeries {
        let (status, problem) = path.exchange(&service, token).await;
        assert_eq!(status, *expected, "{what}: {problem}");
        assert_eq!(problem["status"], *expected, "{what}: a problem");
    }
    wait_for_log_lines(&service, &["was refused", "got no grant"], forgeries.len()).await;

    let token = mint(json!({}));
    assert_eq!(path.exchange(&service, &token).await.0, 201);
    let (status, problem) = path.exchange(&service, &token).await;
    assert_eq!(status, 401, "replayed: {problem}");
    let again = mint(json!({ "jti": "the same", "run_id": "1" }));
    assert_eq!(path.exchange(&service, &again).await.0, 201);
    assert_eq!(path.exchange(&service, &mint(json!({ "jti": "the same", "run_id": "2" }))).await.0, 401);

    // GitHub gives a fork's job no token. If such a token exists, the service refuses it by
    // GitHub's data on the run.
    let mut pr = PullRequest::new(12, REPO, &sha("of a fork"));
    "somebody/my-app".clone_into(&mut pr.head_repo);
    path.fixture.fake.pull_request(REPO, pr.clone());
    let opened = webhooks::pull_request("opened", &path.fixture.repository, &pr);
    path.fixture.deliver(&service, &delivery("pull_request", &opened, WEBHOOK_SECRET)).await;
    eventually("its check", DEADLINE, || async {
        (!path.fixture.checks(&pr.head_sha).is_empty()).then_some(())
    })
    .await;
    let of_fork = json!({ "ref": "refs/pull/12/merge", "head_ref": "main" });
    let (status, problem) = path.exchange(&service, &mint(of_fork)).await;
    assert_eq!(status, 403, "{problem}");

    let grant = path.grant(&service, json!({})).await;
    path.fixture.fake.change_installation(99, |installation| installation.suspended = true);
    let suspended = webhooks::installation("suspend", 99, &[&path.fixture.repository]);
    path.fixture.deliver(&service, &delivery("installation", &suspended, WEBHOOK_SECRET)).await;
    path.fixture.wait_until_idle(&service, 1).await;
    assert_eq!(path.exchange(&service, &mint(json!({}))).await.0, 403, "suspended");
    let none = gzip(b"");
    let (status, _) = path.upload(&service, &grant, body(&manifest(json!({}), &none), &none)).await;
    assert_eq!(status, 401, "a grant does not outlive the installation");
    let (_, runs) = path.fixture.api(&service, "/runs").await;
    assert_eq!(runs["runs"], json!([]));
    let log = service.log().join("\n");
    assert!(forgeries.iter().all(|(_, _, token)| !log.contains(token.as_str())), "no token is in the log");
    service.terminate().await;
    path.fixture.fake.finish();
}

on_both!(false_or_inconsistent_upload_is_refused);
async fn false_or_inconsistent_upload_is_refused(database: Database) {
    let path = FastPath::new(database).await;
    let service = path.started().await;
    let main = [("vcs.ref.head.name", "main"), ("vcs.ref.head.revision", &*sha("main"))];
    let spans = gzip(test_case("a root of its own", None, &main).as_bytes());
    let upload_with = |over: Value| body(&manifest(over, &spans), &spans);
    let grant = path.grant(&service, json!({})).await;
    let mut longer = upload_with(json!({}));
    longer.extend(gzip(b"more"));
    let bomb = gzip(&vec![b' '; 300 << 20]);
    for (what, expected, sent) in [
        ("another run", 400, upload_with(json!({ "run_id": "5002" }))),
        ("another attempt", 400, upload_with(json!({ "run_attempt": 2 }))),
        ("another repository", 400, upload_with(json!({ "repository_id": "4242" }))),
        (
            "another job",
            400,
            upload_with(json!({ "check_run_id": "6002", "job_span_id": ids::job_span_id(6_002) })),
        ),
        ("another job's span", 400, upload_with(json!({ "job_span_id": ids::job_span_id(6_002) }))),
        ("another run's trace", 400, upload_with(json!({ "trace_id": ids::trace_id(5_002, 1) }))),
        ("another schema", 400, upload_with(json!({ "schema": 2 }))),
        (
            "a file of another name",
            400,
            upload_with(json!({ "files": [{ "name": "../x", "sha256": "", "bytes": 1 }] })),
        ),
        ("other bytes than its digest", 400, body(&manifest(json!({}), &spans), &gzip(b"{}"))),
        ("bytes behind its files", 400, longer),
        ("a manifest that inflates without end", 413, bomb.clone()),
        ("no gzip", 400, b"{}".to_vec()),
        ("nothing", 400, Vec::new()),
    ] {
        let (status, problem) = path.upload(&service, &grant, sent).await;
        assert_eq!(status, expected, "{what}: {problem}");
    }
    wait_for_log_lines(&service, &["a job's upload was refused"], 13).await;
    // Spans that inflate without end: the part within the limit may be accepted, the rest is
    // reported.
    let (status, taken) = path.upload(&service, &grant, body(&manifest(json!({}), &bomb), &bomb)).await;
    assert!((status == 202 && taken["spans"] == 0) || status == 400, "{status} {taken}");

    let url = format!("{}/api/v1/actions/traces", service.url());
    let send = |kind: &'static str, coding: &'static str| {
        let request = path.fixture.client.post(&url).bearer_auth(&grant).body(upload_with(json!({})));
        request.header("content-type", kind).header("content-encoding", coding).send()
    };
    assert_eq!(send("application/json", "gzip").await.expect("an answer").status(), 415);
    let zstd = send("application/jsonl", "zstd").await.expect("an answer");
    assert_eq!(zstd.status(), 415);
    assert!(zstd.text().await.expect("a problem").contains("Content-Encoding: gzip"));
    let got = path.fixture.client.get(&url).send().await.expect("an answer");
    assert_eq!(got.status(), 405);
    assert_eq!(got.headers()["content-type"], "application/problem+json");
    let (status, problem) = path.exchange(&service, "pgt_0000").await;
    assert_eq!(status, 401);
    assert!(problem.to_string().contains("/api/v1/actions/traces"), "{problem}");
    for wrong in ["pgg_", "pgg_0000000000000000000000000000000000000000000000", "pgt_x"] {
        assert_eq!(path.upload(&service, wrong, upload_with(json!({}))).await.0, 401, "{wrong}");
    }
    // A grant works for this route only.
    let otlp = path.fixture.client.post(format!("{}/v1/traces", service.url())).bearer_auth(&grant);
    let pushed = otlp.header("content-type", "application/json").body("{}").send().await.expect("an answer");
    assert_eq!(pushed.status(), 401);
    let read =
        path.fixture.client.get(format!("{}/api/v1/repos/{REPO}/runs", service.url())).bearer_auth(&grant);
    assert_eq!(read.send().await.expect("an answer").status(), 404);

    // A root that claims the base branch is placed below its job: GitHub alone describes the run.
    assert_eq!(path.upload(&service, &grant, upload_with(json!({}))).await.0, 202);
    let run_itself = test_case("the run", None, &[]).replace(
        &hex::encode(&<sha2::Sha256 as sha2::Digest>::digest("the run")[..8]),
        &ids::root_span_id(RUN, 1).to_string(),
    );
    let forged = gzip(run_itself.as_bytes());
    let (status, taken) = path.upload(&service, &grant, body(&manifest(json!({}), &forged), &forged)).await;
    assert_eq!((status, &taken["spans"], &taken["rejected"]), (202, &json!(0), &json!(1)), "{taken}");
    assert_no_run_stored(&path, &service).await;
    service.terminate().await;
    path.fixture.fake.finish();
}

on_both!(grant_allows_limited_number_of_uploads);
async fn grant_allows_limited_number_of_uploads(database: Database) {
    let path = FastPath::new(database).await;
    let service = path.started().await;
    let grant = path.grant(&service, json!({})).await;
    let spans = gzip(test_case("tests::one", Some(&ids::job_span_id(JOB).to_string()), &[]).as_bytes());
    let sent = body(&manifest(json!({}), &spans), &spans);
    for upload in 0..32 {
        assert_eq!(path.upload(&service, &grant, sent.clone()).await.0, 202, "{upload}");
    }
    let (status, problem) = path.upload(&service, &grant, sent.clone()).await;
    assert_eq!(status, 403, "{problem}");
    let next = path.grant(&service, json!({})).await;
    assert_eq!(path.upload(&service, &next, sent).await.0, 202, "another job's grant is its own");
    assert_no_run_stored(&path, &service).await;
    service.terminate().await;
    path.fixture.fake.finish();
}

on_both!(service_without_app_or_address_grants_nothing);
async fn service_without_app_or_address_grants_nothing(database: Database) {
    let path = FastPath::new(database).await;
    let local = ["APP_ID", "PRIVATE_KEY", "WEBHOOK_SECRET"]
        .iter()
        .fold(path.fixture.builder.clone(), |builder, name| {
            builder.without(&format!("PACEGATE_GITHUB_{name}"))
        });
    let nameless = path.fixture.builder.clone().without("PACEGATE_PUBLIC_URL");
    for (builder, said) in
        [(local.env("PACEGATE_NO_SETUP", "true"), "an ingest token"), (nameless, "set PACEGATE_PUBLIC_URL")]
    {
        let service = builder.start().await;
        let (status, problem) = path.exchange(&service, &path.issuer.mint(PUBLIC_URL, json!({}))).await;
        assert_eq!(status, 403);
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(said)), "{problem}");
        service.terminate().await;
    }
    assert_eq!(path.issuer.jwks_fetches(), 0);
    path.issuer.set_down(true);
    let service = path.started().await;
    let (status, problem) = path.exchange(&service, &path.issuer.mint(PUBLIC_URL, json!({}))).await;
    assert_eq!(status, 503, "{problem}");
    service.terminate().await;
    let wrong = path.fixture.builder.clone().env("PACEGATE_GITHUB_OIDC_ISSUER", "http://example.com");
    let output = wrong.run(&["serve"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("PACEGATE_GITHUB_OIDC_ISSUER"));
    path.fixture.fake.finish();
}
