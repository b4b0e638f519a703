//! Raw traces that no policy keeps are deleted after the first days. Both sides of a reported
//! comparison stay. For all other runs everything but the trace stays.

use super::{DEADLINE, Database, Fixture, HISTORY, on_both};
use crate::time::eventually;
use crate::webhooks::sha;

on_both!(reported_comparison_keeps_both_sides_after_cleanup);
async fn reported_comparison_keeps_both_sides_after_cleanup(database: Database) {
    let fixture = Fixture::new(database).await;
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let policies = folder.path().join("retention.yml");
    std::fs::write(&policies, "policies: []\n").expect("a file");
    let policies = policies.to_str().expect("a path");
    let builder = fixture.builder.clone().env("PACEGATE_RETENTION", policies);
    let service = builder.start().await;
    fixture.push_history(&service).await;
    let head = sha("retained");
    fixture.deliver(&service, &fixture.pull_request("opened", 7, &head)).await;
    fixture.push(&service, &Fixture::slowed(7, &head, 10)).await;
    fixture.concluded(&head).await;
    service.terminate().await;
    // At the next start the first days are over.
    let service = builder.env("PACEGATE_TRACES_FULL", "0s").start().await;
    let of_runs = async || {
        let (_, body) = fixture.api(&service, "/runs").await;
        let mut kept = Vec::new();
        for run in body["runs"].as_array().expect("runs") {
            let path = format!("/runs/{}", run["id"].as_str().expect("an id"));
            let (status, answer) = fixture.api(&service, &path).await;
            assert_eq!(status, 200);
            let stages = answer["stages"].as_array().expect("stages").len();
            assert!(stages > 10, "durations are always kept");
            kept.push((path, run["head_sha"] == head, answer["trace"].clone()));
        }
        kept
    };
    let runs = eventually("the sweep", DEADLINE, || async {
        let runs = of_runs().await;
        let dropped = runs.iter().filter(|(_, _, trace)| trace["kept"] == false).count();
        (dropped == HISTORY as usize - 1).then_some(runs)
    })
    .await;
    for (path, is_candidate, trace) in &runs {
        let is_kept = trace["kept"] == true;
        assert!(is_kept || !is_candidate, "the candidate stays");
        if is_kept {
            assert_eq!(trace["by"], "reported");
        }
        let (status, body) = fixture.api(&service, &format!("{path}/trace")).await;
        assert_eq!(status, if is_kept { 200 } else { 410 });
        assert!(
            is_kept || body["detail"].as_str().is_some_and(|said| said.contains("no policy keeps it")),
            "{body}"
        );
    }
    assert_eq!(runs.iter().filter(|(_, candidate, trace)| !candidate && trace["kept"] == true).count(), 1);
    service.terminate().await;
    fixture.fake.finish();
}
