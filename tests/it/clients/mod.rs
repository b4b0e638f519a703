//! Programs with the tracers' own SDKs of several languages, against the real binary. Each sends a
//! history and a slowed pull request, and has to get a verdict that names the slowed stage.
//! Compared with sending to Jaeger, only the endpoint and `OTEL_RESOURCE_ATTRIBUTES` differ.

mod collector;
mod program;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::collector::Collector;
use self::program::{Ports, Program, Protocol};
use self::table::PROGRAMS;
use crate::end_to_end::{Database, create_token, on_both};
use crate::service::Service;
use crate::time::{eventually, now_seconds};

const REPO: &str = "acme/my-app";
const HISTORY: &str = "30";
/// Programs that run at once. Each is a process, some with a virtual machine.
const AT_ONCE: usize = 3;
/// The longest wait before the test fails. It measures nothing.
const DEADLINE: Duration = Duration::from_mins(2);

/// A service and a client of its API.
struct Fixture {
    service: Service,
    ports: Ports,
    collector: Collector,
    token: String,
    client: reqwest::Client,
}

/// The service's listeners, by their names in its log.
const PORTS: [(Protocol, &str); 9] = [
    (Protocol::OtlpMain, "address"),
    (Protocol::OtlpGrpc, "otlp_grpc"),
    (Protocol::OtlpHttp, "otlp_http"),
    (Protocol::ZipkinV1, "zipkin"),
    (Protocol::ZipkinV2, "zipkin"),
    (Protocol::JaegerHttp, "jaeger_http"),
    (Protocol::JaegerGrpc, "jaeger_grpc"),
    (Protocol::JaegerUdpCompact, "jaeger_udp_compact"),
    (Protocol::JaegerUdpBinary, "jaeger_udp_binary"),
];

/// The paths of a run's stages, without the pipeline's name.
type Tree = BTreeSet<Vec<String>>;

on_both!(every_program_gets_verdict_naming_slowed_stage);
async fn every_program_gets_verdict_naming_slowed_stage(database: Database) {
    let fixture = Arc::new(Fixture::new(&database).await);
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    let mut names = BTreeMap::new();
    for program in PROGRAMS {
        let (fixture, places) = (Arc::clone(&fixture), Arc::clone(&places));
        let task = running.spawn(async move {
            let _place = places.acquire().await.expect("open");
            (program, fixture.judge(program).await)
        });
        names.insert(task.id(), program.name);
    }
    let (mut trees, mut failed): (BTreeMap<Tree, Vec<&str>>, _) = (BTreeMap::new(), Vec::new());
    while let Some(ended) = running.join_next_with_id().await {
        match ended {
            Ok((_, (program, tree))) if program.plan == "pipeline" => {
                trees.entry(tree).or_default().push(program.name);
            }
            Ok(_) => {}
            Err(error) => failed.push(names[&error.id()]),
        }
    }
    assert!(failed.is_empty(), "without their verdict: {failed:?}");
    assert_eq!(trees.len(), 1, "one program, one tree: {trees:#?}");
    Arc::into_inner(fixture).expect("every program has ended").service.terminate().await;
}

impl Fixture {
    async fn new(database: &Database) -> Self {
        let builder = Service::builder().env("PACEGATE_SETTLE", "200ms").env("PACEGATE_DEFAULT_REPO", REPO);
        let listen = PORTS.iter().skip(1).map(|(_, name)| format!("PACEGATE_{}_LISTEN", name.to_uppercase()));
        let builder = listen.fold(builder, |builder, variable| builder.env(&variable, "127.0.0.1:0"));
        let builder = database.configure(builder);
        let token = create_token(&builder, REPO);
        let service = builder.start().await;
        let ports = open_ports(&service);
        let collector = Collector::start(&ports, &token).await;
        Self { service, ports, collector, token, client: reqwest::Client::new() }
    }

