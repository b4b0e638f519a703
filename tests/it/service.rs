//! Runs the real binary as a process: starts it on a free port, watches its log, kills or stops it.
//! No part of the service runs inside the test process.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::fake_github::FakeGitHub;
use crate::time::eventually;

/// The webhook secret that [`Builder::github`] configures and `webhooks::delivery` signs with.
pub(crate) const WEBHOOK_SECRET: &str = "a secret of the tests";

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(30);

/// The configuration of a service. Starting it a second time is a restart.
#[derive(Clone, Debug)]
pub(crate) struct Builder {
    environment: BTreeMap<String, String>,
    arguments: Vec<String>,
    /// The folder of the raw traces, unless the test sets another one.
    _traces: Arc<TempDir>,
}

pub(crate) struct Service {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    address: Option<String>,
}

impl Service {
    /// JSON logs, a free port, every other listener off, and no inherited variable but `PATH`.
    pub(crate) fn builder() -> Builder {
        let traces = Arc::new(TempDir::new().expect("a temporary folder"));
        let environment = [
            ("LISTEN", "127.0.0.1:0".to_owned()),
            ("OTLP_GRPC_LISTEN", "off".to_owned()),
            ("OTLP_HTTP_LISTEN", "off".to_owned()),
            ("ZIPKIN_LISTEN", "off".to_owned()),
            ("JAEGER_HTTP_LISTEN", "off".to_owned()),
            ("JAEGER_GRPC_LISTEN", "off".to_owned()),
            ("LOG_FORMAT", "json".to_owned()),
            // The tests' GitHub needs no pauses, and no test comes near the hourly limit of writes.
            ("GITHUB_WRITE_SPACING", "5ms".to_owned()),
            ("GITHUB_WRITES_PER_HOUR", "100000".to_owned()),
            // Tests count calls and tasks, so periodic sweeps run only in the tests about them.
            ("RECONCILE_INTERVAL", "0s".to_owned()),
            // Nothing listens there, so no test asks the real issuer for its keys.
            ("GITHUB_OIDC_ISSUER", "http://127.0.0.1:9".to_owned()),
            ("TRACES_URL", format!("file:{}", traces.path().display())),
        ];
        let environment = environment.map(|(name, value)| (format!("PACEGATE_{name}"), value)).into();
        Builder { environment, arguments: vec!["serve".to_owned()], _traces: traces }
    }

    /// `http://127.0.0.1:PORT` of the main port.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address.as_ref().expect("a process that serves"))
    }

    /// `127.0.0.1:PORT` of a listener for spans, by its name in the log, such as `otlp_grpc`.
    pub(crate) fn port(&self, name: &str) -> String {
        let log = self.log.lock().expect("no panic inside");
        let found = log.iter().find_map(|line| listening(line, name)).expect("the log line `listening`");
        assert_ne!(found, "off", "{name} is closed");
        found
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Every line written to stdout and stderr so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().expect("no panic inside").clone()
    }

    /// Sends SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("a killed process ends");
    }

    /// Sends SIGTERM and waits. The process must end with exit code 0.
    pub(crate) async fn terminate(mut self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status().expect("a shell");
        assert!(sent.success(), "no process {pid} to stop");
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "a graceful stop ends with 0, this was {status}");
    }

    async fn ended(&mut self) -> ExitStatus {
        let child = Mutex::new(&mut self.child);
        eventually("the process to end", STOP, || async {
            child.lock().expect("no panic inside").try_wait().expect("a child process")
        })
        .await
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", command.get_program().to_string_lossy()));
        let log = Arc::new(Mutex::new(Vec::new()));
        collect(child.stdout.take().expect("a pipe"), &log);
        collect(child.stderr.take().expect("a pipe"), &log);
        Self { child, log, address: None }
    }

    /// Reads the address from the log and waits until the service is ready.
    async fn listening(mut self) -> Self {
        let log = Arc::clone(&self.log);
        let child = Mutex::new(&mut self.child);
        let address = eventually("the log line `listening`", START, || async {
            let found =
                log.lock().expect("no panic inside").iter().find_map(|line| listening(line, "address"));
            if found.is_none()
                && let Some(status) =
                    child.lock().expect("no panic inside").try_wait().expect("a child process")
            {
                panic!("the service ended before it listened: {status}");
            }
            found
        })
        .await;
        self.address = Some(address);
        let ready = format!("{}/readyz", self.url());
        let client = reqwest::Client::new();
        eventually("/readyz to say 200", START, || async {
            client.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()).then_some(())
        })
        .await;
        self
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Fails only if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the log explains the failure")]
            for line in self.log() {
                eprintln!("service: {line}");
            }
        }
    }
}

