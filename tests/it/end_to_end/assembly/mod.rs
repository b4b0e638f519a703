//! A pipeline whose parts come from several services, in separate requests and in random order. It
//! has stages and operations of one tracer, a service with a wrong clock, and a queue whose
//! consumer has its own trace.

mod pipeline_run;

use serde_json::Value;

use self::pipeline_run::PipelineRun;
use super::{Database, Fixture, on_both};
use crate::time::now_seconds;
use crate::webhooks::sha;

/// Runs of main before the change.
const HISTORY: u32 = 20;
/// The path of the consumer's work.
const MIGRATE: [&str; 6] =
    ["shop", "deploy", "send-message-orders", "receive-message-orders", "process-message-orders", "migrate"];

fn stage<'a>(verdict: &'a Value, path: &[&str]) -> Option<&'a Value> {
    verdict["stages"].as_array()?.iter().find(|stage| stage["path"] == serde_json::json!(path))
}

on_both!(spans_from_many_senders_form_one_run);
async fn spans_from_many_senders_form_one_run(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    let begin = now_seconds() - 3600 * i64::from(HISTORY + 2);
    let history: Vec<PipelineRun> = (0..HISTORY)
        .map(|i| PipelineRun::new(&sha(&format!("main {i}")), "main", begin + i64::from(i) * 3600, 1.0))
        .collect();
    let parts: Vec<Value> = history.iter().flat_map(PipelineRun::parts).collect();
    for request in pipeline_run::requests(parts, 4) {
        fixture.push(&service, &request).await;
    }
    fixture.wait_for_runs(&service, HISTORY as usize).await;
    fixture.wait_until_idle(&service, 0).await;
    let (_, runs) = fixture.api(&service, "/runs").await;
    let pipelines: Vec<&Value> =
        runs["runs"].as_array().expect("runs").iter().map(|run| &run["pipeline"]).collect();
    assert_eq!(pipelines, vec!["shop"; HISTORY as usize], "no part of a run is stored as a separate run");

    let head = sha("slow consumer");
    let slowed = PipelineRun::new(&head, "change", now_seconds() - 600, 2.0);
    let (late, parts): (Vec<Value>, Vec<Value>) =
        slowed.parts().into_iter().partition(|part| pipeline_run::name(part) == "git-clone");
    for request in pipeline_run::requests(parts, 3) {
        fixture.push(&service, &request).await;
    }
    // Waits until all of it is collected: a verdict on a part of it may come first.
    fixture.wait_until_idle(&service, 0).await;
    let (_, verdict) = fixture.api(&service, &format!("/commits/{head}/verdict")).await;
    let blamed: Vec<&Value> = verdict["stages"]
        .as_array()
        .expect("stages")
        .iter()
        .filter(|stage| stage["verdict"] == "suspect" && stage["explained_by"].is_null())
        .map(|stage| &stage["path"])
        .collect();
    assert_eq!(blamed, [&serde_json::json!(MIGRATE)], "the deepest stage, though it lies in another trace");
    for path in [
        &["shop"][..],
        &["shop", "deploy"],
        &["shop", "build", "build-compile"],
        &["shop", "test", "upload-artifact", "store-artifact"],
    ] {
        let stage = stage(&verdict, path).unwrap_or_else(|| panic!("{path:?} in {verdict}"));
        assert_eq!(stage["verdict"], "pass", "{path:?}: the receiver of its message does not lengthen it");
    }
    let empty = stage(&verdict, &["shop", "build", "build-lint"]).expect("a stage without length");
    assert!(empty["verdict"] != "suspect", "{empty}");
    let notes = verdict["notes"].to_string();
    for said in ["the clock of artifact-1 was 3.0 s ahead", "placed below it by their times"] {
        assert!(notes.contains(said), "{said}: {notes}");
    }
    assert!(stage(&verdict, &["shop", "checkout", "git-clone"]).is_none_or(|s| s["verdict"] == "removed"));

    // Spans that come after the verdict rebuild the run and the verdict.
    fixture.push(&service, &pipeline_run::requests(late, 1).remove(0)).await;
    fixture.wait_until_idle(&service, 0).await;
    let (_, verdict) = fixture.api(&service, &format!("/commits/{head}/verdict")).await;
    let clone = stage(&verdict, &["shop", "checkout", "git-clone"]).expect("the late stage");
    assert_eq!(clone["verdict"], "pass");
    let (_, runs) = fixture.api(&service, &format!("/runs?sha={head}")).await;
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1));
    service.terminate().await;
    fixture.fake.finish();
}
