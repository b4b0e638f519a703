//! Changes of a repository: it is renamed, transferred, archived, deleted, made private, or made
//! public again.

use super::super::{Database, HISTORY, REPO, Scene, create_token, on_both};
use super::CLOSED;
use crate::fake_github::Side;
use crate::fake_github::state::{Installation, PullRequest};
use crate::webhooks::{self, sha};

on_both!(renamed_repository_keeps_history_and_comment);
async fn renamed_repository_keeps_history_and_comment(database: Database) {
    let mut scene = Scene::new(database).await;
    let service = scene.builder.start().await;
    scene.push_history(&service).await;
    let (before, after) = (sha("before the rename"), sha("after the rename"));
    scene.tell_of(&service, "opened", &PullRequest::new(7, REPO, &before)).await;
    scene.push(&service, &Scene::slowed(7, &before, 30)).await;
    scene.concluded(&before).await;
    scene.quiet(&service, 1).await;
    let old = scene.repository.clone();
    scene.change(|repository| repository.name = "renamed".into());
    scene.tell_of_repository(&service, "renamed").await;
    scene.quiet(&service, 1).await;
    assert_eq!(scene.page(&service, "acme/renamed", Some(&scene.token)).await.0, 200);
    let moved = (301, "/acme/renamed".to_owned());
    assert_eq!(scene.page(&service, REPO, Some(&scene.token)).await, moved);
    // Sent before the rename, delivered after it.
    scene.tell(&service, "push", &webhooks::push(&old, "main", &sha("late"))).await;
    scene.quiet(&service, 1).await;
    assert_eq!(scene.page(&service, REPO, Some(&scene.token)).await, moved);

    scene.tell_of(&service, "synchronize", &PullRequest::new(7, "acme/renamed", &after)).await;
    scene.push(&service, &Scene::slowed(7, &after, 10)).await;
    let title = scene.concluded(&after).await.title.expect("a title");
    assert!(title.contains("integration-tests") && title.contains("confirmed"), "{title}");
    scene.quiet(&service, 2).await;
    let comments = scene.fake.comments("acme/renamed", 7);
    assert_eq!(comments.len(), 1, "the one from before the rename");
    assert!(comments[0].body.contains(&after[..7]), "{}", comments[0].body);
    service.terminate().await;
    scene.fake.finish();
}

on_both!(transferred_repository_keeps_history_and_revokes_old_tokens);
async fn transferred_repository_keeps_history_and_revokes_old_tokens(database: Database) {
    let mut scene = Scene::new(database).await;
    let service = scene.builder.start().await;
    scene.push_history(&service).await;
    let old = scene.repository.clone();
    scene.tell(&service, "push", &webhooks::push(&old, "main", &sha("main 29"))).await;
    scene.quiet(&service, 0).await;
    scene.fake.installation(Installation::new(100, "umbrella"));
    scene.change(|repository| {
        repository.owner = "umbrella".into();
        repository.installation = Some(100);
    });
    scene.tell_of_repository(&service, "transferred").await;
    scene.quiet(&service, 0).await;
    let head = sha("of the new owner");
    let refused = scene.post_spans(&service, &Scene::slowed(7, &head, 20)).await;
    assert_eq!(refused.status(), 401, "the old owner's token");
    // Events of the old owner arrive last and change nothing.
    scene.tell(&service, "push", &webhooks::push(&old, "main", &sha("late"))).await;
    let removed = webhooks::installation_repositories("removed", 99, &[&old]);
    scene.tell(&service, "installation_repositories", &removed).await;
    let late = PullRequest::new(6, REPO, &sha("of the old owner"));
    let opened = webhooks::pull_request("opened", &old, &late);
    scene.fake.pull_request("umbrella/my-app", PullRequest { head_repo: "umbrella/my-app".into(), ..late });
    scene.tell(&service, "pull_request", &opened).await;
    scene.announced(&sha("of the old owner")).await;
    scene.quiet(&service, 1).await;

    scene.token = create_token(&scene.builder, "umbrella/my-app");
    scene.tell_of(&service, "opened", &PullRequest::new(7, "umbrella/my-app", &head)).await;
    scene.push(&service, &Scene::slowed(7, &head, 10)).await;
    scene.concluded(&head).await;
    let verdict = scene.verdict(&service, &head, &scene.token).await;
    assert_eq!(
        (&verdict["repo"], &verdict["baseline"]["runs"]),
        (&"umbrella/my-app".into(), &HISTORY.into())
    );
    service.terminate().await;
    scene.fake.finish();
}

