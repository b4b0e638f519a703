//! Tests of the fake itself: it refuses and reports what GitHub would refuse, scopes are enforced,
//! lists have pages, and every fault has its documented effect.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::state::{PullRequest, Repository};
use super::{FakeGitHub, Fault, Matcher, Side, keys};
use crate::time::{eventually, now_seconds};

const REPO: &str = "octo-org/web";
const HEAD: &str = "1111111111111111111111111111111111111111";

async fn fake() -> FakeGitHub {
    let fake = FakeGitHub::with_repository(REPO).await;
    fake.pull_request(REPO, PullRequest::new(7, REPO, HEAD));
    fake
}

/// A JWT in the App's format. `claims` replace the valid claims.
pub(super) fn jwt(key: &keys::KeyPair, claims: &Value) -> String {
    let now = now_seconds();
    let good = json!({ "iss": 4711, "iat": now - 60, "exp": now + 540 });
    let claims = super::views::overlay(good, claims.clone());
    let key = EncodingKey::from_rsa_pem(key.private_pem.as_bytes()).expect("a key");
    jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key).expect("a JWT")
}

async fn try_send(
    fake: &FakeGitHub,
    bearer: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Result<Response, reqwest::Error> {
    let client = reqwest::Client::builder()
        .user_agent("pacegate-tests")
        .timeout(Duration::from_secs(20))
        .build()
        .expect("a client");
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = client.request(method, format!("{}{path}", fake.url())).bearer_auth(bearer);
    if let Some(body) = body {
        request = request.json(&body);
    }
    request.send().await
}

async fn send(
    fake: &FakeGitHub,
    bearer: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let response = try_send(fake, bearer, method, path, body).await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.expect("JSON"))
}

async fn token(fake: &FakeGitHub, body: Value) -> String {
    let jwt = jwt(keys::app(), &json!({}));
    let (status, answer) = send(fake, &jwt, "POST", "/app/installations/99/access_tokens", Some(body)).await;
    assert_eq!(status, 201, "{answer}");
    answer["token"].as_str().expect("a token").to_owned()
}

async fn full_token(fake: &FakeGitHub) -> String {
    token(fake, json!({ "repositories": ["web"] })).await
}

fn in_progress() -> Value {
    json!({ "name": "Pacegate", "head_sha": HEAD, "status": "in_progress", "started_at": "2026-01-01T00:00:00Z" })
}

fn annotations(count: usize) -> Value {
    let one = json!({
        "path": ".github/workflows/ci.yml", "start_line": 1, "end_line": 1,
        "annotation_level": "warning", "message": "slower",
    });
    json!({ "output": { "title": "t", "summary": "s", "annotations": vec![one; count] } })
}

#[tokio::test]
async fn every_read_matches_the_description() {
    let fake = fake().await;
    fake.file(REPO, "main", ".github/pacegate.yml", &b"version: 1\n".repeat(20));
    let jwt = jwt(keys::app(), &json!({}));
    for path in ["/app", "/app/installations/99", "/repos/octo-org/web/installation"] {
        assert_eq!(send(&fake, &jwt, "GET", path, None).await.0, 200, "{path}");
    }
    let token = full_token(&fake).await;
    assert_ne!(token.len(), 40);
    for path in ["", "/pulls/7", "/contents/.github/pacegate.yml?ref=main"] {
        let (status, body) = send(&fake, &token, "GET", &format!("/repos/octo-org/web{path}"), None).await;
        assert_eq!(status, 200, "{path}: {body}");
    }
    let path = format!("/repos/octo-org/web/commits/{HEAD}/pulls");
    let (_, pulls) = send(&fake, &token, "GET", &path, None).await;
    assert_eq!((&pulls[0]["number"], &pulls[0]["head"]["sha"]), (&json!(7), &json!(HEAD)));
    assert_eq!(send(&fake, &token, "GET", "/rate_limit", None).await.0, 200);
    assert_eq!(send(&fake, &token, "GET", "/repos/octo-org/web/contents/absent", None).await.0, 404);
    fake.finish();
}

