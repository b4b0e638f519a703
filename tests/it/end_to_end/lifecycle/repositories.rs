//! Changes of a repository: it is renamed, transferred, archived, deleted, made private, or made
//! public again.

use super::super::{Database, Fixture, HISTORY, REPO, create_token, on_both};
use super::CLOSED;
use crate::fake_github::Side;
use crate::fake_github::state::{Installation, PullRequest};
use crate::webhooks::{self, sha};

on_both!(renamed_repository_keeps_history_and_comment);
async fn renamed_repository_keeps_history_and_comment(database: Database) {
    let mut fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let (before, after) = (sha("before the rename"), sha("after the rename"));
    fixture.deliver_pull_request_event(&service, "opened", &PullRequest::new(7, REPO, &before)).await;
    fixture.push(&service, &Fixture::slowed(7, &before, 30)).await;
    fixture.concluded(&before).await;
    fixture.wait_until_idle(&service, 1).await;
    let old = fixture.repository.clone();
    fixture.change(|repository| repository.name = "renamed".into());
    fixture.deliver_repository_event(&service, "renamed").await;
    fixture.wait_until_idle(&service, 1).await;
    assert_eq!(fixture.page(&service, "acme/renamed", Some(&fixture.token)).await.0, 200);
    let moved = (301, "/acme/renamed".to_owned());
    assert_eq!(fixture.page(&service, REPO, Some(&fixture.token)).await, moved);
    // Sent before the rename, delivered after it.
    fixture.deliver_event(&service, "push", &webhooks::push(&old, "main", &sha("late"))).await;
    fixture.wait_until_idle(&service, 1).await;
    assert_eq!(fixture.page(&service, REPO, Some(&fixture.token)).await, moved);

    fixture
        .deliver_pull_request_event(&service, "synchronize", &PullRequest::new(7, "acme/renamed", &after))
        .await;
    fixture.push(&service, &Fixture::slowed(7, &after, 10)).await;
    let title = fixture.concluded(&after).await.title.expect("a title");
    assert!(title.contains("integration-tests") && title.contains("confirmed"), "{title}");
    fixture.wait_until_idle(&service, 2).await;
    let comments = fixture.fake.comments("acme/renamed", 7);
    assert_eq!(comments.len(), 1, "the one from before the rename");
    assert!(comments[0].body.contains(&after[..7]), "{}", comments[0].body);
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(transferred_repository_keeps_history_and_revokes_old_tokens);
async fn transferred_repository_keeps_history_and_revokes_old_tokens(database: Database) {
    let mut fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let old = fixture.repository.clone();
    fixture.deliver_event(&service, "push", &webhooks::push(&old, "main", &sha("main 29"))).await;
    fixture.wait_until_idle(&service, 0).await;
    fixture.fake.installation(Installation::new(100, "umbrella"));
    fixture.change(|repository| {
        repository.owner = "umbrella".into();
        repository.installation = Some(100);
    });
    fixture.deliver_repository_event(&service, "transferred").await;
    fixture.wait_until_idle(&service, 0).await;
    let head = sha("of the new owner");
    let refused = fixture.post_spans(&service, &Fixture::slowed(7, &head, 20)).await;
    assert_eq!(refused.status(), 401, "the old owner's token");
    // Events of the old owner arrive last and change nothing.
    fixture.deliver_event(&service, "push", &webhooks::push(&old, "main", &sha("late"))).await;
    let removed = webhooks::installation_repositories("removed", 99, &[&old]);
    fixture.deliver_event(&service, "installation_repositories", &removed).await;
    let late = PullRequest::new(6, REPO, &sha("of the old owner"));
    let opened = webhooks::pull_request("opened", &old, &late);
    fixture.fake.pull_request("umbrella/my-app", PullRequest { head_repo: "umbrella/my-app".into(), ..late });
    fixture.deliver_event(&service, "pull_request", &opened).await;
    fixture.wait_for_check(&sha("of the old owner")).await;
    fixture.wait_until_idle(&service, 1).await;

    fixture.token = create_token(&fixture.builder, "umbrella/my-app");
    fixture
        .deliver_pull_request_event(&service, "opened", &PullRequest::new(7, "umbrella/my-app", &head))
        .await;
    fixture.push(&service, &Fixture::slowed(7, &head, 10)).await;
    fixture.concluded(&head).await;
    let verdict = fixture.verdict(&service, &head, &fixture.token).await;
    assert_eq!(
        (&verdict["repo"], &verdict["baseline"]["runs"]),
        (&"umbrella/my-app".into(), &HISTORY.into())
    );
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(archived_repository_is_left_alone_until_unarchived);
async fn archived_repository_is_left_alone_until_unarchived(database: Database) {
    let mut fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let head = sha("while it was archived");
    fixture.deliver_pull_request_event(&service, "opened", &PullRequest::new(7, REPO, &head)).await;
    fixture.wait_for_check(&head).await;
    fixture.wait_until_idle(&service, 1).await;
    // The refusal comes before the delivery.
    fixture.change(|repository| repository.archived = true);
    fixture.push(&service, &Fixture::slowed(7, &head, 30)).await;
    fixture.wait_for_runs(&service, HISTORY as usize + 1).await;
    fixture.wait_until_idle(&service, 1).await;
    assert_eq!(fixture.checks(&head)[0].status, "in_progress");
    fixture.deliver_repository_event(&service, "archived").await;
    fixture.wait_until_idle(&service, 1).await;
    let calls = fixture.fake.requests().len();
    fixture.push(&service, &Fixture::slowed(7, &head, 20)).await;
    fixture.wait_for_runs(&service, HISTORY as usize + 2).await;
    fixture.wait_until_idle(&service, 1).await;
    let asked: Vec<_> = fixture.fake.requests().split_off(calls).into_iter().map(|r| r.path).collect();
    assert_eq!(asked, [""; 0], "nothing is called");

    fixture.change(|repository| repository.archived = false);
    fixture.deliver_repository_event(&service, "unarchived").await;
    fixture.concluded(&head).await;
    fixture.wait_until_idle(&service, 1).await;
    assert_eq!((fixture.checks(&head).len(), fixture.fake.comments(REPO, 7).len()), (1, 1));
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(deleted_repository_is_closed_and_not_called);
async fn deleted_repository_is_closed_and_not_called(database: Database) {
    let mut fixture = Fixture::new(database).await;
    fixture.change(|repository| repository.private = false);
    fixture.builder = fixture.builder.clone().env("PACEGATE_PAGES", "public");
    let service = fixture.builder.start().await;
    let head = sha("waits");
    fixture.deliver_pull_request_event(&service, "opened", &PullRequest::new(7, REPO, &head)).await;
    fixture.wait_for_check(&head).await;
    fixture.wait_until_idle(&service, 1).await;
    fixture.page_becomes(&service, REPO, 200).await;
    fixture.change(|repository| repository.private = true);
    fixture.fake.change_repository(REPO, |repository| repository.installation = None);
    fixture.deliver_repository_event(&service, "deleted").await;
    fixture.page_becomes(&service, REPO, CLOSED).await;
    fixture.wait_until_idle(&service, 1).await;
    let calls = fixture.fake.requests().len();
    fixture.push(&service, &Fixture::slowed(7, &head, 10)).await;
    fixture.wait_for_runs(&service, 1).await;
    fixture.wait_until_idle(&service, 1).await;
    assert_eq!(fixture.fake.requests().len(), calls);
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(repository_made_private_closes_before_github_is_asked);
async fn repository_made_private_closes_before_github_is_asked(database: Database) {
    let mut fixture = Fixture::new(database).await;
    fixture.change(|repository| repository.private = false);
    fixture.builder = fixture.builder.clone().env("PACEGATE_PAGES", "public");
    let service = fixture.builder.start().await;
    fixture.deliver_repository_event(&service, "publicized").await;
    fixture.wait_until_idle(&service, 0).await;
    assert_eq!(fixture.page(&service, REPO, None).await.0, 200);
    let open = fixture.repository.clone();
    fixture.change(|repository| repository.private = true);
    let asked = fixture.fake.pause_at("GET", "/repos/acme/my-app", Side::BeforeWrite);
    fixture.deliver_repository_event(&service, "privatized").await;
    asked.reached().await;
    assert_eq!(fixture.page(&service, REPO, None).await.0, CLOSED);
    assert_eq!(
        fixture.page(&service, REPO, Some(&fixture.token)).await.0,
        200,
        "with the repository's token"
    );
    asked.release();
    // An event from its public time, delivered late.
    fixture.deliver_event(&service, "push", &webhooks::push(&open, "main", &sha("late"))).await;
    fixture.deliver_event(&service, "repository", &webhooks::repository("publicized", &open)).await;
    fixture.wait_until_idle(&service, 0).await;
    assert_eq!(fixture.page(&service, REPO, None).await.0, CLOSED);
    fixture.change(|repository| repository.private = false);
    fixture.deliver_repository_event(&service, "publicized").await;
    fixture.page_becomes(&service, REPO, 200).await;
    service.terminate().await;
    fixture.fake.finish();
}
