//! The library of the production client against the fake. octocrab's own types parse the answers,
//! and a scoped token runs through check and comment.

use octocrab::Octocrab;
use octocrab::models::InstallationToken;
use serde_json::{Value, json};

use super::state::PullRequest;
use super::tests::jwt;
use super::{FakeGitHub, Fault, Matcher, keys};

const REPO: &str = "octo-org/web";
const HEAD: &str = "2222222222222222222222222222222222222222";

async fn fake() -> FakeGitHub {
    let fake = FakeGitHub::with_repository(REPO).await;
    fake.pull_request(REPO, PullRequest::new(7, REPO, HEAD));
    fake
}

fn with_bearer(fake: &FakeGitHub, bearer: String) -> Octocrab {
    let builder = Octocrab::builder().base_uri(fake.url()).expect("an address");
    builder.personal_token(bearer).build().expect("a client")
}

fn as_app(fake: &FakeGitHub) -> Octocrab {
    with_bearer(fake, jwt(keys::app(), &json!({})))
}

async fn as_installation(fake: &FakeGitHub, permissions: Value) -> Octocrab {
    let body = json!({ "repositories": ["web"], "permissions": permissions });
    let token: InstallationToken =
        as_app(fake).post("/app/installations/99/access_tokens", Some(&body)).await.expect("a token");
    with_bearer(fake, token.token)
}

#[tokio::test]
async fn octocrab_parses_every_kind_of_answer() {
    let fake = fake().await;
    fake.file(REPO, "main", ".github/pacegate.yml", b"version: 1\n");
    let app = as_app(&fake);
    assert_eq!(app.current().app().await.expect("the App").slug.as_deref(), Some("pacegate"));
    let installation =
        app.apps().get_repository_installation("octo-org", "web").await.expect("an installation");
    assert_eq!(installation.id.0, 99);

    let scope = json!({ "checks": "write", "pull_requests": "write", "contents": "read" });
    let client = as_installation(&fake, scope).await;
    let repository = client.repos("octo-org", "web").get().await.expect("a repository");
    assert_eq!((repository.id.0, repository.default_branch.as_deref()), (1_296_269, Some("main")));
    let pr = client.pulls("octo-org", "web").get(7).await.expect("a pull request");
    assert_eq!((pr.number, pr.head.sha.as_str()), (7, HEAD));
    let repos = client.repos("octo-org", "web");
    let file = repos.get_content().path(".github/pacegate.yml").r#ref("main").send();
    let content = file.await.expect("a file").take_items().remove(0).decoded_content();
    assert_eq!(content.as_deref(), Some("version: 1\n"));

    let checks = client.checks("octo-org", "web");
    let made = checks.create_check_run("Pacegate", HEAD).send().await.expect("a check run");
    let listed =
        checks.list_check_runs_for_git_ref(octocrab::params::repos::Commitish(HEAD.to_owned())).send();
    assert_eq!(listed.await.expect("check runs").check_runs[0].id, made.id);

    let issues = client.issues("octo-org", "web");
    let comment = issues.create_comment(7, "one").await.expect("a comment");
    // Not `update_comment`: it sends a POST, which is not in GitHub's description.
    let path = format!("/repos/octo-org/web/issues/comments/{}", comment.id);
    let changed: Value = client.patch(path, Some(&json!({ "body": "two" }))).await.expect("a comment");
    assert_eq!(changed["body"], "two");
    let comments = issues.list_comments(7).send().await.expect("comments");
    assert_eq!(comments.items[0].body.as_deref(), Some("two"));
    assert_eq!(comments.items[0].user.login, "pacegate[bot]");
    fake.finish();
}

#[tokio::test]
async fn octocrab_reports_refusal_as_error() {
    let fake = fake().await;
    let client = as_installation(&fake, json!({ "checks": "read" })).await;
    let refused = client.issues("octo-org", "web").create_comment(7, "x").await;
    let Err(octocrab::Error::GitHub { source, .. }) = refused else {
        panic!("expected a refusal: {refused:?}")
    };
    assert_eq!(source.status_code.as_u16(), 403);
    fake.fault(Matcher::on("GET", "/repos/octo-org/web"), Fault::SecondaryLimit);
    assert!(client.repos("octo-org", "web").get().await.is_err());
    fake.finish();
}