#[tokio::test]
async fn check_run_is_created_updated_and_listed() {
    let fake = fake().await;
    let token = full_token(&fake).await;
    let (status, made) =
        send(&fake, &token, "POST", "/repos/octo-org/web/check-runs", Some(in_progress())).await;
    assert_eq!(
        (status, &made["status"], &made["pull_requests"][0]["number"]),
        (201, &json!("in_progress"), &json!(7))
    );
    let path = format!("/repos/octo-org/web/check-runs/{}", made["id"]);
    for _ in 0..2 {
        assert_eq!(send(&fake, &token, "PATCH", &path, Some(annotations(50))).await.0, 200);
    }
    let (_, done) = send(&fake, &token, "PATCH", &path, Some(json!({ "conclusion": "neutral" }))).await;
    assert_eq!((&done["status"], &done["output"]["annotations_count"]), (&json!("completed"), &json!(100)));
    let found =
        format!("/repos/octo-org/web/commits/{HEAD}/check-runs?check_name=Pacegate&app_id=4711&filter=all");
    let (_, listed) = send(&fake, &token, "GET", &found, None).await;
    assert_eq!((&listed["total_count"], &listed["check_runs"][0]["id"]), (&json!(1), &made["id"]));
    let [check] = &fake.check_runs()[..] else { panic!("one check run") };
    assert_eq!((check.writes, check.annotations.len(), check.title.as_deref()), (4, 100, Some("t")));
    fake.finish();
}

#[tokio::test]
async fn requests_against_description_are_refused_and_reported() {
    let fake = fake().await;
    let token = full_token(&fake).await;
    let long = "x".repeat(65_536);
    let too_long = json!({ "name": "n", "head_sha": HEAD, "output": { "title": "t", "summary": long } });
    let wrong = [
        (json!({ "name": "n", "head_sha": HEAD, "colour": "red" }), "colour"),
        (json!({ "name": "n", "head_sha": HEAD, "status": "completed" }), "conclusion"),
        (
            json!({ "name": "n", "head_sha": HEAD, "output": { "title": "t", "summary": "s", "icon": "x" } }),
            "icon",
        ),
        (json!({ "name": "n" }), "head_sha"),
        (json!({ "name": "n", "head_sha": HEAD, "status": "done" }), "done"),
        (json!({ "name": "n", "head_sha": HEAD, "started_at": "yesterday" }), "date-time"),
        (too_long, "65535"),
        (super::views::overlay(in_progress(), annotations(51)), "50"),
    ];
    for (body, part) in wrong {
        let (status, _) = send(&fake, &token, "POST", "/repos/octo-org/web/check-runs", Some(body)).await;
        let violations = fake.take_violations();
        assert_eq!(status, 422);
        assert!(violations.len() == 1 && violations[0].contains(part), "{part}: {violations:?}");
    }
    let patch = "/repos/octo-org/web/check-runs/1";
    for (body, part) in
        [(json!({ "status": "completed" }), "conclusion"), (json!({ "head_sha": HEAD }), "head_sha")]
    {
        assert_eq!(send(&fake, &token, "PATCH", patch, Some(body)).await.0, 422);
        let violations = fake.take_violations();
        assert!(violations.iter().any(|violation| violation.contains(part)), "{part}: {violations:?}");
    }
    let unknown = ["/repos/octo-org/web/labels", "/repos/octo-org/web/check-runs/1/tags"];
    for path in unknown {
        assert_eq!(send(&fake, &token, "GET", path, None).await.0, 404);
        assert!(fake.take_violations()[0].contains("no such route"));
    }
    send(&fake, &token, "GET", "/repos/octo-org/web/pulls/7?perpage=3", None).await;
    assert!(fake.take_violations()[0].contains("perpage"));
    assert!(fake.check_runs().is_empty());
    fake.finish();
}

#[tokio::test]
#[should_panic(expected = "GitHub would not have taken this")]
async fn violation_fails_test_when_fake_is_dropped() {
    let fake = fake().await;
    send(&fake, "nobody", "GET", "/unknown", None).await;
}

#[tokio::test]
#[should_panic(expected = "armed but never met")]
async fn unmet_fault_fails_the_test() {
    let fake = fake().await;
    fake.fault(Matcher::on("POST", "/check-runs"), Fault::BadGateway);
    fake.finish();
}

#[tokio::test]
async fn comment_is_written_under_app_name() {
    let fake = fake().await;
    let token = full_token(&fake).await;
    let path = "/repos/octo-org/web/issues/7/comments";
    let (status, made) = send(&fake, &token, "POST", path, Some(json!({ "body": "one" }))).await;
    assert_eq!(status, 201);
    assert_eq!((&made["user"]["login"], &made["user"]["type"]), (&json!("pacegate[bot]"), &json!("Bot")));
    assert_eq!(made["performed_via_github_app"]["id"], 4711);
    let comment = format!("/repos/octo-org/web/issues/comments/{}", made["id"]);
    assert_eq!(send(&fake, &token, "PATCH", &comment, Some(json!({ "body": "two" }))).await.0, 200);
    for (body, expected) in [("x".repeat(65_536), 200), ("x".repeat(65_537), 422), (" ".to_owned(), 422)] {
        assert_eq!(send(&fake, &token, "PATCH", &comment, Some(json!({ "body": body }))).await.0, expected);
    }
    assert_eq!(
        send(&fake, &token, "POST", "/repos/octo-org/web/issues/8/comments", Some(json!({ "body": "x" })))
            .await
            .0,
        404
    );
    assert_eq!(fake.comments(REPO, 7)[0].writes, 3);
    fake.finish();
}