impl Builder {
    /// Sets one environment variable, such as `PACEGATE_SETTLE`.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Leaves an environment variable unset, so that its default applies.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Opens every listener for spans on a free port. Spans over UDP belong to `udp_repo`.
    pub(crate) fn every_port(self, udp_repo: &str) -> Self {
        let ports = [
            "OTLP_GRPC",
            "OTLP_HTTP",
            "ZIPKIN",
            "JAEGER_HTTP",
            "JAEGER_GRPC",
            "JAEGER_UDP_COMPACT",
            "JAEGER_UDP_BINARY",
        ];
        ports.iter().fold(self.env("PACEGATE_JAEGER_UDP_REPO", udp_repo), |builder, port| {
            builder.env(&format!("PACEGATE_{port}_LISTEN"), "127.0.0.1:0")
        })
    }

    /// Adds arguments after `serve`, such as `--no-worker`.
    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Uses embedded SQLite in a file of that folder.
    pub(crate) fn sqlite_in(self, folder: &Path) -> Self {
        self.env("PACEGATE_DATABASE_URL", &format!("sqlite://{}/pacegate.db", folder.display()))
    }

    /// Uses PostgreSQL at the URL of `postgres::fresh_database`.
    pub(crate) fn postgres(self, url: &str) -> Self {
        self.env("PACEGATE_DATABASE_URL", url)
    }

    /// Uses the fake's address, App and key, and [`WEBHOOK_SECRET`].
    pub(crate) fn github(self, fake: &FakeGitHub) -> Self {
        let (app_id, private_key) = fake.credentials();
        self.env("PACEGATE_GITHUB_API_URL", &fake.url())
            .env("PACEGATE_GITHUB_APP_ID", &app_id.to_string())
            .env("PACEGATE_GITHUB_PRIVATE_KEY", &private_key)
            .env("PACEGATE_GITHUB_WEBHOOK_SECRET", WEBHOOK_SECRET)
    }

    /// Runs `serve` and returns when it is ready.
    pub(crate) async fn start(&self) -> Service {
        Service::spawn(self.command(&self.arguments)).listening().await
    }

    /// Runs `worker`, which has no main port.
    pub(crate) fn start_worker(&self) -> Service {
        Service::spawn(self.command(&["worker".to_owned()]))
    }

    /// Runs another subcommand with the same configuration until it ends.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self.command(&arguments).stdin(Stdio::null()).output().expect("the binary runs")
    }

    fn command(&self, arguments: &[String]) -> Command {
        let mut command = bare();
        command.args(arguments).envs(&self.environment);
        command
    }
}

/// Runs the binary until it ends, with these variables and no inherited one but `PATH`.
pub(crate) fn run_cli(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let environment = environment.iter().copied();
    bare().args(arguments).envs(environment).stdin(Stdio::null()).output().expect("the binary runs")
}

fn bare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pacegate"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

fn collect(pipe: impl Read + Send + 'static, log: &Arc<Mutex<Vec<String>>>) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        // Reads bytes, not text: a log line that is not UTF-8 must not stop the collection.
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            log.lock().expect("no panic inside").push(text);
            line.clear();
        }
    });
}

/// An address in the JSON log line whose message is `listening`.
fn listening(line: &str, name: &str) -> Option<String> {
    let event: Value = serde_json::from_str(line).ok()?;
    // tracing's JSON has an event's fields below `fields`, or beside the message if flattened.
    let fields = event.get("fields").unwrap_or(&event);
    (fields["message"] == "listening").then(|| fields[name].as_str().map(str::to_owned))?
}

#[test]
fn addresses_are_read_from_log() {
    let nested =
        r#"{"level":"INFO","fields":{"message":"listening","address":"127.0.0.1:4000","zipkin":"off"}}"#;
    let flat = r#"{"level":"INFO","message":"listening","address":"127.0.0.1:4001"}"#;
    assert_eq!(listening(nested, "address").as_deref(), Some("127.0.0.1:4000"));
    assert_eq!(listening(nested, "zipkin").as_deref(), Some("off"));
    assert_eq!(listening(flat, "address").as_deref(), Some("127.0.0.1:4001"));
    assert_eq!(listening(r#"{"message":"stopping","address":"x"}"#, "address"), None);
    assert_eq!(listening("listening on 127.0.0.1:4000", "address"), None);
}

fn shell(script: &str) -> Service {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Service::spawn(command)
}

#[tokio::test]
async fn stopped_process_keeps_its_log() {
    let service = shell("trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done");
    eventually("the line of the script", START, || async {
        service.log().contains(&"ready".to_owned()).then_some(())
    })
    .await;
    service.terminate().await;
}

#[tokio::test]
#[should_panic(expected = "a graceful stop ends with 0")]
async fn process_killed_by_sigterm_is_not_graceful_stop() {
    shell("while :; do sleep 0.05; done").terminate().await;
}

#[tokio::test]
#[should_panic(expected = "ended before it listened")]
async fn service_that_ends_immediately_is_reported() {
    shell("exit 3").listening().await;
}
