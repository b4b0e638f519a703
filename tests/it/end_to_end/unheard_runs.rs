//! Workflow runs whose events were missed or late. The service finds them in GitHub's lists. Also
//! an installation without the permission to read runs.

use super::actions::{PAST, ci, install, past};
use super::{Database, PATIENCE, REPO, Scene, on_both};
use crate::fake_github::Side;
use crate::fake_github::actions::WorkflowRun;
use crate::fake_github::state::PullRequest;
use crate::service::{Service, WEBHOOK_SECRET};
use crate::time::{eventually, now_seconds};
use crate::webhooks::{self, delivery, sha};

/// A run of pull request 7 that ended some minutes ago.
fn ended(id: u64, head: &str, slower: i64) -> WorkflowRun {
    let mut run = ci(id, head, now_seconds() - 1_800, slower);
    run.event = "pull_request".into();
    run.head_branch = "change-7".into();
    run
}

/// The same run while it was in progress.
fn under_way(ended: &WorkflowRun) -> WorkflowRun {
    WorkflowRun { status: "in_progress".to_owned(), conclusion: None, ..ended.clone() }
}

async fn tell(scene: &Scene, service: &Service, action: &str, run: &WorkflowRun) {
    let payload = webhooks::workflow_run(action, &scene.repository, run);
    scene.deliver(service, &delivery("workflow_run", &payload, WEBHOOK_SECRET)).await;
}

fn lists_of(scene: &Scene, head: &str) -> usize {
    let of_head = |r: &&crate::fake_github::state::Recorded| {
        r.path.ends_with("/actions/runs")
            && r.query.iter().any(|(name, value)| name == "head_sha" && value == head)
    };
    scene.fake.requests().iter().filter(of_head).count()
}

on_both!(pull_request_open_at_installation_gets_verdict);
async fn pull_request_open_at_installation_gets_verdict(database: Database) {
    let scene = Scene::new(database).await;
    past(&scene);
    let (head, closed) = (sha("open before the App came"), sha("closed before the App came"));
    scene.fake.pull_request(REPO, PullRequest::new(7, REPO, &head));
    scene.fake.pull_request(REPO, PullRequest { open: false, ..PullRequest::new(6, REPO, &closed) });
    scene.fake.workflow_run(REPO, ended(3_001, &head, 40));
    let service = scene.builder.start().await;
    install(&scene, &service).await;
    eventually("the verdict with all of the history", PATIENCE, || async {
        let title = scene.checks(&head).first()?.title.clone()?;
        let (_, verdict) = scene.api(&service, &format!("/commits/{head}/verdict")).await;
        (title.contains("npm test") && verdict["baseline"]["runs"] == PAST).then_some(())
    })
    .await;
    scene.quiet(&service, 1).await;
    assert_eq!(scene.concluded(&head).await.conclusion.as_deref(), Some("neutral"), "one run is a suspicion");
    assert_eq!(scene.fake.check_runs().len(), 1, "no check for the closed pull request");
    service.terminate().await;
    scene.fake.finish();
}

on_both!(runs_with_missed_end_are_found);
async fn runs_with_missed_end_are_found(database: Database) {
    let mut scene = Scene::new(database).await;
    scene.builder = scene.builder.clone().env("PACEGATE_RECONCILE_INTERVAL", "1s");
    let service = scene.builder.start().await;
    let (begun, unheard) = (sha("its end was lost"), sha("all of it was lost"));
    for (number, id, head) in [(7, 3_001, &begun), (8, 3_002, &unheard)] {
        scene.deliver(&service, &scene.pull_request("opened", number, head)).await;
        let run = ended(id, head, 0);
        if head == &begun {
            scene.fake.workflow_run(REPO, under_way(&run));
            tell(&scene, &service, "in_progress", &run).await;
        }
        eventually("its check", PATIENCE, || async { scene.checks(head).first().map(|_| ()) }).await;
        assert_eq!(scene.checks(head)[0].conclusion, None);
        scene.fake.workflow_run(REPO, run);
        scene.concluded(head).await;
        let (_, runs) = scene.api(&service, &format!("/runs?sha={head}")).await;
        assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1));
    }
    // No check waits any more, so no requests follow.
    let lists = scene.fake.requests().len();
    eventually("two more rounds", PATIENCE, || async {
        let later = scene.fake.requests().split_off(lists);
        (later.iter().filter(|r| r.path.ends_with("/pulls")).count() >= 3).then_some(())
    })
    .await;
    let asked = (lists_of(&scene, &begun), lists_of(&scene, &unheard));
    let pulls = scene.fake.requests().len();
    eventually("another round", PATIENCE, || async {
        let later = scene.fake.requests().split_off(pulls);
        (later.iter().filter(|r| r.path.ends_with("/pulls")).count() >= 2).then_some(())
    })
    .await;
    assert_eq!((lists_of(&scene, &begun), lists_of(&scene, &unheard)), asked);
    service.terminate().await;
    scene.fake.finish();
}