#[tokio::test]
async fn lists_are_paginated() {
    let fake = fake().await;
    let token = full_token(&fake).await;
    for number in 0..5 {
        fake.foreign_comment(REPO, 7, "someone", None, &format!("comment {number}"));
    }
    let mut next = Some("/repos/octo-org/web/issues/7/comments?per_page=2".to_owned());
    let mut seen = Vec::new();
    while let Some(path) = next.take() {
        let response = try_send(&fake, &token, "GET", &path, None).await.expect("an answer");
        let link =
            response.headers().get("link").map(|v| v.to_str().expect("text").to_owned()).unwrap_or_default();
        let relative = |part: &str| {
            part.split_once("rel=\"next\"").map(|(url, _)| url.trim_matches([' ', '<', '>', ';']).to_owned())
        };
        next = link.split(',').find_map(relative).map(|url| url.replace(&fake.url(), ""));
        let page: Vec<Value> = response.json().await.expect("JSON");
        assert!(page.len() <= 2);
        seen.extend(page.into_iter().map(|comment| comment["body"].as_str().expect("text").to_owned()));
    }
    assert_eq!(seen, (0..5).map(|n| format!("comment {n}")).collect::<Vec<_>>());
    fake.finish();
}

#[tokio::test]
async fn jwt_is_verified_against_key_and_clock() {
    let fake = fake().await;
    let now = now_seconds();
    let wrong = [
        jwt(keys::stranger(), &json!({})),
        jwt(keys::app(), &json!({ "iss": 1 })),
        jwt(keys::app(), &json!({ "iat": now + 30 })),
        jwt(keys::app(), &json!({ "exp": now + 700 })),
        jwt(keys::app(), &json!({ "exp": now - 1 })),
        "nonsense".to_owned(),
    ];
    for jwt in wrong {
        let path = "/app/installations/99/access_tokens";
        assert_eq!(send(&fake, &jwt, "POST", path, Some(json!({}))).await.0, 401);
    }
    let as_text = jwt(keys::app(), &json!({ "iss": "4711" }));
    assert_eq!(send(&fake, &as_text, "GET", "/app", None).await.0, 200);
    assert!(fake.tokens().is_empty());
    fake.finish();
}

#[tokio::test]
async fn token_is_limited_to_repository_and_permissions() {
    let fake = fake().await;
    fake.repository(99, Repository::new(2, "octo-org/other"));
    fake.repository(99, Repository { private: false, ..Repository::new(3, "octo-org/open") });
    let narrow = json!({ "repository_ids": [1_296_269], "permissions": { "checks": "write" } });
    let token = token(&fake, narrow).await;
    let minted = &fake.tokens()[0];
    assert_eq!(minted.requested_repositories, Some(json!([1_296_269])));
    assert_eq!(minted.requested_permissions.as_ref().map(|p| p["checks"].as_str()), Some("write"));
    for (method, path, body, expected) in [
        ("GET", "/repos/octo-org/web", None, 200),
        ("GET", "/repos/octo-org/other", None, 404),
        ("POST", "/repos/octo-org/other/check-runs", Some(in_progress()), 404),
        ("POST", "/repos/octo-org/open/check-runs", Some(in_progress()), 403),
        ("POST", "/repos/octo-org/web/check-runs", Some(in_progress()), 201),
        ("POST", "/repos/octo-org/web/issues/7/comments", Some(json!({ "body": "x" })), 403),
        ("GET", "/repos/octo-org/web/contents/x", None, 403),
    ] {
        assert_eq!(send(&fake, &token, method, path, body).await.0, expected, "{method} {path}");
    }
    let jwt = jwt(keys::app(), &json!({}));
    for body in [json!({ "repositories": ["absent"] }), json!({ "permissions": { "actions": "write" } })] {
        let path = "/app/installations/99/access_tokens";
        assert_eq!(send(&fake, &jwt, "POST", path, Some(body)).await.0, 422);
    }
    fake.revoke_tokens();
    assert_eq!(send(&fake, &token, "GET", "/repos/octo-org/web", None).await.0, 401);
    fake.finish();
}

