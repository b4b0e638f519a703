//! One run of a pipeline in single spans. It has stages with nested, wrongly parented and empty
//! operations. It also has a call to a service whose clock is three seconds ahead, and a consumer
//! with its own trace.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::pipeline::{span, text};

const SECOND: f64 = 1e9;
/// OTLP's numbers of span kinds.
const SERVER: u8 = 2;
const CLIENT: u8 = 3;
const PRODUCER: u8 = 4;
const CONSUMER: u8 = 5;

pub(super) struct PipelineRun {
    sha: String,
    branch: String,
    started_at: i64,
    /// Factor on the duration of the consumer's work; 1 is its usual duration.
    slow: f64,
}

impl PipelineRun {
    pub(super) fn new(sha: &str, branch: &str, started_at: i64, slow: f64) -> Self {
        Self { sha: sha.to_owned(), branch: branch.to_owned(), started_at, slow }
    }

    fn digits(&self, what: &str) -> String {
        hex::encode(Sha256::digest(format!("{} {} {what}", self.sha, self.started_at)))
    }

    /// Between 0.97 and 1.03, derived from this run and `what`.
    fn noise(&self, what: &str) -> f64 {
        let byte = u8::from_str_radix(&self.digits(what)[..2], 16).expect("two digits");
        1.0 + 0.03 * (f64::from(byte) / 127.5 - 1.0)
    }

    fn span(&self, trace: &str, name: &str, parent: &str, from: f64, to: f64) -> Value {
        #[expect(clippy::cast_possible_truncation, reason = "the seconds are small")]
        let at = |seconds: f64| i128::from(self.started_at) * 1_000_000_000 + (seconds * SECOND) as i128;
        let parent = if parent.is_empty() { String::new() } else { self.digits(parent)[..16].to_owned() };
        span(&self.digits(trace)[..32], &self.digits(name)[..16], &parent, name, at(from), at(to))
    }

    fn stage(&self, name: &str, from: f64, to: f64) -> Value {
        let mut span = self.span("trace", &format!("{name}-stage"), "pipeline-execution", from, to);
        span["attributes"] = json!([text("stage.name", name)]);
        span
    }

    fn part(&self, machine: &str, span: &Value) -> Value {
        let attributes = [
            text("service.name", machine.trim_end_matches("-1")),
            text("host.name", machine),
            text("vcs.ref.head.revision", &self.sha),
            text("vcs.ref.head.name", &self.branch),
        ];
        json!({ "resource": { "attributes": attributes }, "scopeSpans": [{ "spans": [span] }] })
    }

    /// The spans of the run, each in a part of its own.
    pub(super) fn parts(&self) -> Vec<Value> {
        let clone = 6.0 * self.noise("clone");
        let compile = clone + 1.0 + 40.0 * self.noise("compile");
        let package = compile + 8.0 * self.noise("package");
        let test = package + 2.0;
        let stored = test + 2.0 + 28.0 * self.noise("store");
        let deploy = stored + 2.0;
        let end = deploy + 20.0 * self.noise("deploy");
        let number = json!([{ "key": "pipeline.id", "value": { "intValue": self.started_at.to_string() } }]);

        let mut root = self.span("trace", "pipeline-execution", "", 0.0, end);
        root["attributes"] = number.clone();
        root["attributes"].as_array_mut().expect("a list").push(text("pipeline.name", "shop"));
        root["kind"] = SERVER.into();
        let mut upload = self.span("trace", "upload-artifact", "test-stage", test, stored);
        upload["kind"] = CLIENT.into();
        let mut send = self.span("trace", "send-message-orders", "deploy-stage", deploy, deploy + 0.01);
        send["kind"] = PRODUCER.into();
        let mut parts: Vec<Value> = [
            root,
            self.stage("checkout", 0.0, clone),
            self.span("trace", "git-clone", "checkout-stage", 0.1, clone),
            self.stage("build", clone, package),
            // Started with the pipeline's context instead of the stage's context.
            self.span("trace", "build-compile", "pipeline-execution", clone + 1.0, compile),
            self.span("trace", "build-package", "pipeline-execution", compile, package),
            self.span("trace", "build-lint", "pipeline-execution", compile, compile),
            self.stage("test", package, stored),
            upload,
            self.stage("deploy", stored, end),
            send.clone(),
        ]
        .iter()
        .map(|span| self.part("engine-1", span))
        .collect();

        let mut stored_there =
            self.span("trace", "store-artifact", "upload-artifact", test + 3.2, stored + 2.8);
        stored_there["kind"] = SERVER.into();
        parts.push(self.part("artifact-1", &stored_there));

        let worked = deploy + 2.0 + 50.0 * self.slow * self.noise("migrate");
        let mut receive = self.span("queue", "receive-message-orders", "", deploy + 1.0, worked + 2.0);
        receive["attributes"] = number;
        receive["links"] = json!([{ "traceId": send["traceId"], "spanId": send["spanId"] }]);
        let mut process = self.span(
            "queue",
            "process-message-orders",
            "receive-message-orders",
            deploy + 1.0,
            worked + 1.0,
        );
        for consumer in [&mut receive, &mut process] {
            consumer["kind"] = CONSUMER.into();
        }
        let migrate = self.span("queue", "migrate", "process-message-orders", deploy + 2.0, worked);
        parts.extend([receive, process, migrate].iter().map(|span| self.part("worker-1", span)));
        parts
    }
}

pub(super) fn name(part: &Value) -> &str {
    part["scopeSpans"][0]["spans"][0]["name"].as_str().expect("a name")
}

/// Distributes the parts over `count` requests in a random order.
pub(super) fn requests(mut parts: Vec<Value>, count: usize) -> Vec<Value> {
    parts.sort_by_key(|part| Sha256::digest(part.to_string()).to_vec());
    let size = parts.len().div_ceil(count);
    parts.chunks(size).map(|parts| json!({ "resourceSpans": parts })).collect()
}
