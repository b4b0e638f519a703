//! The caveats of GitHub's times, each with answers in GitHub's format.

use serde_json::{Value, json};

use super::*;
use pacegate_engine::gate::measure::extract::{Extraction, extract};
use pacegate_engine::gate::measure::identity::RunIdentity;
use pacegate_engine::model::stage::StageKind;
use pacegate_engine::model::trace::Trace;

/// RFC 3339, seconds after a fixed time.
fn at(seconds: i64) -> String {
    Timestamp(1_790_000_000_000_000 + seconds * 1_000_000).to_rfc3339()
}

fn run(change: Value) -> WorkflowRun {
    let mut run = json!({
        "id": 29_679_449, "name": "CI", "workflow_id": 159_038, "path": ".github/workflows/ci.yml@refs/heads/main",
        "event": "push", "status": "completed", "conclusion": "success", "run_number": 562, "run_attempt": 1,
        "head_sha": "f83a356604ae3c5d03e1b46ef4d1ca77d64a90b0", "head_branch": "main",
        "repository": { "id": 1_296_269, "full_name": "octo-org/octo-repo" },
        "head_repository": { "id": 1_296_269, "full_name": "octo-org/octo-repo" }, "pull_requests": [],
        "run_started_at": at(0), "created_at": at(0), "updated_at": at(5_000),
        "html_url": "https://github.com/octo-org/octo-repo/actions/runs/29679449",
    });
    merge(&mut run, change);
    serde_json::from_value(run).expect("a run")
}

fn merge(base: &mut Value, change: Value) {
    let Value::Object(fields) = change else { panic!("fields") };
    for (name, value) in fields {
        base[name] = value;
    }
}

/// A green job: created, started and completed at these seconds, with these steps
/// (name, conclusion, from, to).
fn job(id: i64, name: &str, times: (i64, i64, i64), steps: &[(&str, &str, i64, i64)]) -> Value {
    let steps: Vec<Value> = (1_i64..)
        .zip(steps)
        .map(|(number, (name, conclusion, from, to))| {
            json!({ "name": name, "number": number, "status": "completed", "conclusion": conclusion,
                    "started_at": at(*from), "completed_at": at(*to) })
        })
        .collect();
    json!({
        "id": id, "run_id": 29_679_449, "name": name, "workflow_name": "CI", "status": "completed",
        "conclusion": "success", "created_at": at(times.0), "started_at": at(times.1),
        "completed_at": at(times.2), "labels": ["ubuntu-24.04"], "runner_name": "GitHub Actions 7",
        "steps": steps,
    })
}

fn changed(mut job: Value, change: Value) -> Value {
    merge(&mut job, change);
    job
}

fn jobs(list: &[Value]) -> JobsOfAttempt {
    let jobs = list.iter().map(|job| serde_json::from_value(job.clone()).expect("a job")).collect();
    JobsOfAttempt { jobs, left_out: 0 }
}

fn traced(run: &WorkflowRun, list: &[Value]) -> ActionsTrace {
    trace_of(run, &jobs(list), Completeness::Required).expect("complete")
}

fn measured(run: &WorkflowRun, list: &[Value]) -> Extraction {
    extract(&Trace::build(traced(run, list).spans).expect("a trace"))
}

/// Path, seconds and result of each stage.
fn stages(run: &WorkflowRun, list: &[Value]) -> Vec<(String, i64, RunResult)> {
    let stages = measured(run, list).stages;
    stages.iter().map(|s| (s.path.join(" / "), s.duration_ns / SECOND_NS, s.result)).collect()
}

fn row(path: &str, seconds: i64, result: RunResult) -> (String, i64, RunResult) {
    (path.to_owned(), seconds, result)
}

use RunResult::{Cancellation, Failure as Failed, Skip, Success};

