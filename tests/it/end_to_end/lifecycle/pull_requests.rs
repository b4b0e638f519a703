//! A pull request's base is deleted, its head is pushed over, it is closed and opened again, or it comes
//! from a fork.

use super::super::actions::{PAST, ci, install, past};
use super::super::{Database, HISTORY, PATIENCE, REPO, Scene, on_both};
use crate::fake_github::state::PullRequest;
use crate::time::{eventually, now_seconds};
use crate::webhooks::{self, sha};

on_both!(a_check_whose_base_branch_is_deleted_ends_and_is_judged_again_on_its_next_base);
async fn a_check_whose_base_branch_is_deleted_ends_and_is_judged_again_on_its_next_base(database: Database) {
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

on_both!(a_forced_push_ends_the_old_head_s_check_and_the_comment_speaks_of_the_new_one);
async fn a_forced_push_ends_the_old_head_s_check_and_the_comment_speaks_of_the_new_one(database: Database) {
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
    // What ran of the old head comes in the end.
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

on_both!(what_was_measured_while_it_was_closed_is_said_when_it_is_opened_again);
async fn what_was_measured_while_it_was_closed_is_said_when_it_is_opened_again(database: Database) {
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

on_both!(a_fork_s_pull_request_has_a_check_and_its_main_is_no_baseline);
async fn a_fork_s_pull_request_has_a_check_and_its_main_is_no_baseline(database: Database) {
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
        // Whichever is heard of first.
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
