//! Changes of a pull request: its base is deleted, its head is force-pushed, it is closed and
//! reopened, or it comes from a fork.

use super::super::actions::{PAST, add_history, ci, install};
use super::super::{DEADLINE, Database, Fixture, HISTORY, REPO, on_both};
use crate::fake_github::state::PullRequest;
use crate::time::{eventually, now_seconds};
use crate::webhooks::{self, sha};

on_both!(deleted_base_ends_check_next_base_judges_again);
async fn deleted_base_ends_check_next_base_judges_again(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let head = sha("for a release");
    let mut pr = PullRequest { base_ref: "release".into(), ..PullRequest::new(7, REPO, &head) };
    fixture.deliver_pull_request_event(&service, "opened", &pr).await;
    fixture.wait_for_check(&head).await;
    let mut deleted = webhooks::push(&fixture.repository, "release", &"0".repeat(40));
    deleted["deleted"] = true.into();
    fixture.deliver_event(&service, "push", &deleted).await;
    fixture.push(&service, &Fixture::slowed(7, &head, 10)).await;
    let check = fixture.concluded(&head).await;
    assert_eq!(check.conclusion.as_deref(), Some("neutral"), "{:?}", check.title);
    assert_eq!(fixture.verdict(&service, &head, &fixture.token).await["baseline"]["runs"], 0);
    pr.base_ref = "main".into();
    fixture.fake.pull_request(REPO, pr.clone());
    let mut edited = webhooks::pull_request("opened", &fixture.repository, &pr);
    edited["action"] = "edited".into();
    fixture.deliver_event(&service, "pull_request", &edited).await;
    eventually("the check on main's history", DEADLINE, || async {
        let title = fixture.concluded(&head).await.title?;
        title.contains("integration-tests").then_some(())
    })
    .await;
    assert_eq!(fixture.verdict(&service, &head, &fixture.token).await["baseline"]["runs"], HISTORY);
    fixture.wait_until_idle(&service, 1).await;
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(forced_push_ends_old_check_and_updates_comment);
async fn forced_push_ends_old_check_and_updates_comment(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let (old, new) = (sha("pushed over"), sha("pushed"));
    fixture.deliver_pull_request_event(&service, "opened", &PullRequest::new(7, REPO, &old)).await;
    fixture.wait_for_check(&old).await;
    let mut run = ci(3_001, &old, now_seconds() - 100, 0);
    run.event = "pull_request".into();
    fixture
        .deliver_event(
            &service,
            "workflow_run",
            &webhooks::workflow_run("requested", &fixture.repository, &run),
        )
        .await;
    fixture.deliver_pull_request_event(&service, "synchronize", &PullRequest::new(7, REPO, &new)).await;
    let check = fixture.concluded(&old).await;
    let superseded = format!("Superseded by {}", &new[..7]);
    assert_eq!((check.title, check.conclusion.as_deref()), (Some(superseded), Some("neutral")));
    fixture.push(&service, &Fixture::slowed(7, &new, 10)).await;
    fixture.concluded(&new).await;
    fixture.wait_until_idle(&service, 2).await;
    // The old head's run ends later.
    fixture.push(&service, &Fixture::slowed(7, &old, 20)).await;
    fixture.wait_for_runs(&service, HISTORY as usize + 2).await;
    fixture.wait_until_idle(&service, 2).await;
    let comments = fixture.fake.comments(REPO, 7);
    assert_eq!((comments.len(), fixture.checks(&old).len(), fixture.checks(&new).len()), (1, 1, 1));
    let body = &comments[0].body;
    assert!(body.contains(&new[..7]) && !body.contains(&old[..7]), "{body}");
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(reopened_pull_request_reports_runs_measured_while_closed);
async fn reopened_pull_request_reports_runs_measured_while_closed(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let head = sha("closed and opened");
    let mut pr = PullRequest::new(7, REPO, &head);
    fixture.deliver_pull_request_event(&service, "opened", &pr).await;
    fixture.wait_for_check(&head).await;
    pr.open = false;
    fixture.deliver_pull_request_event(&service, "closed", &pr).await;
    fixture.wait_until_idle(&service, 1).await;
    fixture.push(&service, &Fixture::slowed(7, &head, 10)).await;
    fixture.concluded(&head).await;
    fixture.wait_until_idle(&service, 1).await;
    assert_eq!(fixture.fake.comments(REPO, 7).len(), 0);
    pr.open = true;
    fixture.deliver_pull_request_event(&service, "reopened", &pr).await;
    eventually("the comment", DEADLINE, || async { fixture.fake.comments(REPO, 7).first().map(|_| ()) })
        .await;
    fixture.wait_until_idle(&service, 1).await;
    let (_, runs) = fixture.api(&service, &format!("/runs?sha={head}")).await;
    assert_eq!(runs["runs"][0]["lineage"], serde_json::json!({ "kind": "pull_request", "number": 7 }));
    assert_eq!(fixture.checks(&head).len(), 1);
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(fork_pull_request_is_checked_never_a_baseline);
async fn fork_pull_request_is_checked_never_a_baseline(database: Database) {
    let fixture = Fixture::new(database).await;
    add_history(&fixture);
    let service = fixture.builder.start().await;
    install(&fixture, &service).await;
    fixture.wait_for_runs(&service, usize::try_from(PAST).expect("small")).await;
    for (number, minutes) in [(20, 60), (21, 30)] {
        let head = sha(&format!("of a fork {number}"));
        let mut pr = PullRequest::new(number, REPO, &head);
        (pr.head_ref, pr.head_repo) = ("main".into(), "mallory/my-app".into());
        let mut run = ci(3_000 + number, &head, now_seconds() - minutes * 60, 0);
        (run.event, run.head_repo) = ("pull_request".into(), pr.head_repo.clone());
        fixture.fake.workflow_run(REPO, run.clone());
        let ended = webhooks::workflow_run("completed", &fixture.repository, &run);
        // The run and the pull request arrive in either order.
        if number == 20 {
            fixture.deliver_pull_request_event(&service, "opened", &pr).await;
            fixture.wait_for_check(&head).await;
            fixture.deliver_event(&service, "workflow_run", &ended).await;
        } else {
            fixture.fake.pull_request(REPO, pr.clone());
            fixture.deliver_event(&service, "workflow_run", &ended).await;
            fixture.wait_for_runs(&service, usize::try_from(PAST).expect("small") + 2).await;
            fixture.deliver_pull_request_event(&service, "opened", &pr).await;
        }
        let check = fixture.concluded(&head).await;
        assert_eq!(check.conclusion.as_deref(), Some("success"), "{:?}", check.title);
        let verdict = fixture.verdict(&service, &head, &fixture.token).await;
        assert_eq!(verdict["baseline"]["runs"], PAST);
        let (_, runs) = fixture.api(&service, &format!("/runs?sha={head}")).await;
        assert_eq!(runs["runs"][0]["lineage"]["number"], number);
    }
    fixture.wait_until_idle(&service, 2).await;
    service.terminate().await;
    fixture.fake.finish();
}
