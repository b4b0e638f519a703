//! A merge queue's group has a check and no comment. After the merge its runs are part of the
//! baseline.

use super::buttons::{press, regressed, wait_for_conclusion};
use super::{DEADLINE, Database, Fixture, HISTORY, REPO, on_both};
use crate::pipeline::Run;
use crate::service::WEBHOOK_SECRET;
use crate::time::{eventually, now_seconds};
use crate::webhooks::{self, delivery, sha};

on_both!(group_is_judged_and_becomes_baseline);
async fn group_is_judged_and_becomes_baseline(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let (group, base) = (sha("group"), sha("main 29"));
    let requested = webhooks::merge_group("checks_requested", &fixture.repository, &group, &base);
    fixture.deliver(&service, &delivery("merge_group", &requested, WEBHOOK_SECRET)).await;
    let mut run = Run::of_main(&group, now_seconds() - 600);
    run.branch = Some("gh-readonly-queue/main/pr-7-929f8209".into());
    fixture.push(&service, &run.request()).await;
    let check = fixture.concluded(&group).await;
    assert_eq!(check.conclusion.as_deref(), Some("success"), "{:?}", check.title);
    assert_eq!(fixture.fake.count_of("issues/create-comment"), 0);

    let merged = webhooks::push(&fixture.repository, "main", &group);
    fixture.deliver(&service, &delivery("push", &merged, WEBHOOK_SECRET)).await;
    let destroyed = webhooks::merge_group("destroyed", &fixture.repository, &group, &base);
    fixture.deliver(&service, &delivery("merge_group", &destroyed, WEBHOOK_SECRET)).await;
    eventually("the group's run on main", DEADLINE, || async {
        let (_, runs) = fixture.api(&service, &format!("/runs?sha={group}")).await;
        (runs["runs"][0]["lineage"]["name"] == "main").then_some(())
    })
    .await;
    // A commit that was pushed to another branch is not part of the queue. It keeps its lineage.
    let next = sha("next");
    fixture.deliver(&service, &fixture.pull_request("opened", 8, &next)).await;
    fixture.push(&service, &Fixture::slowed(8, &next, 1)).await;
    fixture.concluded(&next).await;
    let (_, verdict) = fixture.api(&service, &format!("/commits/{next}/verdict?wait=30s")).await;
    assert_eq!(verdict["baseline"]["runs"], HISTORY + 1);
    assert_eq!(verdict["baseline"]["to_sha"], group);
    assert!(fixture.fake.comments(REPO, 7).is_empty());
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(acceptance_in_pull_request_applies_to_its_group);
async fn acceptance_in_pull_request_applies_to_its_group(database: Database) {
    let fixture = Fixture::new(database).await;
    fixture.fake.collaborator(REPO, "ada", "write");
    let service = fixture.builder.start().await;
    let (head, check) = regressed(&fixture, &service, 7).await;
    press(&fixture, &service, &check, "accept", "ada").await;
    wait_for_conclusion(&fixture, &head, "success").await;
    let (group, base) = (sha("group of seven"), sha("main 29"));
    let requested = webhooks::merge_group("checks_requested", &fixture.repository, &group, &base);
    fixture.deliver(&service, &delivery("merge_group", &requested, WEBHOOK_SECRET)).await;
    let mut run = Run::slowed(&group, "gh-readonly-queue/main/pr-7-929f8209", now_seconds() - 120);
    run.raises = false;
    fixture.push(&service, &run.request()).await;
    let check = fixture.concluded(&group).await;
    assert_eq!(check.conclusion.as_deref(), Some("success"), "{:?} {:?}", check.title, check.summary);
    // A decision on the group's own check has no effect: the check belongs to no pull request.
    press(&fixture, &service, &check, "accept", "ada").await;
    eventually("the log line about it", DEADLINE, || async {
        service.log().iter().any(|line| line.contains("only a pull request's change")).then_some(())
    })
    .await;
    service.terminate().await;
    fixture.fake.finish();
}