on_both!(check_waits_for_a_run_without_delivery);
async fn check_waits_for_a_run_without_delivery(database: Database) {
    let scene = Scene::new(database).await;
    let service = scene.builder.start().await;
    scene.push_history(&service).await;
    let head = sha("spans and a run");
    let run = ended(3_001, &head, 0);
    scene.fake.workflow_run(REPO, under_way(&run));
    scene.push(&service, &Scene::slowed(7, &head, 10)).await;
    scene.deliver(&service, &scene.pull_request("opened", 7, &head)).await;
    eventually("the check to wait for the run", PATIENCE, || async {
        let check = scene.checks(&head).first()?.clone();
        assert_eq!(check.conclusion, None, "{:?}", check.title);
        check.title?.contains("CI").then_some(())
    })
    .await;
    scene.quiet(&service, 1).await;
    assert_eq!(scene.checks(&head)[0].conclusion, None);
    scene.fake.workflow_run(REPO, run.clone());
    tell(&scene, &service, "completed", &run).await;
    let first = scene.concluded(&head).await;
    scene.quiet(&service, 1).await;
    // After the conclusion, later spans change the check without requests for runs.
    let asked = lists_of(&scene, &head);
    scene.push(&service, &Scene::slowed(7, &head, 5)).await;
    eventually("the check with the second trace", PATIENCE, || async {
        (scene.checks(&head)[0].writes > first.writes).then_some(())
    })
    .await;
    scene.quiet(&service, 1).await;
    assert_eq!(lists_of(&scene, &head), asked);
    service.terminate().await;
    scene.fake.finish();
}

on_both!(check_overdue_while_app_was_away_is_concluded);
async fn check_overdue_while_app_was_away_is_concluded(database: Database) {
    let mut scene = Scene::new(database).await;
    scene.builder = scene.builder.clone().env("PACEGATE_CHECK_TIMEOUT", "500ms");
    let service = scene.builder.start().await;
    let head = sha("left alone");
    let pause = scene.fake.pause_at("POST", "/check-runs", Side::AfterWrite);
    scene.deliver(&service, &scene.pull_request("opened", 7, &head)).await;
    pause.reached().await;
    let changed = |action| {
        let payload = webhooks::installation_repositories(action, 99, &[&scene.repository]);
        delivery("installation_repositories", &payload, WEBHOOK_SECRET)
    };
    scene.fake.change_repository(REPO, |repository| repository.installation = None);
    scene.deliver(&service, &changed("removed")).await;
    // Three tasks remain: creating the check, showing the runs it waits for, and its timeout.
    scene.quiet(&service, 3).await;
    pause.drop_connection();
    scene.quiet(&service, 0).await;
    assert_eq!(scene.checks(&head)[0].conclusion, None);
    service.terminate().await;

    scene.builder = scene.builder.clone().env("PACEGATE_RECONCILE_INTERVAL", "1s");
    let service = scene.builder.start().await;
    scene.fake.change_repository(REPO, |repository| repository.installation = Some(99));
    scene.deliver(&service, &changed("added")).await;
    let check = scene.concluded(&head).await;
    assert_eq!(check.conclusion.as_deref(), Some("neutral"));
    assert!(check.title.as_ref().is_some_and(|title| title.contains("no trace")), "{:?}", check.title);
    assert_eq!(scene.fake.check_runs().len(), 1);
    service.terminate().await;
    scene.fake.finish();
}

on_both!(missing_actions_permission_is_shown_in_check);
async fn missing_actions_permission_is_shown_in_check(database: Database) {
    let mut scene = Scene::new(database).await;
    scene.builder = scene.builder.clone().env("PACEGATE_CHECK_TIMEOUT", "2s");
    scene.fake.change_installation(99, |installation| {
        installation.permissions.remove("actions");
    });
    let (open, told, spans) = (sha("open before"), sha("told of"), sha("with spans"));
    scene.fake.pull_request(REPO, PullRequest::new(7, REPO, &open));
    let service = scene.builder.start().await;
    scene.push_history(&service).await;
    install(&scene, &service).await;
    scene.deliver(&service, &scene.pull_request("opened", 8, &told)).await;
    let run = ended(3_001, &told, 0);
    scene.fake.workflow_run(REPO, run.clone());
    tell(&scene, &service, "completed", &run).await;
    for head in [&open, &told] {
        let check = scene.concluded(head).await;
        let title = check.title.expect("a title");
        assert!(title.contains("lacks the permission actions: read"), "{title}");
        assert_eq!(check.conclusion.as_deref(), Some("neutral"));
    }
    // Spans are still judged.
    scene.push(&service, &Scene::slowed(9, &spans, 10)).await;
    scene.wait_for_runs(&service, super::HISTORY as usize + 1).await;
    scene.deliver(&service, &scene.pull_request("opened", 9, &spans)).await;
    let title = scene.concluded(&spans).await.title.expect("a title");
    assert!(title.contains("integration-tests"), "{title}");
    scene.quiet(&service, 0).await;
    let said = service.log().into_iter().any(|line| line.contains("permission actions:read"));
    assert!(said, "the log says what is missing");
    service.terminate().await;
    scene.fake.finish();
}
