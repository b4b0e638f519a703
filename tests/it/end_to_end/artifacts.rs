//! The data that the companion action ships from jobs, as artifacts and as pushed spans. It becomes
//! part of the run that GitHub reports. Invalid data is refused without losing the run.

use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use pacegate_ingest::ci_job::ids::{job_span_id, trace_id};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::actions::ci;
use super::{DEADLINE, Database, Fixture, REPO, on_both};
use crate::fake_github::actions::WorkflowRun;
use crate::fake_github::state::PullRequest;
use crate::service::{Service, WEBHOOK_SECRET};
use crate::time::{eventually, now_seconds};
use crate::webhooks::{self, delivery, sha};

const RUN: u64 = 5_001;
/// GitHub's number of the run's second job, `test`.
const JOB: u64 = RUN * 100 + 2;

/// A span of the job. `from` is seconds after the start of the tests.
fn span(run: &WorkflowRun, id: u64, name: &str, from: i64, seconds: i64) -> Value {
    let began = run.jobs[1].steps[2].1 + from;
    json!({
        "traceId": trace_id(i64::try_from(run.id).expect("small"), 1).to_string(), "spanId": format!("{id:016x}"),
        "parentSpanId": job_span_id(i64::try_from(JOB).expect("small")).to_string(), "name": name,
        "startTimeUnixNano": format!("{began}500000000"), "endTimeUnixNano": format!("{}500000000", began + seconds),
    })
}

fn request(spans: &[Value]) -> Value {
    json!({ "resourceSpans": [{
        "resource": { "attributes": [{ "key": "vcs.ref.head.name", "value": { "stringValue": "main" } }] },
        "scopeSpans": [{ "spans": spans }],
    }] })
}

/// The zip of a job's artifact. `change` replaces fields of its manifest.
fn archive(run: &WorkflowRun, spans: &[Value], change: &Value) -> Vec<u8> {
    let job = &run.jobs[1];
    let lines = request(spans).to_string() + "\n";
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(lines.as_bytes()).expect("memory");
    let packed = gzip.finish().expect("memory");
    let nanoseconds = |seconds: i64| format!("{seconds}000000000");
    let mut manifest = json!({
        "schema": 1, "repository": REPO, "repository_id": "1296269", "run_id": run.id.to_string(), "run_attempt": 1,
        "job": "test", "check_run_id": JOB.to_string(), "head_sha": run.head_sha, "event_name": "push",
        "ref": "refs/heads/main", "trace_id": trace_id(i64::try_from(run.id).expect("small"), 1).to_string(),
        "job_span_id": job_span_id(i64::try_from(JOB).expect("small")).to_string(), "runner_name": "GitHub Actions 2",
        "started_at_unix_nano": nanoseconds(job.started_at + 1),
        "ended_at_unix_nano": nanoseconds(job.completed_at.expect("ended") - 1),
        "runner": { "host.cpu.model.name": "EPYC" }, "matrix": { "node": 18 }, "caches": {},
        "files": [{ "name": "spans.jsonl.gz", "bytes": packed.len(), "sha256": hex::encode(Sha256::digest(&packed)) }],
    });
    for (key, value) in change.as_object().expect("fields") {
        manifest[key] = value.clone();
    }
    zip(&[("manifest.json", manifest.to_string().as_bytes()), ("spans.jsonl.gz", &packed)])
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(*name, SimpleFileOptions::default()).expect("a new file");
        writer.write_all(bytes).expect("memory");
    }
    writer.finish().expect("memory").into_inner()
}

async fn ends(fixture: &Fixture, service: &Service, run: &WorkflowRun) {
    fixture.fake.workflow_run(REPO, run.clone());
    let payload = webhooks::workflow_run("completed", &fixture.repository, run);
    fixture.deliver(service, &delivery("workflow_run", &payload, WEBHOOK_SECRET)).await;
}

/// Waits until the only run has a stage, and returns the run.
async fn run_with(fixture: &Fixture, service: &Service, stage: &str) -> Value {
    eventually(&format!("a run with {stage}"), DEADLINE, || async {
        let (_, listed) = fixture.api(service, "/runs").await;
        let runs = listed["runs"].as_array().expect("runs").clone();
        assert!(runs.len() <= 1, "one run: {runs:?}");
        let (_, run) = fixture.api(service, &format!("/runs/{}", runs.first()?["id"].as_str()?)).await;
        paths(&run).iter().any(|path| path == stage).then_some(run)
    })
    .await
}

fn paths(run: &Value) -> Vec<String> {
    let parts = |stage: &Value| stage["path"].as_array().expect("a path").clone();
    let path = |stage| parts(stage).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" / ");
    run["stages"].as_array().expect("stages").iter().map(path).collect()
}