#[tokio::test]
async fn suspended_or_narrowed_installation_gives_no_access() {
    let fake = fake().await;
    let token = full_token(&fake).await;
    fake.change_repository(REPO, |repository| repository.installation = None);
    assert_eq!(send(&fake, &token, "GET", "/repos/octo-org/web", None).await.0, 404);
    fake.change_repository(REPO, |repository| repository.installation = Some(99));
    fake.change_installation(99, |installation| installation.suspended = true);
    assert_eq!(send(&fake, &token, "GET", "/repos/octo-org/web", None).await.0, 403);
    fake.finish();
}

#[tokio::test]
async fn faults_answer_like_github() {
    let fake = fake().await;
    let token = full_token(&fake).await;
    let reset = now_seconds() + 90;
    let faults = [
        (Fault::Forbidden { retry_after: Some(7) }, 403, Some(("retry-after", "7".to_owned()))),
        (Fault::Forbidden { retry_after: None }, 403, None),
        (Fault::SecondaryLimit, 429, None),
        (Fault::RateLimited { reset }, 403, Some(("x-ratelimit-reset", reset.to_string()))),
        (Fault::BadGateway, 502, None),
        (Fault::Unauthorized, 401, None),
    ];
    let path = "/repos/octo-org/web/check-runs";
    for (fault, status, header) in faults {
        fake.fault(Matcher::on("POST", "/check-runs"), fault);
        let answer = try_send(&fake, &token, "POST", path, Some(in_progress())).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{fault:?}");
        if let Some((name, value)) = header {
            assert_eq!(answer.headers()[name].to_str().ok(), Some(value.as_str()));
        }
    }
    assert!(fake.check_runs().is_empty());
    let wrong = fake.take_violations();
    assert_eq!(wrong.iter().filter(|w| w.contains("was to wait")).count(), 5, "later writes: {wrong:?}");
    fake.clear_waits();
    fake.fault(Matcher::on("POST", "/check-runs").nth(2).times(2), Fault::BadGateway);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(send_status(&fake, &token, path).await);
    }
    assert_eq!(statuses, [201, 502, 502, 201]);
    fake.finish();
}

async fn send_status(fake: &FakeGitHub, token: &str, path: &str) -> StatusCode {
    try_send(fake, token, "POST", path, Some(in_progress())).await.expect("an answer").status()
}

#[tokio::test]
async fn lost_answer_leaves_write_done_or_undone() {
    let fake = fake().await;
    let token = full_token(&fake).await;
    let path = "/repos/octo-org/web/check-runs";
    for (fault, written) in [(Fault::DropConnection, 0), (Fault::DropAfterWrite, 1)] {
        fake.fault(Matcher::on("POST", "/check-runs"), fault);
        assert!(try_send(&fake, &token, "POST", path, Some(in_progress())).await.is_err(), "{fault:?}");
        assert_eq!(fake.check_runs().len(), written, "{fault:?}");
    }
    for (fault, written) in [(Fault::TimeoutBeforeWrite, 1), (Fault::TimeoutAfterWrite, 2)] {
        fake.fault(Matcher::on("POST", "/check-runs"), fault);
        let before = fake.count_of("checks/create");
        let waiting = try_send(&fake, &token, "POST", path, Some(in_progress()));
        let came = eventually("the request to arrive", Duration::from_secs(20), || async {
            (fake.count_of("checks/create") > before && fake.check_runs().len() == written).then_some(())
        });
        tokio::select! {
            answer = waiting => panic!("{fault:?} was answered: {answer:?}"),
            () = came => {}
        }
    }
    let requests = fake.requests();
    let last = requests.last().expect("a request");
    assert_eq!((last.method.as_str(), last.path.as_str(), last.status), ("POST", path, None));
    assert!(last.query.is_empty() && last.body.as_ref() == Some(&in_progress()));
    fake.finish();
}

#[tokio::test]
async fn request_is_held_before_or_after_write() {
    let fake = fake().await;
    let token = full_token(&fake).await;
    let path = "/repos/octo-org/web/check-runs";
    for (side, at_hold, at_end) in [(Side::BeforeWrite, 0, 1), (Side::AfterWrite, 2, 2)] {
        let pause = fake.pause_at("POST", "/check-runs", side);
        let test = async {
            pause.reached().await;
            assert_eq!(fake.check_runs().len(), at_hold, "{side:?}");
            pause.release();
        };
        let (status, ()) = tokio::join!(send_status(&fake, &token, path), test);
        assert_eq!((status.as_u16(), fake.check_runs().len()), (201, at_end));
    }
    let pause = fake.pause_at("POST", "/check-runs", Side::BeforeWrite);
    let test = async {
        pause.reached().await;
        pause.drop_connection();
    };
    let (answer, ()) = tokio::join!(try_send(&fake, &token, "POST", path, Some(in_progress())), test);
    assert!(answer.is_err());
    assert_eq!(fake.check_runs().len(), 2);
    fake.finish();
}
