//! `pacegate exec` as a pipeline uses it. Covers exit codes, signals, the tree of nested commands,
//! the file for `compare`, attached reports, and a reachable or unreachable service.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{DEADLINE, Database, Fixture, on_both};
use crate::service::run_cli;
use crate::time::eventually;

const BINARY: &str = env!("CARGO_BIN_EXE_pacegate");
const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

/// A folder with the file that receives the spans.
struct Recorded {
    folder: TempDir,
}

impl Recorded {
    fn new() -> Self {
        Self { folder: TempDir::new().expect("a folder") }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("traces.jsonl")
    }

    fn exec(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let file = self.file();
        let mut all = vec![("PACEGATE_EXEC_FILE", file.to_str().expect("UTF-8"))];
        all.extend(environment);
        run_cli(&[&["exec"], arguments].concat(), &all)
    }

    /// Every span, in the order of the lines.
    fn spans(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.file()).expect("a file");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines
            .flat_map(|line| {
                line["resourceSpans"][0]["scopeSpans"].as_array().expect("scopes").clone().into_iter()
            })
            .flat_map(|scope| scope["spans"].as_array().expect("spans").clone())
            .collect()
    }
}

fn attribute(span: &Value, key: &str) -> Option<String> {
    let found = span["attributes"].as_array()?.iter().find(|pair| pair["key"] == key)?;
    let value = found["value"].as_object()?.values().next()?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn sample(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/reports").join(name);
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn nested_commands_form_tree_readable_by_compare() {
    let recorded = Recorded::new();
    let nested = [
        "--name", "ci", "--", BINARY, "exec", "--name", "test", "--", BINARY, "exec", "--", "sh", "-c",
        "exit 3",
    ];
    let output = recorded.exec(&nested, &[("GIT_COMMIT", SHA), ("GIT_BRANCH", "main")]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(3), ""));
    let spans = recorded.spans();
    let names: Vec<&str> = spans.iter().filter_map(|span| span["name"].as_str()).collect();
    assert_eq!(names, ["sh", "test", "ci"], "each is recorded when it ends");
    let [unit, test, ci] = &spans[..] else { panic!("three spans") };
    assert!(spans.iter().all(|span| span["traceId"] == ci["traceId"] && span["status"]["code"] == 2));
    assert_eq!((&unit["parentSpanId"], &test["parentSpanId"]), (&test["spanId"], &ci["spanId"]));
    assert_eq!((&ci["parentSpanId"], &ci["kind"]), (&Value::from(""), &Value::from(2)));
    assert_eq!(attribute(unit, "process.exit.code").as_deref(), Some("3"));
    assert_eq!(attribute(unit, "process.command_args"), None, "arguments may hold secrets");
    let most_memory = attribute(unit, "process.memory.rss.max").and_then(|bytes| bytes.parse::<u64>().ok());
    assert!(most_memory.is_some_and(|bytes| bytes > 100_000), "{most_memory:?}");
    assert_eq!(attribute(ci, "cicd.pipeline.result").as_deref(), Some("failure"));
    let file = recorded.file();
    let path = file.to_str().expect("UTF-8");
    let compared = run_cli(&["compare", "--baseline", path, "--candidate", path, "--format", "json"], &[]);
    let verdict: Value = serde_json::from_slice(&compared.stdout).expect("JSON");
    let stages = verdict["stages"].as_array().expect("stages");
    assert!(stages.iter().any(|s| s["path"] == serde_json::json!(["ci", "test", "sh"])), "{verdict}");
    assert_eq!(verdict["head_sha"], SHA);
}

#[test]
fn exec_ends_as_its_command_ends() {
    for (command, code, said) in [
        (&["sh", "-c", "echo out; exit 0"][..], 0, ""),
        (&["sh", "-c", "exit 255"], 255, ""),
        (&["sh", "-c", "kill -KILL $$"], 137, "SIGKILL"),
        (&["sh", "-c", "kill -TERM $$"], 143, "SIGTERM"),
        (&["no-such-command"], 127, "no-such-command"),
        (&["/"], 126, "/: "),
    ] {
        let recorded = Recorded::new();
        let output = recorded.exec(&[&["--"], command].concat(), &[]);
        assert_eq!(output.status.code(), Some(code), "{command:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{command:?}: {}", stderr(&output));
        let out = if code == 0 { "out\n" } else { "" };
        assert_eq!(String::from_utf8_lossy(&output.stdout), out);
        let spans = recorded.spans();
        assert_eq!(spans.len(), 1, "{command:?}");
        assert_eq!(spans[0]["status"]["code"] == 2, code != 0, "{command:?}");
    }
    assert_eq!(run_cli(&["exec"], &[]).status.code(), Some(2), "a command has to be given");
}

#[test]
fn given_context_is_joined_broken_context_is_reported() {
    let recorded = Recorded::new();
    let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let parent = format!("00-{trace}-{span}-01");
    let prints = ["--", "sh", "-c", "echo $TRACEPARENT $TRACESTATE"];
    let output = recorded
        .exec(&prints, &[("TRACEPARENT", &parent), ("TRACESTATE", "a=b"), ("BAGGAGE", "pipeline.id=7")]);
    let joined = recorded.spans().remove(0);
    assert_eq!((&joined["traceId"], &joined["parentSpanId"]), (&trace.into(), &span.into()));
    assert_eq!(attribute(&joined, "pipeline.id").as_deref(), Some("7"));
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(seen.trim(), format!("00-{trace}-{}-01 a=b", joined["spanId"].as_str().expect("an id")));
    let output = recorded.exec(&prints, &[("TRACEPARENT", "00-nonsense"), ("TRACESTATE", "a=b")]);
    assert!(stderr(&output).contains("TRACEPARENT is not a W3C trace context"), "{}", stderr(&output));
    assert_eq!(recorded.spans()[1]["parentSpanId"], "");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("a=b"), "a trace state needs its parent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signal_reaches_command_and_exit_code_is_kept() {
    let recorded = Recorded::new();
    let ready = recorded.folder.path().join("ready");
    let script = format!("trap 'exit 7' TERM; touch {}; while :; do sleep 0.05; done", ready.display());
    let mut child = Command::new(BINARY)
        .args(["exec", "--", "sh", "-c", &script])
        .env("PACEGATE_EXEC_FILE", recorded.file())
        .stdin(Stdio::null())
        .spawn()
        .expect("the binary runs");
    eventually("the command to begin", DEADLINE, || async { ready.exists().then_some(()) }).await;
    let kill = Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status();
    assert!(kill.expect("a shell").success());
    assert_eq!(child.wait().expect("a child").code(), Some(7));
    let span = recorded.spans().remove(0);
    assert_eq!(attribute(&span, "cicd.pipeline.result").as_deref(), Some("cancellation"));
}

#[test]
fn several_commands_share_one_file() {
    let recorded = Recorded::new();
    let script = format!("for i in 1 2 3 4 5 6 7 8; do {BINARY} exec --name part -- true & done; wait");
    let output = recorded.exec(&["--", "sh", "-c", &script], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(recorded.spans().len(), 9, "every line is whole");
}

#[test]
fn unreachable_server_does_not_affect_the_command() {
    let output = run_cli(
        &["exec", "--timeout", "500ms", "--", "sh", "-c", "echo done; exit 4"],
        &[("PACEGATE_URL", "http://127.0.0.1:9"), ("PACEGATE_TOKEN", "hunter2")],
    );
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n");
    assert!(stderr(&output).contains("http://127.0.0.1:9/v1/traces"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("hunter2"));
    let recorded = Recorded::new();
    let broken = recorded.exec(
        &["--", "true"],
        &[("PACEGATE_URL", "no address"), ("PACEGATE_LOG", "=!="), ("PACEGATE_TOKEN", "a\nb")],
    );
    assert_eq!(broken.status.code(), Some(0), "{}", stderr(&broken));
}

#[test]
fn report_older_than_the_command_is_ignored() {
    let recorded = Recorded::new();
    let old = recorded.folder.path().join("old.xml");
    let old = old.to_str().expect("UTF-8");
    std::fs::copy(sample("surefire-3.2.xml"), old).expect("a writable folder");
    let touched = Command::new("touch").args(["-d", "2020-01-01", old]).status();
    assert!(touched.expect("touch").success());
    let output = recorded.exec(&["--attach", old, "--attach", "missing.xml", "--", "true"], &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("older than the command"), "{}", stderr(&output));
    assert!(stderr(&output).contains("missing.xml: there is no such file"), "{}", stderr(&output));
    assert_eq!(recorded.spans().len(), 1);
}

on_both!(command_run_is_measured_with_its_tests);
async fn command_run_is_measured_with_its_tests(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    let folder = TempDir::new().expect("a folder");
    let report = folder.path().join("report.xml");
    let report = report.to_str().expect("UTF-8");
    let copy = ["--", "cp", &sample("surefire-3.2.xml"), report].map(str::to_owned);
    let mut arguments = vec!["exec", "--name", "shop", "--attach", report];
    arguments.extend(copy.iter().map(String::as_str));
    let url = service.url();
    let output = run_cli(
        &arguments,
        &[
            ("PACEGATE_URL", &url),
            ("PACEGATE_TOKEN", &fixture.token),
            ("GITLAB_CI", "true"),
            ("CI_COMMIT_SHA", SHA),
            ("CI_COMMIT_BRANCH", "main"),
            ("CI_PIPELINE_ID", "77"),
        ],
    );
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    fixture.wait_for_runs(&service, 1).await;
    let (_, runs) = fixture.api(&service, "/runs").await;
    let run = &runs["runs"][0];
    assert_eq!((&run["head_sha"], &run["pipeline"]), (&SHA.into(), &"shop".into()), "{run}");
    let (_, run) = fixture.api(&service, &format!("/runs/{}", run["id"].as_str().expect("an id"))).await;
    let paths: Vec<&Value> = run["stages"].as_array().expect("stages").iter().map(|s| &s["path"]).collect();
    let wanted = serde_json::json!(["shop", "shop.OrdersTest", "creates"]);
    assert!(paths.contains(&&wanted), "{paths:?}");
    assert!(run.to_string().contains("java.lang.IllegalStateException"), "{run}");
    let refused = run_cli(
        &["exec", "--", "true"],
        &[("PACEGATE_URL", url.as_str()), ("PACEGATE_TOKEN", "not-a-token")],
    );
    assert_eq!(refused.status.code(), Some(0));
    assert!(stderr(&refused).contains("check PACEGATE_TOKEN"), "{}", stderr(&refused));
    service.terminate().await;
    fixture.fake.finish();
}