on_both!(archived_repository_is_left_alone_until_unarchived);
async fn archived_repository_is_left_alone_until_unarchived(
    database: Database,
) {
    let mut scene = Scene::new(database).await;
    let service = scene.builder.start().await;
    scene.push_history(&service).await;
    let head = sha("while it was archived");
    scene.tell_of(&service, "opened", &PullRequest::new(7, REPO, &head)).await;
    scene.announced(&head).await;
    scene.quiet(&service, 1).await;
    // The refusal comes before the delivery.
    scene.change(|repository| repository.archived = true);
    scene.push(&service, &Scene::slowed(7, &head, 30)).await;
    scene.wait_for_runs(&service, HISTORY as usize + 1).await;
    scene.quiet(&service, 1).await;
    assert_eq!(scene.checks(&head)[0].status, "in_progress");
    scene.tell_of_repository(&service, "archived").await;
    scene.quiet(&service, 1).await;
    let calls = scene.fake.requests().len();
    scene.push(&service, &Scene::slowed(7, &head, 20)).await;
    scene.wait_for_runs(&service, HISTORY as usize + 2).await;
    scene.quiet(&service, 1).await;
    let asked: Vec<_> = scene.fake.requests().split_off(calls).into_iter().map(|r| r.path).collect();
    assert_eq!(asked, [""; 0], "nothing is called");

    scene.change(|repository| repository.archived = false);
    scene.tell_of_repository(&service, "unarchived").await;
    scene.concluded(&head).await;
    scene.quiet(&service, 1).await;
    assert_eq!((scene.checks(&head).len(), scene.fake.comments(REPO, 7).len()), (1, 1));
    service.terminate().await;
    scene.fake.finish();
}

on_both!(deleted_repository_is_closed_and_not_called);
async fn deleted_repository_is_closed_and_not_called(database: Database) {
    let mut scene = Scene::new(database).await;
    scene.change(|repository| repository.private = false);
    scene.builder = scene.builder.clone().env("PACEGATE_PAGES", "public");
    let service = scene.builder.start().await;
    let head = sha("waits");
    scene.tell_of(&service, "opened", &PullRequest::new(7, REPO, &head)).await;
    scene.announced(&head).await;
    scene.quiet(&service, 1).await;
    scene.page_becomes(&service, REPO, 200).await;
    scene.change(|repository| repository.private = true);
    scene.fake.change_repository(REPO, |repository| repository.installation = None);
    scene.tell_of_repository(&service, "deleted").await;
    scene.page_becomes(&service, REPO, CLOSED).await;
    scene.quiet(&service, 1).await;
    let calls = scene.fake.requests().len();
    scene.push(&service, &Scene::slowed(7, &head, 10)).await;
    scene.wait_for_runs(&service, 1).await;
    scene.quiet(&service, 1).await;
    assert_eq!(scene.fake.requests().len(), calls);
    service.terminate().await;
    scene.fake.finish();
}

on_both!(repository_made_private_closes_before_github_is_asked);
async fn repository_made_private_closes_before_github_is_asked(database: Database) {
    let mut scene = Scene::new(database).await;
    scene.change(|repository| repository.private = false);
    scene.builder = scene.builder.clone().env("PACEGATE_PAGES", "public");
    let service = scene.builder.start().await;
    scene.tell_of_repository(&service, "publicized").await;
    scene.quiet(&service, 0).await;
    assert_eq!(scene.page(&service, REPO, None).await.0, 200);
    let open = scene.repository.clone();
    scene.change(|repository| repository.private = true);
    let asked = scene.fake.pause_at("GET", "/repos/acme/my-app", Side::BeforeWrite);
    scene.tell_of_repository(&service, "privatized").await;
    asked.reached().await;
    assert_eq!(scene.page(&service, REPO, None).await.0, CLOSED);
    assert_eq!(scene.page(&service, REPO, Some(&scene.token)).await.0, 200, "with the repository's token");
    asked.release();
    // An event from its public time, delivered late.
    scene.tell(&service, "push", &webhooks::push(&open, "main", &sha("late"))).await;
    scene.tell(&service, "repository", &webhooks::repository("publicized", &open)).await;
    scene.quiet(&service, 0).await;
    assert_eq!(scene.page(&service, REPO, None).await.0, CLOSED);
    scene.change(|repository| repository.private = false);
    scene.tell_of_repository(&service, "publicized").await;
    scene.page_becomes(&service, REPO, 200).await;
    service.terminate().await;
    scene.fake.finish();
}
