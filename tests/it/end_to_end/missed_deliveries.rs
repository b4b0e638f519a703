//! Lost deliveries. The service asks GitHub to redeliver them, and reads from GitHub's
//! lists what the events would have reported.

use super::{DEADLINE, Database, Fixture, REPO, on_both};
use crate::fake_github::state::PullRequest;
use crate::service::Service;
use crate::time::{eventually, now_seconds};
use crate::webhooks::sha;

/// A service that polls GitHub every second.
async fn start(fixture: &mut Fixture) -> Service {
    fixture.builder = fixture.builder.clone().env("PACEGATE_RECONCILE_INTERVAL", "1s");
    fixture.builder.start().await
}

on_both!(missed_delivery_is_requested_again_once);
async fn missed_delivery_is_requested_again_once(database: Database) {
    let mut fixture = Fixture::new(database).await;
    let head = sha("lost");
    let lost = fixture.pull_request("opened", 7, &head);
    let known = fixture.pull_request("opened", 8, &sha("heard without GitHub knowing"));
    let now = now_seconds();
    // More than a page of successful deliveries, and of failures older than GitHub's three days.
    for i in 0..120 {
        fixture.fake.add_delivery_attempt(&format!("old-{i}"), "pull_request", now - 5 * 86_400, 502);
        fixture.fake.add_delivery_attempt(&format!("arrived-{i}"), "pull_request", now - 3600, 202);
    }
    fixture.fake.add_delivery_attempt(&lost.id, "pull_request", now - 3500, 502);
    // The delivery arrived, but the answer was lost.
    fixture.fake.add_delivery_attempt(&known.id, "pull_request", now - 3400, 504);
    for i in 0..120 {
        fixture.fake.add_delivery_attempt(&format!("later-{i}"), "pull_request", now - 60, 202);
    }
    let service = fixture.builder.start().await;
    fixture.deliver(&service, &known).await;
    fixture.wait_until_idle(&service, 1).await;
    service.terminate().await;

    let service = start(&mut fixture).await;
    eventually("the request to send it again", DEADLINE, || async {
        (!fixture.fake.redelivery_requests().is_empty()).then_some(())
    })
    .await;
    // GitHub redelivers with the same guid.
    fixture.deliver(&service, &lost).await;
    fixture.fake.add_delivery_attempt(&lost.id, "pull_request", now_seconds(), 202);
    eventually("its check", DEADLINE, || async { fixture.checks(&head).first().map(|_| ()) }).await;
    let sweeps = fixture.fake.count_of("apps/list-webhook-deliveries");
    eventually("two more sweeps", DEADLINE, || async {
        (fixture.fake.count_of("apps/list-webhook-deliveries") >= sweeps + 2).then_some(())
    })
    .await;
    assert_eq!(fixture.fake.redelivery_requests(), [lost.id]);
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(pull_requests_without_delivery_are_found);
async fn pull_requests_without_delivery_are_found(database: Database) {
    let mut fixture = Fixture::new(database).await;
    let service = start(&mut fixture).await;
    fixture.push_history(&service).await;
    let known = sha("told");
    fixture.deliver(&service, &fixture.pull_request("opened", 1, &known)).await;
    eventually("its check", DEADLINE, || async { fixture.checks(&known).first().map(|_| ()) }).await;
    // Pushed, opened and closed without any delivery.
    let (moved, opened) = (sha("moved on"), sha("opened unheard"));
    fixture.push(&service, &Fixture::slowed(1, &moved, 10)).await;
    fixture.push(&service, &Fixture::slowed(2, &opened, 10)).await;
    fixture.fake.pull_request(REPO, PullRequest::new(1, REPO, &moved));
    fixture.fake.pull_request(REPO, PullRequest::new(2, REPO, &opened));
    for (number, head) in [(1, &moved), (2, &opened)] {
        fixture.concluded(head).await;
        eventually("the comment", DEADLINE, || async {
            fixture.fake.comments(REPO, number).first().map(|_| ())
        })
        .await;
    }
    fixture.fake.pull_request(REPO, PullRequest { open: false, ..PullRequest::new(2, REPO, &opened) });
    eventually("the closed pull request to be read", DEADLINE, || async {
        let asked = |r: &crate::fake_github::state::Recorded| r.path.ends_with("/pulls/2");
        let calls = fixture.fake.requests().iter().filter(|r| asked(r)).count();
        (calls >= 2).then_some(())
    })
    .await;
    // An unchanged state costs one list request that does not count against the limit, and nothing
    // else.
    let calls = fixture.fake.requests().len();
    eventually("a list that did not change", DEADLINE, || async {
        let later = fixture.fake.requests().split_off(calls);
        let lists: Vec<_> = later.iter().filter(|r| r.path.ends_with("/pulls")).collect();
        (lists.len() >= 3 && lists.last()?.status == Some(304)).then_some(())
    })
    .await;
    assert_eq!(fixture.fake.check_runs().len(), 3);
    service.terminate().await;
    fixture.fake.finish();
}
