//! The App is suspended and resumed, or removed and installed again, within the grace period or
//! after it. Events also arrive in the wrong order.

use std::path::Path;

use tempfile::TempDir;

use super::super::{DEADLINE, Database, Fixture, HISTORY, REPO, create_token, on_both};
use super::CLOSED;
use crate::fake_github::state::{Installation, PullRequest};
use crate::service::Service;
use crate::time::eventually;
use crate::webhooks::{self, sha};

async fn deliver_installation_event(fixture: &Fixture, service: &Service, action: &str, installation: u64) {
    let payload = webhooks::installation(action, installation, &[&fixture.repository]);
    fixture.deliver_event(service, "installation", &payload).await;
}

on_both!(suspended_installation_gets_no_calls_until_it_resumes);
async fn suspended_installation_gets_no_calls_until_it_resumes(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let (known, late) = (sha("known"), sha("heard of late"));
    fixture.deliver_pull_request_event(&service, "opened", &PullRequest::new(7, REPO, &known)).await;
    fixture.wait_for_check(&known).await;
    fixture.wait_until_idle(&service, 1).await;
    fixture.fake.change_installation(99, |installation| installation.suspended = true);
    deliver_installation_event(&fixture, &service, "suspend", 99).await;
    fixture.wait_until_idle(&service, 1).await;
    let calls = fixture.fake.requests().len();
    fixture.push(&service, &Fixture::slowed(7, &known, 10)).await;
    fixture.push(&service, &Fixture::slowed(8, &late, 10)).await;
    fixture.deliver_pull_request_event(&service, "opened", &PullRequest::new(8, REPO, &late)).await;
    fixture.wait_for_runs(&service, HISTORY as usize + 2).await;
    // Two tasks wait for GitHub, and the timeout of a check goes on.
    fixture.wait_until_idle(&service, 3).await;
    let asked: Vec<_> = fixture.fake.requests().split_off(calls).into_iter().map(|r| r.path).collect();
    assert_eq!(asked, [""; 0]);
    fixture.fake.change_installation(99, |installation| installation.suspended = false);
    deliver_installation_event(&fixture, &service, "unsuspend", 99).await;
    fixture.concluded(&known).await;
    fixture.concluded(&late).await;
    fixture.wait_until_idle(&service, 2).await;
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(reinstall_within_grace_period_restores_everything);
async fn reinstall_within_grace_period_restores_everything(database: Database) {
    let mut fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let head = sha("waits for the App");
    fixture.deliver_pull_request_event(&service, "opened", &PullRequest::new(7, REPO, &head)).await;
    fixture.wait_for_check(&head).await;
    fixture.fake.uninstall(99);
    deliver_installation_event(&fixture, &service, "deleted", 99).await;
    fixture.wait_until_idle(&service, 1).await;
    fixture.push(&service, &Fixture::slowed(7, &head, 10)).await;
    fixture.wait_for_runs(&service, HISTORY as usize + 1).await;
    service.terminate().await;
    // The sweep at each start marks the repository and deletes nothing.
    let service = fixture.builder.start().await;
    fixture.wait_until_idle(&service, 1).await;
    fixture.fake.installation(Installation::new(100, "acme"));
    fixture.change(|repository| repository.installation = Some(100));
    deliver_installation_event(&fixture, &service, "created", 100).await;
    fixture.concluded(&head).await;
    let verdict = fixture.verdict(&service, &head, &fixture.token).await;
    assert_eq!(verdict["baseline"]["runs"], HISTORY);
    service.terminate().await;
    fixture.fake.finish();
}

/// The number of files below a folder.
fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}

on_both!(everything_is_deleted_after_grace_period);
async fn everything_is_deleted_after_grace_period(database: Database) {
    let mut fixture = Fixture::new(database).await;
    let traces = TempDir::new().expect("a temporary folder");
    let kept = format!("file:{}", traces.path().display());
    fixture.builder = fixture.builder.clone().env("PACEGATE_TRACES_URL", &kept);
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let head = sha("judged");
    fixture.deliver_pull_request_event(&service, "opened", &PullRequest::new(7, REPO, &head)).await;
    fixture.push(&service, &Fixture::slowed(7, &head, 10)).await;
    fixture.concluded(&head).await;
    fixture.wait_until_idle(&service, 1).await;
    assert_eq!(files(traces.path()), HISTORY as usize + 1);
    fixture.fake.uninstall(99);
    deliver_installation_event(&fixture, &service, "deleted", 99).await;
    fixture.wait_until_idle(&service, 1).await;
    service.terminate().await;

    let service = fixture.builder.clone().env("PACEGATE_GRACE", "0s").start().await;
    let request = Fixture::slowed(7, &head, 5);
    eventually("the token to be unknown", DEADLINE, || async {
        (fixture.post_spans(&service, &request).await.status() == 401).then_some(())
    })
    .await;
    eventually("the last row to be gone", DEADLINE, || async {
        let said = "was deleted after its grace period";
        service.log().iter().any(|line| line.contains(said)).then_some(())
    })
    .await;
    assert_eq!(files(traces.path()), 0);
    service.terminate().await;
    let service = fixture.builder.start().await;
    fixture.fake.installation(Installation::new(100, "acme"));
    fixture.change(|repository| repository.installation = Some(100));
    deliver_installation_event(&fixture, &service, "created", 100).await;
    // The pull request is still open, so a new check waits, beside the watchdog of the old one.
    fixture.wait_until_idle(&service, 2).await;
    fixture.token = create_token(&fixture.builder, REPO);
    for (path, what) in [("/runs", "runs"), (&format!("/runs?sha={head}"), "runs")] {
        let (status, body) = fixture.api(&service, path).await;
        assert_eq!((status, body[what].as_array().map(Vec::len)), (200, Some(0)), "{path}");
    }
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(current_github_state_beats_delivery_order);
async fn current_github_state_beats_delivery_order(database: Database) {
    let mut fixture = Fixture::new(database).await;
    fixture.builder = fixture.builder.clone().env("PACEGATE_PAGES", "public");
    fixture.change(|repository| repository.private = false);
    let service = fixture.builder.start().await;
    let deliver_and_check = async |action: &str, status: u16| {
        let payload = webhooks::installation_repositories(action, 99, &[&fixture.repository]);
        fixture.deliver_event(&service, "installation_repositories", &payload).await;
        fixture.wait_until_idle(&service, 0).await;
        assert_eq!(fixture.page(&service, REPO, None).await.0, status, "{action}");
    };
    // The repository was removed and added again. The events arrive in reverse order, and GitHub
    // still has it.
    deliver_and_check("added", 200).await;
    deliver_and_check("removed", 200).await;
    // The repository was added and removed again. GitHub no longer has it.
    fixture.fake.change_repository(REPO, |repository| repository.installation = None);
    deliver_and_check("removed", CLOSED).await;
    deliver_and_check("added", CLOSED).await;
    // The installation is gone before its creation is delivered.
    for action in ["deleted", "created"] {
        deliver_installation_event(&fixture, &service, action, 100).await;
        fixture.wait_until_idle(&service, 0).await;
        assert_eq!(fixture.page(&service, REPO, None).await.0, CLOSED, "{action}");
    }
    service.terminate().await;
    fixture.fake.finish();
}
