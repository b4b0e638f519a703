//! The command line as scripts use it: exit codes, streams, and the verdict's JSON.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Database, Fixture};
use crate::fake_github::FakeGitHub;
use crate::pipeline::{Run, history};
use crate::service::{Service, run_cli};
use crate::webhooks::sha;

const NOON: i64 = 1_795_000_000;

fn write(folder: &TempDir, name: &str, content: &Value) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content.to_string()).expect("a writable folder");
    path
}

fn compare(baseline: &Path, candidate: &Path, more: &[&str]) -> Output {
    let paths = [baseline.to_str().expect("UTF-8"), candidate.to_str().expect("UTF-8")];
    let mut arguments = vec!["compare", "--baseline", paths[0], "--candidate", paths[1]];
    arguments.extend(more);
    run_cli(&arguments, &[])
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code, not a signal")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn pushes(count: i64) -> Value {
    let groups: Vec<Value> = (0..count)
        .map(|i| {
            let run = Run::slowed(&sha(&format!("push {i}")), "change", NOON + i * 600);
            run.group(&run.spans())
        })
        .collect();
    json!({ "resourceSpans": groups })
}

#[test]
fn compare_exit_code_matches_verdict() {
    let folder = TempDir::new().expect("a folder");
    let baseline = write(&folder, "baseline.json", &history(30, NOON - 3600));
    let (once, twice) = (write(&folder, "once.json", &pushes(1)), write(&folder, "twice.json", &pushes(2)));
    let usual = write(&folder, "usual.json", &Run::of_main(&sha("usual"), NOON).request());
    let few = write(&folder, "few.json", &history(3, NOON - 3600));
    for (candidate, expected, expected_text) in
        [(&twice, 1, "REGRESSED"), (&once, 0, "SUSPECT"), (&usual, 0, "PASS")]
    {
        let output = compare(&baseline, candidate, &[]);
        assert_eq!(code(&output), expected, "{}", stdout(&output));
        assert!(stdout(&output).contains(expected_text), "{}", stdout(&output));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!stdout(&output).contains('\u{1b}'), "no colours into a pipe");
    }
    assert_eq!(code(&compare(&few, &usual, &[])), 0, "too little data is also a verdict");
    assert_eq!(code(&compare(&few, &usual, &["--strict"])), 3);
    let markdown = compare(&baseline, &twice, &["--format", "markdown"]);
    assert!(stdout(&markdown).contains("`integration-tests`"), "{}", stdout(&markdown));
}

#[test]
fn compare_json_matches_contract() {
    let folder = TempDir::new().expect("a folder");
    let baseline = write(&folder, "baseline.json", &history(30, NOON - 3600));
    let candidate = write(&folder, "candidate.json", &pushes(2));
    let output = compare(&baseline, &candidate, &["--format", "json"]);
    let verdict: Value = serde_json::from_slice(&output.stdout).expect("stdout carries the JSON alone");
    assert_eq!((&verdict["schema"], &verdict["verdict"]), (&json!(1), &json!("regressed")));
    let keys = |value: &Value| {
        let mut keys: Vec<String> = value.as_object().expect("an object").keys().cloned().collect();
        keys.sort();
        keys.join(" ")
    };
    assert_eq!(
        keys(&verdict),
        "baseline errors head_sha notes repo runner_factor schema stages structure verdict wall_clock"
    );
    assert_eq!(keys(&verdict["baseline"]), "excluded from_sha runs to_sha");
    assert_eq!(keys(&verdict["wall_clock"]), "baseline_median_s candidate_s critical_path");
    assert_eq!(
        keys(&verdict["stages"][0]),
        "baseline_median_s baseline_samples candidate_s critical decision explained_by increase_s key location path probability \
         ratio reason samples score threshold verdict workings"
    );
    assert_eq!(
        keys(&verdict["errors"][0]),
        "decision location message reason seen signature stage type verdict"
    );
    assert_eq!(verdict["stages"][0]["path"], json!(["my-app", "test", "integration-tests"]));
    assert_eq!(verdict["stages"][0]["samples"], 2);
    assert_eq!(verdict["errors"][0]["seen"], "0 of 30 runs");
}

