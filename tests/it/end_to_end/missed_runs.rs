//! Workflow runs whose events were missed or late. The service finds them in GitHub's lists. Also
//! an installation without the permission to read runs.

use super::actions::{PAST, add_history, ci, install};
use super::{DEADLINE, Database, Fixture, REPO, on_both};
use crate::fake_github::Side;
use crate::fake_github::actions::WorkflowRun;
use crate::fake_github::state::PullRequest;
use crate::service::{Service, WEBHOOK_SECRET};
use crate::time::{eventually, now_seconds};
use crate::webhooks::{self, delivery, sha};

/// A run of pull request 7 that ended some minutes ago.
fn finished_run(id: u64, head: &str, slower: i64) -> WorkflowRun {
    let mut run = ci(id, head, now_seconds() - 1_800, slower);
    run.event = "pull_request".into();
    run.head_branch = "change-7".into();
    run
}

/// The same run while it was in progress.
fn in_progress(ended: &WorkflowRun) -> WorkflowRun {
    WorkflowRun { status: "in_progress".to_owned(), conclusion: None, ..ended.clone() }
}

async fn deliver_run_event(fixture: &Fixture, service: &Service, action: &str, run: &WorkflowRun) {
    let payload = webhooks::workflow_run(action, &fixture.repository, run);
    fixture.deliver(service, &delivery("workflow_run", &payload, WEBHOOK_SECRET)).await;
}

fn run_list_requests(fixture: &Fixture, head: &str) -> usize {
    let of_head = |r: &&crate::fake_github::state::Recorded| {
        r.path.ends_with("/actions/runs")
            && r.query.iter().any(|(name, value)| name == "head_sha" && value == head)
    };
    fixture.fake.requests().iter().filter(of_head).count()
}