#[test]
fn run_jobs_waits_and_steps_become_stages() {
    let list = [job(
        7,
        "test",
        (0, 20, 100),
        &[("Set up job", "success", 20, 22), ("Run npm test", "success", 22, 100)],
    )];
    let expected = [
        row("CI", 80, Success),
        row("CI / test", 80, Success),
        row("CI / test / queue-test", 20, Success),
        row("CI / test / Set up job", 2, Success),
        row("CI / test / Run npm test", 78, Success),
    ];
    assert_eq!(stages(&run(json!({})), &list), expected, "the wait is not part of the work");
    let kinds: Vec<StageKind> = measured(&run(json!({})), &list).stages.iter().map(|s| s.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == StageKind::Queue).count(), 1);
    let trace = Trace::build(traced(&run(json!({})), &list).spans).expect("a trace");
    let identity = RunIdentity::of(&trace);
    assert_eq!(identity.repo_claim.as_deref(), Some("octo-org/octo-repo"));
    assert_eq!((identity.pipeline.as_str(), identity.external_id.as_deref()), ("CI", Some("29679449")));
    assert_eq!(identity.runner.describe(), "linux amd64 ubuntu-24.04");
    let step = trace.spans().iter().find(|span| span.name == "Run npm test").expect("a step");
    assert_eq!(step.text(&["github.workflow.path"]).as_deref(), Some(".github/workflows/ci.yml"));
    assert_eq!(step.text(&["github.step.number"]).as_deref(), Some("2"));
    assert_eq!(trace.span(trace.root()).text(&["github.event_name"]).as_deref(), Some("push"));
}

#[test]
fn neighbours_that_share_a_second_keep_their_order() {
    let steps: Vec<(String, &str, i64, i64)> =
        (0..12).map(|n| (format!("step {}", char::from(b'a' + n)), "success", 20, 20)).collect();
    let steps: Vec<(&str, &str, i64, i64)> =
        steps.iter().map(|(n, c, f, t)| (n.as_str(), *c, *f, *t)).collect();
    let list = [job(7, "test", (20, 20, 20), &steps)];
    let names: Vec<String> = measured(&run(json!({})), &list)
        .stages
        .iter()
        .skip(3)
        .filter_map(|s| s.path.last().cloned())
        .collect();
    assert_eq!(names, steps.iter().map(|s| s.0).collect::<Vec<_>>());
    assert!(measured(&run(json!({})), &list).stages.iter().skip(2).all(|s| s.duration_ns == 0));
}

#[test]
fn skipped_or_cancelled_work_is_not_measured() {
    let skipped = changed(
        job(8, "deploy (${{ matrix.region }})", (90, 95, 90), &[("Run x", "skipped", 95, 90)]),
        json!({ "conclusion": "skipped", "runner_name": null }),
    );
    let zero = changed(
        job(9, "docs", (0, 0, 0), &[]),
        json!({ "conclusion": "skipped", "runner_name": "", "started_at": "0001-01-01T00:00:00Z", "completed_at": null }),
    );
    let steps = [("Run tests", "cancelled", 30, 40), ("Post", "skipped", 50, 30), ("Later", "skipped", 0, 0)];
    let cancelled = changed(job(7, "test", (0, 20, 60), &steps), json!({ "conclusion": "cancelled" }));
    let never =
        changed(job(6, "lint", (0, 60, 60), &[]), json!({ "conclusion": "cancelled", "runner_name": null }));
    let stages = stages(&run(json!({ "conclusion": "cancelled" })), &[skipped, zero, cancelled, never]);
    for expected in [
        row("CI / deploy (${{ matrix.region }})", 0, Skip),
        row("CI / docs", 0, Skip),
        row("CI / test", 40, Cancellation),
        row("CI / test / Run tests", 10, Cancellation),
        row("CI / test / Post", 0, Skip),
        row("CI / test / Later", 0, Skip),
        row("CI / lint", 0, Cancellation),
        row("CI / lint / queue-lint", 60, Success),
    ] {
        assert!(stages.contains(&expected), "{expected:?} in {stages:?}");
    }
    assert!(stages.iter().all(|(_, seconds, _)| *seconds >= 0));
}