#[test]
fn compare_reads_the_samples() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    for file in [
        "otlp-http-python-0.66b1.json",
        "otlp-http-node-0.223.1.json.gz",
        "otlp-http-python-1.45.2.pb",
        "zipkin-v2-node-2.12.1.json",
        "jaeger-ui-node.json",
    ] {
        let path = samples.join(file);
        let output = compare(&path, &path, &["--format", "json"]);
        assert_eq!(code(&output), 0, "{file}: {}", String::from_utf8_lossy(&output.stderr));
        let verdict: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(verdict["verdict"], "inconclusive", "{file}: one run is no baseline");
        assert!(verdict["stages"].as_array().expect("stages").len() > 10, "{file}");
        assert_eq!(code(&compare(&path, &path, &["--strict"])), 3, "{file}");
    }
}

#[test]
fn bad_usage_or_input_exits_2_with_explanation() {
    let folder = TempDir::new().expect("a folder");
    let usual = write(&folder, "usual.json", &Run::of_main(&sha("usual"), NOON).request());
    let garbage = write(&folder, "garbage.json", &json!({ "neither": "this nor that" }));
    let policy = folder.path().join("policy.yml");
    std::fs::write(&policy, "version: 1\nmoed: gate\n").expect("a writable folder");
    let missing = folder.path().join("missing.json");
    let policy = policy.to_str().expect("UTF-8");
    for (output, part) in [
        (compare(&missing, &usual, &[]), "missing.json"),
        (compare(&garbage, &usual, &[]), "garbage.json"),
        (compare(&usual, &usual, &["--policy", policy]), "line 2"),
        (compare(&usual, &usual, &["--format", "xml"]), "xml"),
        (run_cli(&["compare"], &[]), "--baseline"),
        (run_cli(&["nonsense"], &[]), "nonsense"),
        (run_cli(&["serve"], &[("PACEGATE_DATABASE_URL", "mysql://me:hunter2@db/x")]), "sqlite://FILE"),
        (run_cli(&["serve"], &[("PACEGATE_GITHUB_APP_ID", "7")]), "PACEGATE_GITHUB_PRIVATE_KEY is missing"),
        (run_cli(&["token", "create", "--repo", "nonsense"], &[]), "OWNER/NAME"),
    ] {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(code(&output), 2, "{part}: {stderr}");
        assert!(stderr.contains(part), "{part}: {stderr}");
        assert!(output.stdout.is_empty(), "diagnostics do not go to stdout");
        assert!(!stderr.contains("hunter2"), "{stderr}");
    }
}

#[test]
fn demo_names_integration_tests_and_no_parents() {
    let output = run_cli(&["demo", "--exit", "--listen", "127.0.0.1:0"], &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = stdout(&output);
    let headline = text.lines().find(|line| line.starts_with("### ")).expect("a headline");
    assert!(headline.contains("`integration-tests`") && headline.contains("confirmed"), "{headline}");
    assert!(headline.contains("1 new error"), "{headline}");
    let findings: Vec<&str> = text.lines().filter(|line| line.starts_with("| **")).collect();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(text.contains("OrderServiceTimeout"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_reports_problems_and_correct_settings() {
    let fixture = Fixture::new(Database::sqlite()).await;
    let output = fixture.builder.run(&["doctor"]);
    assert_eq!(code(&output), 1, "{}", stdout(&output));
    assert!(stdout(&output).contains("event"), "the fake's App has no events: {}", stdout(&output));
    let broken = fixture.builder.clone().env("PACEGATE_GITHUB_PRIVATE_KEY", "/no/such/key.pem");
    let output = broken.run(&["doctor"]);
    assert_eq!(code(&output), 1);
    assert!(stdout(&output).contains("neither a PEM text nor a file"), "{}", stdout(&output));
    let _ = fixture.fake.take_violations();
    fixture.fake.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrate_creates_tables_and_doctor_confirms() {
    let folder = TempDir::new().expect("a folder");
    let builder = Service::builder().sqlite_in(folder.path());
    let before = builder.run(&["doctor"]);
    assert_eq!(code(&before), 0, "`serve` would bring them up to date: {}", stdout(&before));
    assert!(stdout(&before).contains("tables are not up to date"), "{}", stdout(&before));
    assert_eq!(code(&builder.run(&["migrate"])), 0);
    let after = builder.run(&["doctor"]);
    assert_eq!(code(&after), 0, "{}", stdout(&after));
    assert!(stdout(&after).contains("local mode"), "{}", stdout(&after));
    assert!(stdout(&after).contains("jobs need an ingest token"), "{}", stdout(&after));
    let nowhere = builder.clone().env("PACEGATE_PUBLIC_URL", "pg.example.com").run(&["doctor"]);
    assert_eq!(code(&nowhere), 2, "{}", stdout(&nowhere));
    FakeGitHub::start().await.finish();
}
