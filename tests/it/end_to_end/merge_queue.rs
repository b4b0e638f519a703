//! A merge queue's group has a check and no comment. After the merge its runs are part of the
//! baseline.

use super::buttons::{becomes, press, regressed};
use super::{Database, HISTORY, PATIENCE, REPO, Scene, on_both};
use crate::pipeline::Run;
use crate::service::WEBHOOK_SECRET;
use crate::time::{eventually, now_seconds};
use crate::webhooks::{self, delivery, sha};

on_both!(group_is_judged_and_becomes_baseline);
async fn group_is_judged_and_becomes_baseline(database: Database) {
    let scene = Scene::new(database).await;
    let service = scene.builder.start().await;
    scene.push_history(&service).await;
    let (group, base) = (sha("group"), sha("main 29"));
    let requested = webhooks::merge_group("checks_requested", &scene.repository, &group, &base);
    scene.deliver(&service, &delivery("merge_group", &requested, WEBHOOK_SECRET)).await;
    let mut run = Run::of_main(&group, now_seconds() - 600);
    run.branch = Some("gh-readonly-queue/main/pr-7-929f8209".into());
    scene.push(&service, &run.request()).await;
    let check = scene.concluded(&group).await;
    assert_eq!(check.conclusion.as_deref(), Some("success"), "{:?}", check.title);
    assert_eq!(scene.fake.count_of("issues/create-comment"), 0);

    let merged = webhooks::push(&scene.repository, "main", &group);
    scene.deliver(&service, &delivery("push", &merged, WEBHOOK_SECRET)).await;
    let destroyed = webhooks::merge_group("destroyed", &scene.repository, &group, &base);
    scene.deliver(&service, &delivery("merge_group", &destroyed, WEBHOOK_SECRET)).await;
    eventually("the group's run on main", PATIENCE, || async {
        let (_, runs) = scene.api(&service, &format!("/runs?sha={group}")).await;
        (runs["runs"][0]["lineage"]["name"] == "main").then_some(())
    })
    .await;
    // A commit that was pushed to another branch is not part of the queue. It keeps its lineage.
    let next = sha("next");
    scene.deliver(&service, &scene.pull_request("opened", 8, &next)).await;
    scene.push(&service, &Scene::slowed(8, &next, 1)).await;
    scene.concluded(&next).await;
    let (_, verdict) = scene.api(&service, &format!("/commits/{next}/verdict?wait=30s")).await;
    assert_eq!(verdict["baseline"]["runs"], HISTORY + 1);
    assert_eq!(verdict["baseline"]["to_sha"], group);
    assert!(scene.fake.comments(REPO, 7).is_empty());
    service.terminate().await;
    scene.fake.finish();
}

on_both!(acceptance_in_pull_request_applies_to_its_group);
async fn acceptance_in_pull_request_applies_to_its_group(database: Database) {
    let scene = Scene::new(database).await;
    scene.fake.collaborator(REPO, "ada", "write");
    let service = scene.builder.start().await;
    let (head, check) = regressed(&scene, &service, 7).await;
    press(&scene, &service, &check, "accept", "ada").await;
    becomes(&scene, &head, "success").await;
    let (group, base) = (sha("group of seven"), sha("main 29"));
    let requested = webhooks::merge_group("checks_requested", &scene.repository, &group, &base);
    scene.deliver(&service, &delivery("merge_group", &requested, WEBHOOK_SECRET)).await;
    let mut run = Run::slowed(&group, "gh-readonly-queue/main/pr-7-929f8209", now_seconds() - 120);
    run.raises = false;
    scene.push(&service, &run.request()).await;
    let check = scene.concluded(&group).await;
    assert_eq!(check.conclusion.as_deref(), Some("success"), "{:?} {:?}", check.title, check.summary);
    // A decision on the group's own check has no effect: the check belongs to no pull request.
    press(&scene, &service, &check, "accept", "ada").await;
    eventually("the log line about it", PATIENCE, || async {
        service.log().iter().any(|line| line.contains("only a pull request's change")).then_some(())
    })
    .await;
    service.terminate().await;
    scene.fake.finish();
}