#[test]
fn job_starts_no_later_than_its_first_step() {
    let list =
        [job(7, "test", (0, 21, 100), &[("Set up job", "success", 20, 22), ("Run x", "success", 22, 100)])];
    let stages = stages(&run(json!({})), &list);
    assert_eq!(stages[1], row("CI / test", 80, Success));
    assert!(stages.contains(&row("CI / test / queue-test", 20, Success)), "{stages:?}");
    assert!(stages.contains(&row("CI / test / Set up job", 2, Success)), "{stages:?}");
}

#[test]
fn rerun_leaves_out_carried_over_jobs() {
    let rerun = run(json!({ "run_attempt": 2, "run_started_at": at(1_000) }));
    let list = [
        job(17, "build", (0, 10, 60), &[]),
        job(18, "test", (1_000, 1_005, 1_065), &[("Run x", "success", 1_005, 1_065)]),
    ];
    let traced = traced(&rerun, &list);
    assert_eq!(traced.notes, [Note::JobsOfEarlierAttempt { jobs: 1 }]);
    let paths: Vec<String> = stages(&rerun, &list).into_iter().map(|(path, ..)| path).collect();
    assert_eq!(paths, ["CI", "CI / test", "CI / test / queue-test", "CI / test / Run x"]);
    assert_eq!(traced.spans[0].trace_id, trace_id(29_679_449, 2), "a trace of its own");
    assert_eq!((traced.spans[0].end_ns - traced.spans[0].start_ns) / SECOND_NS, 65);
}

#[test]
fn check_run_of_a_step_is_ignored() {
    let phantom = changed(
        job(99, "Test report", (0, 30, 3_000), &[]),
        json!({ "labels": [], "runner_name": null, "status": "in_progress", "completed_at": null }),
    );
    let of_group = changed(job(8, "group", (0, 0, 5), &[]), json!({ "labels": [], "runner_name": "big-1" }));
    let foreign = changed(job(9, "of another run", (0, 0, 5), &[]), json!({ "run_id": 1 }));
    let list = [phantom, of_group, foreign, job(7, "test", (0, 0, 50), &[])];
    let paths: Vec<String> = stages(&run(json!({})), &list).into_iter().map(|(path, ..)| path).collect();
    assert_eq!(
        paths,
        ["CI", "CI / test", "CI / group", "CI / test / queue-test", "CI / group / queue-group"]
    );
}

#[test]
fn incomplete_run_is_refused_unless_best_effort() {
    let green = job(7, "test", (0, 0, 50), &[]);
    let late = changed(green.clone(), json!({ "completed_at": null }));
    let running =
        changed(green.clone(), json!({ "status": "in_progress", "completed_at": null, "conclusion": null }));
    for (run, list, part) in [
        (run(json!({ "status": "in_progress", "conclusion": null })), vec![green.clone()], "`in_progress`"),
        (run(json!({})), vec![green.clone(), late], "job 7 has no end"),
        (run(json!({})), vec![running], "job 7 has no end"),
        (run(json!({})), vec![], "no job is listed"),
    ] {
        let missing = trace_of(&run, &jobs(&list), Completeness::Required).expect_err(part);
        assert!(missing.to_string().contains(part), "{missing}");
        let taken = trace_of(&run, &jobs(&list), Completeness::BestEffort).expect("the available part");
        let Note::ListingIncomplete { missing } = &taken.notes[0] else { panic!("{:?}", taken.notes) };
        assert!(missing.contains(part), "{missing}");
    }
    let nothing_ran = run(json!({ "conclusion": "startup_failure" }));
    assert_eq!(stages(&nothing_ran, &[]), [row("CI", 0, RunResult::Error)]);
}

