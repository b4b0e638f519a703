//! A GitHub that limits, fails and stops answering. Every check still ends, and no installation is
//! written to while GitHub asked to wait.

use super::{DEADLINE, Database, Fixture, REPO, on_both};
use crate::fake_github::storm::StormParameters;
use crate::fake_github::{Fault, Matcher, Side};
use crate::time::eventually;
use crate::webhooks::sha;

/// Each fault, and the call that it affects.
fn faults() -> Vec<(Matcher, Fault)> {
    vec![
        (Matcher::on("POST", "/access_tokens"), Fault::BadGateway),
        (Matcher::on("GET", "/pulls/"), Fault::BadGateway),
        (Matcher::on("POST", "/check-runs"), Fault::DropAfterWrite),
        (Matcher::on("POST", "/check-runs"), Fault::DropConnection),
        (Matcher::on("PATCH", "/check-runs/"), Fault::Forbidden { retry_after: Some(1) }),
        (Matcher::on("PATCH", "/check-runs/"), Fault::DropAfterWrite),
        (Matcher::on("PATCH", "/check-runs/"), Fault::Unauthorized),
        (Matcher::on("GET", "/check-runs?"), Fault::RateLimited { reset: crate::time::now_seconds() + 1 }),
        (Matcher::on("GET", "/pulls/"), Fault::TimeoutBeforeWrite),
        (Matcher::on("POST", "/check-runs"), Fault::TimeoutAfterWrite),
        (Matcher::on("PATCH", "/check-runs/"), Fault::TimeoutAfterWrite),
        (Matcher::on("POST", "/comments"), Fault::TimeoutAfterWrite),
        (Matcher::on("GET", "/comments"), Fault::BadGateway),
        (Matcher::on("POST", "/comments"), Fault::DropAfterWrite),
        (Matcher::on("POST", "/comments"), Fault::Unauthorized),
        (Matcher::on("POST", "/comments"), Fault::BadGateway),
    ]
}

