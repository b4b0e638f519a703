//! An Enterprise Server: all calls go below `/api/v3` of its own host, also for page 2 of a list.
//! The fake reports a call outside as a violation.

use super::{Database, Fixture, REPO, on_both};
use crate::fake_github::FakeGitHub;
use crate::webhooks::sha;

on_both!(enterprise_server_publishes_like_github_com);
async fn enterprise_server_publishes_like_github_com(database: Database) {
    let fixture = Fixture::on(FakeGitHub::enterprise_server().populated(REPO), database);
    assert!(fixture.fake.url().ends_with("/api/v3"));
    for number in 0..130 {
        fixture.fake.foreign_comment(REPO, 7, &format!("person-{number}"), None, "a remark");
    }
    let (first, second) = (sha("enterprise first"), sha("enterprise second"));
    let story = async |fixture: &Fixture| {
        let service = fixture.builder.start().await;
        fixture.push_history(&service).await;
        fixture.deliver(&service, &fixture.pull_request("opened", 7, &first)).await;
        fixture.push(&service, &Fixture::slowed(7, &first, 30)).await;
        fixture.deliver(&service, &fixture.pull_request("synchronize", 7, &second)).await;
        fixture.push(&service, &Fixture::slowed(7, &second, 10)).await;
        fixture.concluded(&second).await;
        fixture.wait_until_idle(&service, 2).await;
        service.terminate().await;
    };
    story(&fixture).await;
    let ours = || {
        let comments = fixture.fake.comments(REPO, 7);
        comments.into_iter().filter(|comment| comment.app_slug.is_some()).count()
    };
    assert_eq!((ours(), fixture.checks(&second).len()), (1, 1));
    fixture.fake.old_check_runs(REPO, &second, 120);

    // A service that lost its database finds its check run and comment on page 2.
    let calls = fixture.fake.requests().len();
    let anew = Fixture::on(fixture.fake, Database::sqlite());
    story(&anew).await;
    let second_pages = |operation: &str| {
        let requests = anew.fake.requests().split_off(calls);
        let of = requests.into_iter().filter(|r| r.operation.as_deref() == Some(operation));
        of.filter(|r| r.query.contains(&("page".into(), "2".into()))).count()
    };
    assert!(second_pages("checks/list-for-ref") > 0 && second_pages("issues/list-comments") > 0);
    let made = anew.checks(&second).iter().filter(|c| c.external_id == Some(format!("{second}:1"))).count();
    assert_eq!(made, 1, "the check run on page 2 is this evaluation's");
    let comments = anew.fake.comments(REPO, 7);
    assert_eq!(comments.iter().filter(|comment| comment.app_slug.is_some()).count(), 1);
    anew.fake.finish();
}
