//! Changes of a pull request: its base is deleted, its head is force-pushed, it is closed and
//! reopened, or it comes from a fork.

use super::super::actions::{PAST, ci, install, past};
use super::super::{Database, HISTORY, PATIENCE, REPO, Scene, on_both};
use crate::fake_github::state::PullRequest;
use crate::time::{eventually, now_seconds};
use crate::webhooks::{self, sha};

on_both!(deleted_base_ends_check_next_base_judges_again);
async fn deleted_base_ends_check_next_base_judges_again(database: Database) {
    let scene = Scene::new(database).await;
    let service = scene.builder.start().await;
    scene.push_history(&service).await;
    let head = sha("for a release");
    let mut pr = PullRequest { base_ref: "release".into(), ..PullRequest::new(7, REPO, &head) };
    scene.tell_of(&service, "opened", &pr).await;
    scene.announced(&head).await;
    let mut deleted = webhooks::push(&scene.repository, "release", &"0".repeat(40));
    deleted["deleted"] = true.into();
    scene.tell(&service, "push", &deleted).await;
    scene.push(&service, &Scene::slowed(7, &head, 10)).await;
    let check = scene.concluded(&head).await;
    assert_eq!(check.conclusion.as_deref(), Some("neutral"), "{:?}", check.title);
    assert_eq!(scene.verdict(&service, &head, &scene.token).await["baseline"]["runs"], 0);
    pr.base_ref = "main".into();
    scene.fake.pull_request(REPO, pr.clone());
    let mut edited = webhooks::pull_request("opened", &scene.repository, &pr);
    edited["action"] = "edited".into();
    scene.tell(&service, "pull_request", &edited).await;
    eventually("the check on main's history", PATIENCE, || async {
        let title = scene.concluded(&head).await.title?;
        title.contains("integration-tests").then_some(())
    })
    .await;
    assert_eq!(scene.verdict(&service, &head, &scene.token).await["baseline"]["runs"], HISTORY);
    scene.quiet(&service, 1).await;
    service.terminate().await;
    scene.fake.finish();
}

on_both!(forced_push_ends_old_check_and_updates_comment);
async fn forced_push_ends_old_check_and_updates_comment(database: Database) {
    let scene = Scene::new(database).await;
    let service = scene.builder.start().await;
    scene.push_history(&service).await;
    let (old, new) = (sha("pushed over"), sha("pushed"));
    scene.tell_of(&service, "opened", &PullRequest::new(7, REPO, &old)).await;
    scene.announced(&old).await;
    let mut run = ci(3_001, &old, now_seconds() - 100, 0);
    run.event = "pull_request".into();
    scene.tell(&service, "workflow_run", &webhooks::workflow_run("requested", &scene.repository, &run)).await;
    scene.tell_of(&service, "synchronize", &PullRequest::new(7, REPO, &new)).await;
    let check = scene.concluded(&old).await;
    let superseded = format!("Superseded by {}", &new[..7]);
    assert_eq!((check.title, check.conclusion.as_deref()), (Some(superseded), Some("neutral")));
    scene.push(&service, &Scene::slowed(7, &new, 10)).await;
    scene.concluded(&new).await;
    scene.quiet(&service, 2).await;
    // The old head's run ends later.
    scene.push(&service, &Scene::slowed(7, &old, 20)).await;
    scene.wait_for_runs(&service, HISTORY as usize + 2).await;
    scene.quiet(&service, 2).await;
    let comments = scene.fake.comments(REPO, 7);
    assert_eq!((comments.len(), scene.checks(&old).len(), scene.checks(&new).len()), (1, 1, 1));
    let body = &comments[0].body;
    assert!(body.contains(&new[..7]) && !body.contains(&old[..7]), "{body}");
    service.terminate().await;
    scene.fake.finish();
}

on_both!(reopened_pull_request_reports_runs_measured_while_closed);
async fn reopened_pull_request_reports_runs_measured_while_closed(database: Database) {
    let scene = Scene::new(database).await;
    let service = scene.builder.start().await;
    scene.push_history(&service).await;
    let head = sha("closed and opened");
    let mut pr = PullRequest::new(7, REPO, &head);
    scene.tell_of(&service, "opened", &pr).await;
    scene.announced(&head).await;
    pr.open = false;
    scene.tell_of(&service, "closed", &pr).await;
    scene.quiet(&service, 1).await;
    scene.push(&service, &Scene::slowed(7, &head, 10)).await;
    scene.concluded(&head).await;
    scene.quiet(&service, 1).await;
    assert_eq!(scene.fake.comments(REPO, 7).len(), 0);
    pr.open = true;
    scene.tell_of(&service, "reopened", &pr).await;
    eventually("the comment", PATIENCE, || async { scene.fake.comments(REPO, 7).first().map(|_| ()) }).await;
    scene.quiet(&service, 1).await;
    let (_, runs) = scene.api(&service, &format!("/runs?sha={head}")).await;
    assert_eq!(runs["runs"][0]["lineage"], serde_json::json!({ "kind": "pull_request", "number": 7 }));
    assert_eq!(scene.checks(&head).len(), 1);
    service.terminate().await;
    scene.fake.finish();
}

on_both!(fork_pull_request_is_checked_never_a_baseline);
async fn fork_pull_request_is_checked_never_a_baseline(database: Database) {
    let scene = Scene::new(database).await;
    past(&scene);
    let service = scene.builder.start().await;
    install(&scene, &service).await;
    scene.wait_for_runs(&service, usize::try_from(PAST).expect("small")).await;
    for (number, minutes) in [(20, 60), (21, 30)] {
        let head = sha(&format!("of a fork {number}"));
        let mut pr = PullRequest::new(number, REPO, &head);
        (pr.head_ref, pr.head_repo) = ("main".into(), "mallory/my-app".into());
        let mut run = ci(3_000 + number, &head, now_seconds() - minutes * 60, 0);
        (run.event, run.head_repo) = ("pull_request".into(), pr.head_repo.clone());
        scene.fake.workflow_run(REPO, run.clone());
        let ended = webhooks::workflow_run("completed", &scene.repository, &run);
        // The run and the pull request arrive in either order.
        if number == 20 {
            scene.tell_of(&service, "opened", &pr).await;
            scene.announced(&head).await;
            scene.tell(&service, "workflow_run", &ended).await;
        } else {
            scene.fake.pull_request(REPO, pr.clone());
            scene.tell(&service, "workflow_run", &ended).await;
            scene.wait_for_runs(&service, usize::try_from(PAST).expect("small") + 2).await;
            scene.tell_of(&service, "opened", &pr).await;
        }
        let check = scene.concluded(&head).await;
        assert_eq!(check.conclusion.as_deref(), Some("success"), "{:?}", check.title);
        let verdict = scene.verdict(&service, &head, &scene.token).await;
        assert_eq!(verdict["baseline"]["runs"], PAST);
        let (_, runs) = scene.api(&service, &format!("/runs?sha={head}")).await;
        assert_eq!(runs["runs"][0]["lineage"]["number"], number);
    }
    scene.quiet(&service, 2).await;
    service.terminate().await;
    scene.fake.finish();
}
