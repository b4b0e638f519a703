//! The App is suspended and resumed, or removed and installed again, within the grace period or
//! after it. Events also arrive in the wrong order.

use std::path::Path;

use tempfile::TempDir;

use super::super::{Database, HISTORY, PATIENCE, REPO, Scene, create_token, on_both};
use super::CLOSED;
use crate::fake_github::state::{Installation, PullRequest};
use crate::service::Service;
use crate::time::eventually;
use crate::webhooks::{self, sha};

async fn tell(scene: &Scene, service: &Service, action: &str, installation: u64) {
    let payload = webhooks::installation(action, installation, &[&scene.repository]);
    scene.tell(service, "installation", &payload).await;
}

on_both!(suspended_installation_gets_no_calls_until_it_resumes);
async fn suspended_installation_gets_no_calls_until_it_resumes(database: Database) {
    let scene = Scene::new(database).await;
    let service = scene.builder.start().await;
    scene.push_history(&service).await;
    let (known, late) = (sha("known"), sha("heard of late"));
    scene.tell_of(&service, "opened", &PullRequest::new(7, REPO, &known)).await;
    scene.announced(&known).await;
    scene.quiet(&service, 1).await;
    scene.fake.change_installation(99, |installation| installation.suspended = true);
    tell(&scene, &service, "suspend", 99).await;
    scene.quiet(&service, 1).await;
    let calls = scene.fake.requests().len();
    scene.push(&service, &Scene::slowed(7, &known, 10)).await;
    scene.push(&service, &Scene::slowed(8, &late, 10)).await;
    scene.tell_of(&service, "opened", &PullRequest::new(8, REPO, &late)).await;
    scene.wait_for_runs(&service, HISTORY as usize + 2).await;
    // Two tasks wait for GitHub, and the timeout of a check goes on.
    scene.quiet(&service, 3).await;
    let asked: Vec<_> = scene.fake.requests().split_off(calls).into_iter().map(|r| r.path).collect();
    assert_eq!(asked, [""; 0]);
    scene.fake.change_installation(99, |installation| installation.suspended = false);
    tell(&scene, &service, "unsuspend", 99).await;
    scene.concluded(&known).await;
    scene.concluded(&late).await;
    scene.quiet(&service, 2).await;
    service.terminate().await;
    scene.fake.finish();
}

on_both!(reinstall_within_grace_period_restores_everything);
async fn reinstall_within_grace_period_restores_everything(database: Database) {
    let mut scene = Scene::new(database).await;
    let service = scene.builder.start().await;
    scene.push_history(&service).await;
    let head = sha("waits for the App");
    scene.tell_of(&service, "opened", &PullRequest::new(7, REPO, &head)).await;
    scene.announced(&head).await;
    scene.fake.uninstall(99);
    tell(&scene, &service, "deleted", 99).await;
    scene.quiet(&service, 1).await;
    scene.push(&service, &Scene::slowed(7, &head, 10)).await;
    scene.wait_for_runs(&service, HISTORY as usize + 1).await;
    service.terminate().await;
    // The sweep at each start marks the repository and deletes nothing.
    let service = scene.builder.start().await;
    scene.quiet(&service, 1).await;
    scene.fake.installation(Installation::new(100, "acme"));
    scene.change(|repository| repository.installation = Some(100));
    tell(&scene, &service, "created", 100).await;
    scene.concluded(&head).await;
    let verdict = scene.verdict(&service, &head, &scene.token).await;
    assert_eq!(verdict["baseline"]["runs"], HISTORY);
    service.terminate().await;
    scene.fake.finish();
}

/// The number of files below a folder.
fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}

on_both!(everything_is_deleted_after_grace_period);
async fn everything_is_deleted_after_grace_period(database: Database) {
    let mut scene = Scene::new(database).await;
    let traces = TempDir::new().expect("a temporary folder");
    let kept = format!("file:{}", traces.path().display());
    scene.builder = scene.builder.clone().env("PACEGATE_TRACES_URL", &kept);
    let service = scene.builder.start().await;
    scene.push_history(&service).await;
    let head = sha("judged");
    scene.tell_of(&service, "opened", &PullRequest::new(7, REPO, &head)).await;
    scene.push(&service, &Scene::slowed(7, &head, 10)).await;
    scene.concluded(&head).await;
    scene.quiet(&service, 1).await;
    assert_eq!(files(traces.path()), HISTORY as usize + 1);
    scene.fake.uninstall(99);
    tell(&scene, &service, "deleted", 99).await;
    scene.quiet(&service, 1).await;
    service.terminate().await;

    let service = scene.builder.clone().env("PACEGATE_GRACE", "0s").start().await;
    let request = Scene::slowed(7, &head, 5);
    eventually("the token to be unknown", PATIENCE, || async {
        (scene.post_spans(&service, &request).await.status() == 401).then_some(())
    })
    .await;
    eventually("the last row to be gone", PATIENCE, || async {
        let said = "was deleted after its grace period";
        service.log().iter().any(|line| line.contains(said)).then_some(())
    })
    .await;
    assert_eq!(files(traces.path()), 0);
    service.terminate().await;
    let service = scene.builder.start().await;
    scene.fake.installation(Installation::new(100, "acme"));
    scene.change(|repository| repository.installation = Some(100));
    tell(&scene, &service, "created", 100).await;
    // The pull request is still open, so a new check waits, beside the watchdog of the old one.
    scene.quiet(&service, 2).await;
    scene.token = create_token(&scene.builder, REPO);
    for (path, what) in [("/runs", "runs"), (&format!("/runs?sha={head}"), "runs")] {
        let (status, body) = scene.api(&service, path).await;
        assert_eq!((status, body[what].as_array().map(Vec::len)), (200, Some(0)), "{path}");
    }
    service.terminate().await;
    scene.fake.finish();
}

on_both!(current_github_state_beats_delivery_order);
async fn current_github_state_beats_delivery_order(database: Database) {
    let mut scene = Scene::new(database).await;
    scene.builder = scene.builder.clone().env("PACEGATE_PAGES", "public");
    scene.change(|repository| repository.private = false);
    let service = scene.builder.start().await;
    let told = async |action: &str, status: u16| {
        let payload = webhooks::installation_repositories(action, 99, &[&scene.repository]);
        scene.tell(&service, "installation_repositories", &payload).await;
        scene.quiet(&service, 0).await;
        assert_eq!(scene.page(&service, REPO, None).await.0, status, "{action}");
    };
    // The repository was removed and added again. The events arrive in reverse order, and GitHub
    // still has it.
    told("added", 200).await;
    told("removed", 200).await;
    // The repository was added and removed again. GitHub no longer has it.
    scene.fake.change_repository(REPO, |repository| repository.installation = None);
    told("removed", CLOSED).await;
    told("added", CLOSED).await;
    // The installation is gone before its creation is delivered.
    for action in ["deleted", "created"] {
        tell(&scene, &service, action, 100).await;
        scene.quiet(&service, 0).await;
        assert_eq!(scene.page(&service, REPO, None).await.0, CLOSED, "{action}");
    }
    service.terminate().await;
    scene.fake.finish();
}