    /// Runs a program through its history and two pushes of a slowed pull request, and checks the
    /// verdict. Returns the tree.
    async fn judge(&self, program: &Program) -> Tree {
        let ports = if program.through_collector { &self.collector.ports } else { &self.ports };
        let mut process = Process::start(program, &ports[&program.protocol], &self.token);
        let now = now_seconds();
        let history = plan(program, &["--runs", HISTORY, "--until", &(now - 7200).to_string()]);
        process.send(&history);
        for run in &history {
            self.run(program, run).await;
        }
        let slow = format!("{}=1.8", program.slowed());
        let pushes = ["--runs", "2", "--change", "7", "--slow", &slow, "--until", &(now - 600).to_string()];
        let mut verdict = Value::Null;
        let pushes = plan(program, &pushes);
        for push in &pushes {
            process.send(std::slice::from_ref(push));
            self.run(program, push).await;
            verdict = self.verdict(program, push).await;
        }
        process.end(program);

        assert_eq!(verdict["verdict"], "regressed", "{}: {verdict:#}", program.name);
        let blamed: Vec<&Value> = verdict["stages"]
            .as_array()
            .expect("stages")
            .iter()
            .filter(|stage| stage["verdict"] == "regressed" && stage["explained_by"].is_null())
            .map(|stage| &stage["path"])
            .collect();
        let path: Vec<&str> = [program.name].into_iter().chain(program.blamed().iter().copied()).collect();
        assert_eq!(blamed, [&serde_json::json!(path)], "{}", program.name);
        let run = self.run(program, &pushes[1]).await;
        let (_, run) = self.api(&format!("/runs/{}", run["id"].as_str().expect("an id"))).await;
        let stages = run["stages"].as_array().expect("stages");
        let path =
            |stage: &Value| serde_json::from_value::<Vec<String>>(stage["path"].clone()).expect("texts");
        stages.iter().map(|stage| path(stage)[1..].to_vec()).collect()
    }

    /// Waits for the run of a plan's line.
    async fn run(&self, program: &Program, line: &str) -> Value {
        eventually(&format!("a run of {}", program.name), DEADLINE, || async {
            let (_, body) = self.api(&format!("/runs?sha={}", revision(line))).await;
            body["runs"].get(0).cloned()
        })
        .await
    }

    async fn verdict(&self, program: &Program, line: &str) -> Value {
        let path = format!("/commits/{}/verdict?wait=10s", revision(line));
        eventually(&format!("the verdict on {}", program.name), DEADLINE, || async {
            let (status, body) = self.api(&path).await;
            (status == 200).then_some(body)
        })
        .await
    }

    async fn api(&self, path: &str) -> (u16, Value) {
        let url = format!("{}/api/v1/repos/{REPO}{path}", self.service.url());
        let answer = self.client.get(url).bearer_auth(&self.token).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }
}

fn open_ports(service: &Service) -> Ports {
    let lines = service.log().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    // An event's fields are below `fields` or beside its level.
    let events = lines.map(|line| line.get("fields").unwrap_or(&line).clone());
    let event =
        events.into_iter().find(|event| event["message"] == "listening").expect("the line `listening`");
    PORTS.map(|(protocol, name)| (protocol, event[name].as_str().expect(name).to_owned())).into()
}

/// A running program. It works through the lines of a plan as they arrive.
struct Process {
    child: Child,
}

impl Process {
    fn start(program: &Program, address: &str, token: &str) -> Self {
        let command = program.command();
        let child = Command::new(&command[0])
            .args(&command[1..])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(program.protocol.environment(address, token))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn();
        let child = child.unwrap_or_else(|error| {
            panic!("{}: {error}; `make setup-tests` builds {}", program.name, command[0].display())
        });
        Self { child }
    }

    fn send(&mut self, lines: &[String]) {
        let pipe = self.child.stdin.as_mut().expect("a pipe");
        pipe.write_all(format!("{}\n", lines.join("\n")).as_bytes()).expect("the program reads its plan");
    }

    /// Closes the program's input. The program then sends everything and ends.
    fn end(mut self, program: &Program) {
        drop(self.child.stdin.take());
        let status = self.child.wait().expect("a child process");
        assert!(status.success(), "{}: {status}", program.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a plan, made by `plan.py`.
fn plan(program: &Program, arguments: &[&str]) -> Vec<String> {
    let made = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/plan.py"))
        .args(["--program", program.plan, "--pipeline", program.name, "--repo", REPO])
        .args(arguments)
        .output()
        .expect("python3 runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).expect("text").lines().map(str::to_owned).collect()
}

/// The commit of a plan's line.
fn revision(line: &str) -> &str {
    let (_, rest) = line.split_once("vcs.ref.head.revision=").expect("a commit");
    rest.split(',').next().expect("the first part of many")
}
