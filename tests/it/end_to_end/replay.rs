//! `replay` as teams and scripts use it: histories from a file or from the service's database, the
//! JSON output, and the messages about bad files. The histories are generated here.

use std::fmt::Write;
use std::process::Output;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{Database, Fixture, HISTORY, REPO, on_both};
use crate::service::run_cli;

/// Stage and its usual seconds.
const STAGES: [(&str, f64); 5] = [
    ("ci / build", 60.0),
    ("ci / lint", 12.0),
    ("ci / package", 25.0),
    ("ci / test / unit", 40.0),
    ("ci / test / integration", 90.0),
];

/// A history of `runs` runs, three hours apart. Each stage is within 5% of its usual time.
fn history(runs: u32) -> String {
    let mut text = "run,started_at,stage,duration_s,result,runner,cache,comment\n".to_owned();
    for run in 0..runs {
        let started_at = format!("2026-01-{:02}T{:02}:00:00Z", 1 + run / 8, 3 * (run % 8));
        for (stage, usual) in STAGES {
            let noise = f64::from(Sha256::digest(format!("{run} {stage}"))[0]) / 127.5 - 1.0;
            let seconds = usual * (1.0 + 0.05 * noise);
            writeln!(text, "run-{run:03},{started_at},{stage},{seconds:.3},success,CPU {},,x", run % 3)
                .expect("memory");
        }
    }
    text
}

fn replay(content: &str, more: &[&str]) -> Output {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("history.csv");
    std::fs::write(&file, content).expect("a writable folder");
    let mut arguments = vec!["replay", file.to_str().expect("UTF-8")];
    arguments.extend(more);
    // Configuration of a service on the same machine must not prevent a replay.
    run_cli(&arguments, &[("PACEGATE_BASE_BRANCH", "trunk")])
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code, not a signal")
}