on_both!(fault_at_any_call_leaves_one_check);
async fn fault_at_any_call_leaves_one_check(database: Database) {
    let mut fixture = Fixture::new(database).await;
    // A GitHub that does not answer is given up early here.
    fixture.builder = fixture.builder.clone().env("PACEGATE_GITHUB_TIMEOUT", "1s");
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    for (number, (matcher, fault)) in (200_u64..).zip(faults()) {
        let head = sha(&format!("fault {number}"));
        fixture.fake.revoke_tokens(); // so that one is minted in each round
        fixture.fake.fault(matcher.clone(), fault);
        fixture.push(&service, &Fixture::slowed(number, &head, 10)).await;
        fixture.deliver(&service, &fixture.pull_request("opened", number, &head)).await;
        fixture.concluded(&head).await;
        eventually("the comment", DEADLINE, || async {
            fixture.fake.comments(REPO, number).first().map(|_| ())
        })
        .await;
        fixture.wait_until_idle(&service, usize::try_from(number - 199).expect("small")).await;
        assert_eq!(fixture.checks(&head).len(), 1, "one check run after {fault:?}");
        assert_eq!(fixture.fake.comments(REPO, number).len(), 1, "one comment after {fault:?}");
    }
    service.terminate().await;
    fixture.fake.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_while_github_asks_to_wait() {
    let fixture = Fixture::new(Database::sqlite()).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let head = sha("asked to wait");
    // GitHub gives no hint when to retry. The documented wait is a minute.
    fixture.fake.fault(Matcher::on("PATCH", "/check-runs/"), Fault::SecondaryLimit);
    fixture.push(&service, &Fixture::slowed(1, &head, 10)).await;
    fixture.deliver(&service, &fixture.pull_request("opened", 1, &head)).await;
    let warning = eventually("the task to be postponed", DEADLINE, || async {
        service.log().into_iter().find(|line| line.contains("publish_comparison") && line.contains("put off"))
    })
    .await;
    assert!(warning.contains("GitHub asks to wait 6"), "{warning}");
    assert_eq!(fixture.fake.count_of("checks/update"), 1, "no second call during the wait");
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(outage_ends_with_every_check_concluded);
async fn outage_ends_with_every_check_concluded(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    // GitHub answers nothing: first from the first delivery on, then from the middle of publishing
    // on.
    let down = StormParameters { seed: 1, failing: 1000, limited: 0, calls: 5000, window: 3600 };
    let heads: Vec<String> = (1..=3).map(|number| sha(&format!("outage {number}"))).collect();
    let pause = fixture.fake.pause_at("PATCH", "/check-runs/", Side::BeforeWrite);
    fixture.push(&service, &Fixture::slowed(1, &heads[0], 10)).await;
    fixture.deliver(&service, &fixture.pull_request("opened", 1, &heads[0])).await;
    pause.reached().await;
    fixture.fake.set_storm(Some(down));
    pause.drop_connection();
    for (number, head) in (1..).zip(&heads).skip(1) {
        fixture.push(&service, &Fixture::slowed(number, head, 10)).await;
        fixture.deliver(&service, &fixture.pull_request("opened", number, head)).await;
    }
    let calls = fixture.fake.requests().len();
    eventually("calls that fail", DEADLINE, || async {
        (fixture.fake.requests().len() >= calls + 8).then_some(())
    })
    .await;
    assert!(fixture.fake.check_runs().iter().all(|check| check.conclusion.is_none()));
    fixture.fake.set_storm(None);
    for (number, head) in (1..).zip(&heads) {
        fixture.concluded(head).await;
        eventually("the comment", DEADLINE, || async {
            fixture.fake.comments(REPO, number).first().map(|_| ())
        })
        .await;
    }
    fixture.wait_until_idle(&service, heads.len()).await;
    assert_eq!(fixture.fake.check_runs().len(), heads.len());
    service.terminate().await;
    fixture.fake.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_reads_do_not_count_against_limit() {
    let fixture = Fixture::new(Database::sqlite()).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let head = sha("asked again");
    fixture.push(&service, &Fixture::slowed(1, &head, 10)).await;
    let first = fixture.pull_request("opened", 1, &head);
    fixture.deliver(&service, &first).await;
    fixture.concluded(&head).await;
    fixture.wait_until_idle(&service, 1).await;
    for _ in 0..5 {
        // A new delivery each time, about the same state.
        fixture.deliver(&service, &fixture.pull_request("opened", 1, &head)).await;
    }
    fixture.wait_until_idle(&service, 1).await;
    let reads: Vec<_> =
        fixture.fake.requests().into_iter().filter(|r| r.path.ends_with("/pulls/1")).collect();
    let free = reads.iter().filter(|read| read.status == Some(304)).count();
    assert_eq!((reads.len(), free), (6, 5), "one of six calls is counted");
    service.terminate().await;
    fixture.fake.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_comment_is_never_edited() {
    let fixture = Fixture::new(Database::sqlite()).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let head = sha("forged marker");
    let delivery = fixture.pull_request("opened", 6, &head);
    let forged = "<!-- pacegate:comment:v1 -->\nnot ours";
    fixture.fake.foreign_comment(REPO, 6, "mallory", None, forged);
    fixture.fake.foreign_comment(REPO, 6, "another-app[bot]", Some("another-app"), forged);
    fixture.push(&service, &Fixture::slowed(6, &head, 10)).await;
    fixture.deliver(&service, &delivery).await;
    fixture.concluded(&head).await;
    fixture.wait_until_idle(&service, 1).await;
    let comments = fixture.fake.comments(REPO, 6);
    assert_eq!(comments.len(), 3);
    assert_eq!(comments.iter().filter(|comment| comment.body == forged).count(), 2, "both are unchanged");
    service.terminate().await;
    fixture.fake.finish();
}