on_both!(spans_of_jobs_nest_below_steps_whenever_received);
async fn spans_of_jobs_nest_below_steps_whenever_received(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    let head = sha("with an artifact");
    let mut run = ci(RUN, &head, now_seconds() - 600, 0);
    run.event = "pull_request".into();
    // Pushed before GitHub has reported the run. It has no root span.
    let mut rootless = span(&run, 1, "pushed before", 1, 5);
    let early = request(&[rootless.clone()]);
    fixture.push(&service, &early).await;
    fixture.fake.put_artifact(
        RUN,
        "pacegate-1-test",
        &archive(&run, &[span(&run, 2, "slow case", 10, 20)], &json!({})),
    );
    fixture.fake.put_artifact(RUN, "coverage", b"of somebody else");
    ends(&fixture, &service, &run).await;
    let slow = run_with(&fixture, &service, "CI / test / Run npm test / slow case").await;
    assert!(
        paths(&slow).contains(&"CI / test / Run npm test / pushed before".to_owned()),
        "{:?}",
        paths(&slow)
    );
    assert_eq!(slow["run"]["lineage"]["kind"], "unknown", "the pushed spans name no branch");
    assert_eq!(fixture.fake.artifact_downloads(), 1);
    // A later push, with a root of its own, rebuilds the run, which stays a single run.
    rootless["parentSpanId"] = json!("");
    (rootless["name"], rootless["spanId"]) = (json!("pushed later"), json!("00000000000000aa"));
    assert_eq!(fixture.post_spans(&service, &request(&[rootless])).await.status(), 200);
    let whole = run_with(&fixture, &service, "CI / test / Run npm test / pushed later").await;
    assert_eq!(paths(&whole).len(), paths(&slow).len() + 1);
    let (_, trace) =
        fixture.api(&service, &format!("/runs/{}/trace", whole["run"]["id"].as_str().expect("an id"))).await;
    assert!(trace.to_string().contains("EPYC"), "facts about the machine belong to the job");
    fixture.wait_until_idle(&service, 0).await;
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(adversarial_fork_artifacts_are_refused_and_run_measured);
async fn adversarial_fork_artifacts_are_refused_and_run_measured(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    let head = sha("of a fork");
    let mut pr = PullRequest::new(12, REPO, &head);
    (pr.head_ref, pr.head_repo) = ("main".to_owned(), "mallory/my-app".to_owned());
    fixture.fake.pull_request(REPO, pr);
    let mut run = ci(RUN, &head, now_seconds() - 600, 0);
    (run.event, run.head_repo) = ("pull_request".to_owned(), "mallory/my-app".to_owned());
    let evil = |change: &Value| archive(&run, &[span(&run, 9, "evil", 1, 5)], change);
    let good = evil(&json!({}));
    let mut directory = good.clone();
    let end = directory.len() - 22;
    directory[end + 8..end + 12].copy_from_slice(&[0xa0, 0x86, 0xa0, 0x86]);
    let attacks = [
        ("run", evil(&json!({ "run_id": "5002" })), "it names run"),
        ("repository", evil(&json!({ "repository_id": "7" })), "it names repository"),
        ("attempt", evil(&json!({ "run_attempt": 2 })), "it names attempt"),
        ("job", evil(&json!({ "check_run_id": "7" })), "which this run does not have"),
        ("bomb", zip(&[("manifest.json", &vec![b' '; 64 << 20])]), "larger than"),
        ("path", zip(&[("../../etc/passwd", b"")]), "which the action does not write"),
        ("directory", directory, "34464 files"),
        ("page", b"<html>".to_vec(), "not a readable zip"),
        ("digest", good.clone(), "SHA-256"),
        ("elsewhere", good.clone(), "not https"),
    ];
    for (name, bytes, _) in &attacks {
        let id = fixture.fake.put_artifact(RUN, &format!("pacegate-1-{name}"), bytes);
        fixture.fake.change_artifact(id, |artifact| match *name {
            "digest" => artifact.digest = Some(format!("sha256:{}", "0".repeat(64))),
            "elsewhere" => artifact.location = Some("http://169.254.169.254/latest".to_owned()),
            _ => {}
        });
    }
    // An artifact that GitHub lists with another commit, and an artifact with impossible times.
    let other = fixture.fake.put_artifact(RUN, "pacegate-1-other", &good);
    fixture.fake.change_artifact(other, |artifact| artifact.head_sha = Some("a".repeat(40)));
    let forged = archive(&run, &[span(&run, 8, "forged", -400, 5)], &json!({}));
    fixture.fake.put_artifact(RUN, "pacegate-1-test", &forged);
    ends(&fixture, &service, &run).await;
    let measured = run_with(&fixture, &service, "CI / test / Run npm test").await;
    assert_eq!(
        measured["run"]["lineage"],
        json!({ "kind": "pull_request", "number": 12 }),
        "never a baseline"
    );
    let text = measured.to_string();
    assert!(
        text.contains("contradicts GitHub: it lies outside of the job's time")
            && !paths(&measured).iter().any(|p| p.contains("evil")),
        "{text}"
    );
    let log = service.log().join("\n");
    for (name, _, reason) in &attacks {
        assert!(log.contains(reason), "{name}: {reason} in\n{log}");
        assert!(text.contains(&format!("pacegate-1-{name}")), "{name} is reported: {text}");
    }
    assert!(log.contains("of another commit"), "{log}");
    fixture.wait_until_idle(&service, 0).await;
    service.terminate().await;
    fixture.fake.finish();
}