on_both!(pull_request_open_at_installation_gets_verdict);
async fn pull_request_open_at_installation_gets_verdict(database: Database) {
    let fixture = Fixture::new(database).await;
    add_history(&fixture);
    let (head, closed) = (sha("open before the App came"), sha("closed before the App came"));
    fixture.fake.pull_request(REPO, PullRequest::new(7, REPO, &head));
    fixture.fake.pull_request(REPO, PullRequest { open: false, ..PullRequest::new(6, REPO, &closed) });
    fixture.fake.workflow_run(REPO, finished_run(3_001, &head, 40));
    let service = fixture.builder.start().await;
    install(&fixture, &service).await;
    eventually("the verdict with all of the history", DEADLINE, || async {
        let title = fixture.checks(&head).first()?.title.clone()?;
        let (_, verdict) = fixture.api(&service, &format!("/commits/{head}/verdict")).await;
        (title.contains("npm test") && verdict["baseline"]["runs"] == PAST).then_some(())
    })
    .await;
    fixture.wait_until_idle(&service, 1).await;
    assert_eq!(
        fixture.concluded(&head).await.conclusion.as_deref(),
        Some("neutral"),
        "one run is a suspicion"
    );
    assert_eq!(fixture.fake.check_runs().len(), 1, "no check for the closed pull request");
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(runs_with_missed_end_are_found);
async fn runs_with_missed_end_are_found(database: Database) {
    let mut fixture = Fixture::new(database).await;
    fixture.builder = fixture.builder.clone().env("PACEGATE_RECONCILE_INTERVAL", "1s");
    let service = fixture.builder.start().await;
    let (begun, unheard) = (sha("its end was lost"), sha("all of it was lost"));
    for (number, id, head) in [(7, 3_001, &begun), (8, 3_002, &unheard)] {
        fixture.deliver(&service, &fixture.pull_request("opened", number, head)).await;
        let run = finished_run(id, head, 0);
        if head == &begun {
            fixture.fake.workflow_run(REPO, in_progress(&run));
            deliver_run_event(&fixture, &service, "in_progress", &run).await;
        }
        eventually("its check", DEADLINE, || async { fixture.checks(head).first().map(|_| ()) }).await;
        assert_eq!(fixture.checks(head)[0].conclusion, None);
        fixture.fake.workflow_run(REPO, run);
        fixture.concluded(head).await;
        let (_, runs) = fixture.api(&service, &format!("/runs?sha={head}")).await;
        assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1));
    }
    // No check waits any more, so no requests follow.
    let lists = fixture.fake.requests().len();
    eventually("two more rounds", DEADLINE, || async {
        let later = fixture.fake.requests().split_off(lists);
        (later.iter().filter(|r| r.path.ends_with("/pulls")).count() >= 3).then_some(())
    })
    .await;
    let asked = (run_list_requests(&fixture, &begun), run_list_requests(&fixture, &unheard));
    let pulls = fixture.fake.requests().len();
    eventually("another round", DEADLINE, || async {
        let later = fixture.fake.requests().split_off(pulls);
        (later.iter().filter(|r| r.path.ends_with("/pulls")).count() >= 2).then_some(())
    })
    .await;
    assert_eq!((run_list_requests(&fixture, &begun), run_list_requests(&fixture, &unheard)), asked);
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(check_waits_for_a_run_without_delivery);
async fn check_waits_for_a_run_without_delivery(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let head = sha("spans and a run");
    let run = finished_run(3_001, &head, 0);
    fixture.fake.workflow_run(REPO, in_progress(&run));
    fixture.push(&service, &Fixture::slowed(7, &head, 10)).await;
    fixture.deliver(&service, &fixture.pull_request("opened", 7, &head)).await;
    eventually("the check to wait for the run", DEADLINE, || async {
        let check = fixture.checks(&head).first()?.clone();
        assert_eq!(check.conclusion, None, "{:?}", check.title);
        check.title?.contains("CI").then_some(())
    })
    .await;
    fixture.wait_until_idle(&service, 1).await;
    assert_eq!(fixture.checks(&head)[0].conclusion, None);
    fixture.fake.workflow_run(REPO, run.clone());
    deliver_run_event(&fixture, &service, "completed", &run).await;
    let first = fixture.concluded(&head).await;
    fixture.wait_until_idle(&service, 1).await;
    // After the conclusion, later spans change the check without requests for runs.
    let asked = run_list_requests(&fixture, &head);
    fixture.push(&service, &Fixture::slowed(7, &head, 5)).await;
    eventually("the check with the second trace", DEADLINE, || async {
        (fixture.checks(&head)[0].writes > first.writes).then_some(())
    })
    .await;
    fixture.wait_until_idle(&service, 1).await;
    assert_eq!(run_list_requests(&fixture, &head), asked);
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(check_overdue_while_app_was_away_is_concluded);
async fn check_overdue_while_app_was_away_is_concluded(database: Database) {
    let mut fixture = Fixture::new(database).await;
    fixture.builder = fixture.builder.clone().env("PACEGATE_CHECK_TIMEOUT", "500ms");
    let service = fixture.builder.start().await;
    let head = sha("left alone");
    let pause = fixture.fake.pause_at("POST", "/check-runs", Side::AfterWrite);
    fixture.deliver(&service, &fixture.pull_request("opened", 7, &head)).await;
    pause.reached().await;
    let changed = |action| {
        let payload = webhooks::installation_repositories(action, 99, &[&fixture.repository]);
        delivery("installation_repositories", &payload, WEBHOOK_SECRET)
    };
    fixture.fake.change_repository(REPO, |repository| repository.installation = None);
    fixture.deliver(&service, &changed("removed")).await;
    // Three tasks remain: creating the check, showing the runs it waits for, and its timeout.
    fixture.wait_until_idle(&service, 3).await;
    pause.drop_connection();
    fixture.wait_until_idle(&service, 0).await;
    assert_eq!(fixture.checks(&head)[0].conclusion, None);
    service.terminate().await;

    fixture.builder = fixture.builder.clone().env("PACEGATE_RECONCILE_INTERVAL", "1s");
    let service = fixture.builder.start().await;
    fixture.fake.change_repository(REPO, |repository| repository.installation = Some(99));
    fixture.deliver(&service, &changed("added")).await;
    let check = fixture.concluded(&head).await;
    assert_eq!(check.conclusion.as_deref(), Some("neutral"));
    assert!(check.title.as_ref().is_some_and(|title| title.contains("no trace")), "{:?}", check.title);
    assert_eq!(fixture.fake.check_runs().len(), 1);
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(missing_actions_permission_is_shown_in_check);
async fn missing_actions_permission_is_shown_in_check(database: Database) {
    let mut fixture = Fixture::new(database).await;
    fixture.builder = fixture.builder.clone().env("PACEGATE_CHECK_TIMEOUT", "2s");
    fixture.fake.change_installation(99, |installation| {
        installation.permissions.remove("actions");
    });
    let (open, reported, spans) = (sha("open before"), sha("told of"), sha("with spans"));
    fixture.fake.pull_request(REPO, PullRequest::new(7, REPO, &open));
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    install(&fixture, &service).await;
    fixture.deliver(&service, &fixture.pull_request("opened", 8, &reported)).await;
    let run = finished_run(3_001, &reported, 0);
    fixture.fake.workflow_run(REPO, run.clone());
    deliver_run_event(&fixture, &service, "completed", &run).await;
    for head in [&open, &reported] {
        let check = fixture.concluded(head).await;
        let title = check.title.expect("a title");
        assert!(title.contains("lacks the permission actions: read"), "{title}");
        assert_eq!(check.conclusion.as_deref(), Some("neutral"));
    }
    // Spans are still judged.
    fixture.push(&service, &Fixture::slowed(9, &spans, 10)).await;
    fixture.wait_for_runs(&service, super::HISTORY as usize + 1).await;
    fixture.deliver(&service, &fixture.pull_request("opened", 9, &spans)).await;
    let title = fixture.concluded(&spans).await.title.expect("a title");
    assert!(title.contains("integration-tests"), "{title}");
    fixture.wait_until_idle(&service, 0).await;
    let said = service.log().into_iter().any(|line| line.contains("permission actions:read"));
    assert!(said, "the log says what is missing");
    service.terminate().await;
    fixture.fake.finish();
}
