//! Deliveries: only valid signatures are accepted, repetition and order make no difference, and
//! every real example payload is answered.

use super::{Database, Fixture, REPO, on_both};
use crate::fake_github::state::PullRequest;
use crate::service::WEBHOOK_SECRET;
use crate::webhooks::{self, delivery, sha};

on_both!(repeated_and_reordered_deliveries_change_nothing);
async fn repeated_and_reordered_deliveries_change_nothing(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let (first, second) = (sha("reordered first"), sha("reordered second"));
    let opened = fixture.pull_request("opened", 7, &first);
    let moved = fixture.pull_request("synchronize", 7, &second);
    fixture.push(&service, &Fixture::slowed(7, &first, 30)).await;
    fixture.push(&service, &Fixture::slowed(7, &second, 10)).await;
    // The newer push first, and both three times.
    for _ in 0..3 {
        fixture.deliver(&service, &moved).await;
        fixture.deliver(&service, &opened).await;
    }
    fixture.concluded(&first).await;
    fixture.concluded(&second).await;
    fixture.wait_until_idle(&service, 2).await;
    let newest = fixture.concluded(&second).await;
    assert_eq!((fixture.checks(&first).len(), fixture.checks(&second).len()), (1, 1));
    assert!(newest.title.expect("a title").contains("confirmed"), "both pushes are samples of the change");
    let comments = fixture.fake.comments(REPO, 7);
    assert_eq!(comments.len(), 1);
    assert!(comments[0].body.contains(&second[..7]), "the comment names the newest head");
    let (_, body) = fixture.api(&service, &format!("/runs?sha={second}")).await;
    assert_eq!(body["runs"].as_array().map(Vec::len), Some(1));
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(deliveries_without_valid_signature_are_refused);
async fn deliveries_without_valid_signature_are_refused(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    let good = fixture.pull_request("opened", 7, &sha("unsigned"));
    let status = async |delivery: &webhooks::Delivery| {
        let answer = delivery.to(&fixture.client, &service.url()).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    };
    for signature in
        [None, Some("sha256=00".to_owned()), Some(webhooks::signature("another secret", &good.body))]
    {
        let (code, body) = status(&webhooks::Delivery { signature: signature.clone(), ..good.clone() }).await;
        assert_eq!(code, 401, "{signature:?}");
        assert!(body.contains("signature is missing or wrong"), "{body}");
    }
    let mut tampered = good.clone();
    tampered.body.push(b' ');
    assert_eq!(status(&tampered).await.0, 401);
    let body = vec![b' '; 26 << 20];
    let large = webhooks::Delivery {
        signature: Some(webhooks::signature(WEBHOOK_SECRET, &body)),
        body,
        ..good.clone()
    };
    // The service refuses before it reads the body and closes the connection, perhaps before the
    // client sees the answer. The request has its own client, so that no later request uses that
    // connection.
    let answer = large.to(&reqwest::Client::new(), &service.url()).send().await;
    assert_eq!(answer.map_or(413, |answer| answer.status().as_u16()), 413);
    let body = b"{\"action\":\"opened\"}".to_vec();
    let odd = webhooks::Delivery {
        signature: Some(webhooks::signature(WEBHOOK_SECRET, &body)),
        body,
        ..good.clone()
    };
    let (code, text) = status(&odd).await;
    assert_eq!(code, 400);
    assert!(text.contains("missing field"), "{text}");
    assert!(fixture.fake.check_runs().is_empty());
    assert_eq!(status(&good).await.0, 202, "and the service still works");
    service.terminate().await;
    fixture.fake.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_github_example_payload_is_answered_202() {
    let fixture = Fixture::new(Database::sqlite()).await;
    let service = fixture.builder.clone().arguments(&["--no-worker"]).start().await;
    let mut count = 0;
    for event in webhooks::events() {
        for payload in webhooks::examples(&event) {
            let sent = delivery(&event, &payload, WEBHOOK_SECRET);
            let answer = sent.to(&fixture.client, &service.url()).send().await.expect("an answer");
            let status = answer.status();
            assert_eq!(status, 202, "{event}: {}", answer.text().await.unwrap_or_default());
            count += 1;
        }
    }
    // All payloads of the package, for 58 events.
    assert!(count >= 329, "{count} payloads");
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(installation_resumes_and_removal_stops_all_calls);
async fn installation_resumes_and_removal_stops_all_calls(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    let installation = |action: &str| {
        delivery("installation", &webhooks::installation(action, 99, &[&fixture.repository]), WEBHOOK_SECRET)
    };
    fixture.deliver(&service, &installation("created")).await;
    fixture.wait_until_idle(&service, 0).await;
    fixture.push_history(&service).await;
    fixture.deliver(&service, &installation("suspend")).await;
    fixture.wait_until_idle(&service, 0).await;
    // A suspended installation must not be called. Its pull request's delivery is the last event,
    // and no check follows.
    let removed = webhooks::installation_repositories("removed", 99, &[&fixture.repository]);
    fixture.deliver(&service, &installation("unsuspend")).await;
    fixture.deliver(&service, &delivery("installation_repositories", &removed, WEBHOOK_SECRET)).await;
    fixture.wait_until_idle(&service, 0).await;
    let added = webhooks::installation_repositories("added", 99, &[&fixture.repository]);
    fixture.deliver(&service, &delivery("installation_repositories", &added, WEBHOOK_SECRET)).await;
    fixture.wait_until_idle(&service, 0).await;
    let head = sha("after all that");
    fixture.deliver(&service, &fixture.pull_request("opened", 7, &head)).await;
    fixture.push(&service, &Fixture::slowed(7, &head, 10)).await;
    fixture.concluded(&head).await;
    fixture.wait_until_idle(&service, 1).await;
    fixture.deliver(&service, &installation("deleted")).await;
    fixture.wait_until_idle(&service, 1).await;
    let calls = fixture.fake.requests().len();
    fixture.push(&service, &Fixture::slowed(7, &sha("after the end"), 5)).await;
    fixture.wait_until_idle(&service, 1).await;
    assert_eq!(fixture.fake.requests().len(), calls, "nothing is called for a removed installation");
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(only_our_main_is_baseline_not_fork_main);
async fn only_our_main_is_baseline_not_fork_main(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let lineage_of = async |head: &str| {
        let (_, body) = fixture.api(&service, &format!("/runs?sha={head}")).await;
        body["runs"][0]["lineage"].clone()
    };
    let open = async |pr: &PullRequest| {
        fixture.fake.pull_request(REPO, pr.clone());
        let payload = webhooks::pull_request("opened", &fixture.repository, pr);
        fixture.deliver(&service, &delivery("pull_request", &payload, WEBHOOK_SECRET)).await;
    };
    // Measured before and after GitHub reports the head's repository.
    let (before, after) = (sha("fork before"), sha("fork after"));
    let now = crate::time::now_seconds();
    fixture.push(&service, &crate::pipeline::Run::of_main(&before, now - 900).request()).await;
    fixture.wait_for_runs(&service, super::HISTORY as usize + 1).await;
    for (number, head) in [(20, &before), (21, &after)] {
        let mut pr = PullRequest::new(number, REPO, head);
        (pr.head_ref, pr.head_repo) = ("main".into(), "mallory/my-app".into());
        open(&pr).await;
    }
    fixture.concluded(&before).await;
    fixture.push(&service, &crate::pipeline::Run::of_main(&after, now - 600).request()).await;
    fixture.concluded(&after).await;
    assert_eq!(lineage_of(&before).await, serde_json::json!({ "kind": "pull_request", "number": 20 }));
    assert_eq!(lineage_of(&after).await, serde_json::json!({ "kind": "pull_request", "number": 21 }));
    // Our own main, which is to be merged into a release branch.
    let main = sha("main 3");
    let mut pr = PullRequest::new(22, REPO, &main);
    (pr.head_ref, pr.base_ref) = ("main".into(), "release".into());
    open(&pr).await;
    fixture.concluded(&main).await;
    assert_eq!(lineage_of(&main).await, serde_json::json!({ "kind": "branch", "name": "main" }));
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(closed_pull_request_comment_stays_unchanged);
async fn closed_pull_request_comment_stays_unchanged(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let head = sha("closed");
    let mut closed = PullRequest::new(9, REPO, &head);
    closed.open = false;
    fixture.fake.pull_request(REPO, closed.clone());
    let payload = webhooks::pull_request("closed", &fixture.repository, &closed);
    fixture.deliver(&service, &delivery("pull_request", &payload, WEBHOOK_SECRET)).await;
    fixture.push(&service, &Fixture::slowed(9, &head, 10)).await;
    fixture.wait_for_runs(&service, super::HISTORY as usize + 1).await;
    fixture.wait_until_idle(&service, 0).await;
    assert!(fixture.fake.comments(REPO, 9).is_empty());
    service.terminate().await;
    fixture.fake.finish();
}