#[test]
fn run_ends_with_its_last_job() {
    let list = [job(7, "test", (0, 0, 50), &[]), job(8, "lint", (0, 0, 30), &[])];
    assert_eq!(stages(&run(json!({ "updated_at": at(90_000) })), &list)[0], row("CI", 50, Success));
}

#[test]
fn order_of_jobs_changes_nothing() {
    let names: Vec<String> =
        (0..4).map(|n| format!("{} / test ({n}, {})", "call ".repeat(18), "x".repeat(20))).collect();
    let mut list: Vec<Value> =
        (7_i64..).zip(&names).map(|(id, name)| job(id, &name[..100], (0, 3, 50 + id), &[])).collect();
    let forth = traced(&run(json!({})), &list);
    list.reverse();
    assert_eq!(traced(&run(json!({})), &list), forth);
    let of_jobs = measured(&run(json!({})), &list).stages;
    assert!(of_jobs.iter().all(|s| s.path.len() <= 3), "a slash in a name adds no level");
}

#[test]
fn failed_step_is_one_error() {
    let steps = [("Set up job", "success", 0, 1), ("Run tests", "failure", 1, 9), ("Clean", "failure", 9, 9)];
    let red = changed(job(7, "test", (0, 0, 9), &steps[..2]), json!({ "conclusion": "failure" }));
    let timed_out = changed(
        job(8, "slow", (0, 0, 99), &[("Run all", "cancelled", 1, 99)]),
        json!({ "conclusion": "timed_out" }),
    );
    let run = run(json!({ "conclusion": "failure" }));
    let found = measured(&run, &[red, timed_out]);
    let errors: Vec<String> = found
        .errors
        .iter()
        .map(|e| format!("{}: {} {}", e.path.join(" / "), e.error_type, e.message))
        .collect();
    assert_eq!(errors, ["CI / slow: timed_out timed out", "CI / test / Run tests: failure failed"]);
    assert_eq!((found.stages[0].result, found.stages[1].result), (Failed, RunResult::Timeout));
}

#[test]
fn jobs_beyond_the_limit_are_noted() {
    let listed = JobsOfAttempt { left_out: 12, ..jobs(&[job(7, "test", (0, 0, 5), &[])]) };
    let traced = trace_of(&run(json!({})), &listed, Completeness::Required).expect("complete");
    assert_eq!(traced.notes, [Note::JobsLeftOut { jobs: 12, kept: 1 }]);
}

#[test]
fn one_job_elsewhere_keeps_the_runner_kind() {
    let other = changed(job(9, "mac", (0, 0, 5), &[]), json!({ "labels": ["macos-15"] }));
    let most = [job(7, "a", (0, 0, 5), &[]), job(8, "b", (0, 0, 5), &[]), other];
    let kind = |list: &[Value]| {
        RunIdentity::of(&Trace::build(traced(&run(json!({})), list).spans).expect("a trace"))
            .runner
            .describe()
    };
    assert_eq!(kind(&most), kind(&most[..2]));
    assert_eq!(kind(&most[2..]), "darwin arm64 macos-15");
}

/// The example of a job in GitHub's API description.
#[test]
fn times_with_an_offset_are_read() {
    let mut example = job(399_444_496, "build", (0, 0, 0), &[]);
    let step = json!({ "name": "Set up job", "status": "completed", "conclusion": "success", "number": 1,
        "started_at": "2020-01-20T09:42:40.000-08:00", "completed_at": "2020-01-20T09:42:41.000-08:00" });
    merge(
        &mut example,
        json!({ "created_at": null, "started_at": "2020-01-20T17:42:40Z", "completed_at": "2020-01-20T17:44:39Z", "steps": [step] }),
    );
    let run = run(json!({ "run_started_at": null, "created_at": "2020-01-20T17:42:40Z" }));
    let expected = row("CI / build / Set up job", 1, Success);
    assert!(stages(&run, &[example]).contains(&expected));
}