fn parsed(output: &Output) -> Value {
    assert_eq!(code(output), 0, "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("stdout carries the JSON alone")
}

fn keys(value: &Value) -> String {
    let mut keys: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys.join(" ")
}

#[test]
fn json_matches_the_contract() {
    let replay = parsed(&replay(&history(60), &["--format", "json"]));
    for key in ["runs", "replayed", "commits", "alarms", "recall", "incumbents", "stages"] {
        assert!(!replay[key].is_null(), "{key}: {replay:#}");
    }
    assert_eq!((&replay["runs"], &replay["commits"]), (&json!(60), &json!(4)));
    // 60 runs, 25 of them for learning, and pull requests of 4 commits.
    assert_eq!(replay["replayed"], json!(60 - 25 - 4 + 1));
    assert_eq!(keys(&replay["alarms"]), "confirmed single");
    assert_eq!(keys(&replay["recall"]), "1.1 1.2 1.3 1.5 2.0");
    assert_eq!(keys(&replay["recall"]["1.1"]), "confirmed single");
    assert_eq!(keys(&replay["incumbents"]), "percent_25 ratio_200 t_limit_99");
    for rule in ["percent_25", "ratio_200", "t_limit_99"] {
        assert_eq!(keys(&replay["incumbents"][rule]), "alarms recall");
        assert_eq!(keys(&replay["incumbents"][rule]["recall"]["2.0"]), "confirmed single");
    }
    let share = |value: &Value| value.as_f64().expect("a share");
    // 5% of uniform noise never reaches 25% or twice. A stage that takes twice as long is 100%
    // above its mean.
    assert!(share(&replay["incumbents"]["percent_25"]["alarms"]["single"]) < 1e-9);
    assert!(share(&replay["incumbents"]["percent_25"]["recall"]["2.0"]["confirmed"]) > 0.999);
    assert!(share(&replay["recall"]["2.0"]["confirmed"]) > 0.5, "{replay:#}");
    let stages = replay["stages"].as_array().expect("stages");
    assert_eq!((stages.len(), &stages[0]["stage"]), (5, &json!("ci / test / integration")));
    assert!(stages[0]["detectable_ratio"].as_f64().is_some_and(|r| r > 1.0 && r < 3.0), "{}", stages[0]);
}

#[test]
fn same_seed_gives_same_replay_and_clean_output() {
    let content = history(50);
    let run = |more: &[&str]| replay(&content, more);
    for format in ["text", "json"] {
        let (one, two) = (run(&["--format", format]), run(&["--format", format]));
        assert_eq!(one.stdout, two.stdout);
        assert!(one.stderr.is_empty(), "no progress into a pipe: {}", String::from_utf8_lossy(&one.stderr));
        assert!(!one.stdout.contains(&0x1b) && !one.stdout.contains(&b'\r'));
    }
    let json = |more: &[&str]| parsed(&run(&[&["--format", "json"], more].concat()));
    let (one, two) = (json(&["--seed", "1"]), json(&["--seed", "2"]));
    assert_eq!((&one["alarms"], &one["changes"]), (&two["alarms"], &two["changes"]));
    assert_ne!(one["recall"], two["recall"], "other stages are slowed");
    assert_eq!(json(&["--limit", "5", "--commits", "2"])["replayed"], 5);
    let text = String::from_utf8(run(&[]).stdout).expect("UTF-8");
    assert!(
        text.starts_with("Replay of history: 50 runs\n\nOn this history Pacegate would have raised"),
        "{text}"
    );
}

#[test]
fn short_history_reports_missing_run_count() {
    let short = history(20);
    let output = replay(&short, &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("9 are missing"), "{text}");
    assert_eq!(code(&output), 0);
    assert_eq!(code(&replay(&short, &["--strict"])), 3);
    let json = parsed(&replay(&short, &["--format", "json"]));
    assert_eq!(
        (&json["replayed"], &json["missing_runs"], &json["alarms"]["confirmed"]),
        (&json!(0), &json!(9), &Value::Null)
    );
}

#[test]
fn bad_file_or_usage_exits_2_with_explanation() {
    const HEADER: &str = "run,started_at,stage,duration_s,result,runner,cache\n";
    let row = |row: &str| format!("{HEADER}a,2026-01-01T00:00:00Z,build,5,,,\n{row}\n");
    for (content, expected) in [
        (String::new(), "history.csv: line 1: the column `run` is missing"),
        ("run,started_at,duration_s\n".to_owned(), "history.csv: line 1: the column `stage` is missing"),
        (HEADER.to_owned(), "history.csv: it holds no row"),
        (row("a,2026-01-01T00:00:00Z,test,fast,,,"), "history.csv: line 3: `duration_s` is `fast`"),
        (row("a,2026-01-01T00:00:00Z,test,NaN,,,"), "history.csv: line 3: `duration_s` is `NaN`"),
        (row("a,2026-01-01T00:00:00Z,test,-1,,,"), "history.csv: line 3: `duration_s` is `-1`"),
        (row("a,2026-01-01,test,1,,,"), "history.csv: line 3: `started_at` is `2026-01-01`"),
        (
            row("a,2026-01-01T00:00:00Z,build,5,,,"),
            "history.csv: line 3: the run has a row of this stage already",
        ),
        (row("a,2026-01-01T00:00:00Z,test"), "history.csv: line 3: 3 columns"),
    ] {
        let output = replay(&content, &[]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(code(&output), 2, "{expected}: {stderr}");
        assert!(stderr.contains(expected), "{expected}: {stderr}");
        assert!(output.stdout.is_empty(), "diagnostics do not go to stdout");
    }
    let folder = TempDir::new().expect("a folder");
    let database = format!("sqlite://{}/pacegate.db", folder.path().display());
    for (arguments, expected) in [
        (&["replay"][..], "FILE.csv"),
        (&["replay", "no-such.csv"], "no-such.csv"),
        (&["replay", "a.csv", "--repo", "acme/my-app"], "cannot be used with"),
        (&["replay", "a.csv", "--commits", "0"], "--commits"),
        (&["replay", "--repo", "acme/unheard-of"], "acme/unheard-of is not known here"),
    ] {
        let output = run_cli(arguments, &[("PACEGATE_DATABASE_URL", &database)]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(code(&output), 2, "{expected}: {stderr}");
        assert!(stderr.contains(expected), "{expected}: {stderr}");
    }
}

/// The service's own runs of main are replayed. Runs of another branch are not.
async fn service_runs_of_main_can_be_replayed(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    fixture.push(&service, &Fixture::slowed(7, &crate::webhooks::sha("change"), 30)).await;
    fixture.wait_for_runs(&service, HISTORY as usize + 1).await;
    let output = fixture.builder.run(&["replay", "--repo", REPO, "--format", "json"]);
    let replay = parsed(&output);
    assert_eq!((&replay["pipeline"], &replay["runs"]), (&json!("my-app"), &json!(HISTORY)));
    assert_eq!(replay["replayed"], json!(HISTORY - 25 - 4 + 1));
    assert_eq!(replay["stages"][0]["stage"], "my-app");
    let other = fixture.builder.run(&["replay", "--repo", REPO, "--pipeline", "nightly"]);
    assert_eq!(code(&other), 2);
    assert!(
        String::from_utf8_lossy(&other.stderr).contains("no run of the pipeline `nightly` on main or master")
    );
    service.terminate().await;
    let _ = fixture.fake.take_violations();
    fixture.fake.finish();
}
on_both!(service_runs_of_main_can_be_replayed);
