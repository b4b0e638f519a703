//! A small pipeline as OTLP JSON: checkout, build, test and deploy with their operations and a few
//! percent of noise. A test can change single properties of a run.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// One run to send.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub sha: String,
    /// `vcs.ref.head.name`.
    pub branch: Option<String>,
    /// `vcs.change.id`.
    pub change: Option<u64>,
    /// Seconds since the epoch.
    pub started_at: i64,
    /// Factor on the duration of the integration tests; 1 is their usual duration.
    pub slow: f64,
    /// Whether the integration tests raise an exception that is not in the history.
    pub raises: bool,
    /// `github.workflow.path`.
    pub workflow: Option<&'static str>,
}

/// Stage, its operations and their usual seconds.
const STAGES: [(&str, &[(&str, f64)]); 4] = [
    ("checkout", &[("git-clone", 6.0)]),
    ("build", &[("compile", 80.0), ("package", 20.0)]),
    ("test", &[("unit-tests", 40.0), ("integration-tests", 60.0)]),
    ("deploy", &[("apply", 30.0)]),
];

impl Run {
    /// A run of main with its usual durations.
    pub(crate) fn of_main(sha: &str, started_at: i64) -> Self {
        let branch = Some("main".to_owned());
        Self {
            sha: sha.to_owned(),
            branch,
            change: None,
            started_at,
            slow: 1.0,
            raises: false,
            workflow: None,
        }
    }

    /// A run of a branch with slowed integration tests and a new exception.
    pub(crate) fn slowed(sha: &str, branch: &str, started_at: i64) -> Self {
        Self { branch: Some(branch.to_owned()), slow: 1.7, raises: true, ..Self::of_main(sha, started_at) }
    }

    /// Hexadecimal digits derived from this run and `what`.
    fn digits(&self, what: &str) -> String {
        hex::encode(Sha256::digest(format!("{} {} {what}", self.sha, self.started_at)))
    }

    pub(crate) fn trace_id(&self) -> String {
        self.digits("trace")[..32].to_owned()
    }

    /// Between -1 and 1, derived from this run and `what`.
    fn noise(&self, what: &str) -> f64 {
        let byte = u8::from_str_radix(&self.digits(what)[..2], 16).expect("two digits");
        f64::from(byte) / 127.5 - 1.0
    }

    /// The spans of the run, the root last.
    pub(crate) fn spans(&self) -> Vec<Value> {
        let (trace, root) = (self.trace_id(), self.digits("root")[..16].to_owned());
        let mut spans = Vec::new();
        let begin = i128::from(self.started_at) * 1_000_000_000;
        let mut now = begin;
        for (stage, operations) in STAGES {
            let (id, began) = (self.digits(stage)[..16].to_owned(), now);
            for (operation, usual) in operations {
                let slow = if *operation == "integration-tests" { self.slow } else { 1.0 };
                let seconds = usual * slow * (1.0 + 0.04 * self.noise(operation));
                #[expect(clippy::cast_possible_truncation, reason = "the seconds are small")]
                let end = now + (seconds * 1e9) as i128;
                let mut span = span(&trace, &self.digits(operation)[..16], &id, operation, now, end);
                if self.raises && *operation == "integration-tests" {
                    span["events"] = json!([{
                        "name": "exception", "timeUnixNano": end.to_string(),
                        "attributes": [text("exception.type", "OrderTimeout"), text("exception.message", "no answer within 5000 ms")],
                    }]);
                }
                spans.push(span);
                now = end;
            }
            let mut span = span(&trace, &id, &root, &format!("{stage}-stage"), began, now);
            span["attributes"] = json!([text("stage.name", stage)]);
            spans.push(span);
        }
        let mut span = span(&trace, &root, "", "pipeline-execution", begin, now);
        span["attributes"] = json!([text("pipeline.name", "my-app")]);
        spans.push(span);
        spans
    }

    /// One element of `resourceSpans`: the run's resource with these spans.
    pub(crate) fn group(&self, spans: &[Value]) -> Value {
        let mut attributes = vec![text("service.name", "engine"), text("vcs.ref.head.revision", &self.sha)];
        attributes.extend(self.branch.as_ref().map(|branch| text("vcs.ref.head.name", branch)));
        attributes.extend(self.change.map(|number| text("vcs.change.id", &number.to_string())));
        attributes.extend(self.workflow.map(|path| text("github.workflow.path", path)));
        json!({ "resource": { "attributes": attributes }, "scopeSpans": [{ "spans": spans }] })
    }

    pub(crate) fn request(&self) -> Value {
        json!({ "resourceSpans": [self.group(&self.spans())] })
    }
}

pub(crate) fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// A span; `parent` is empty for a root.
pub(crate) fn span(trace: &str, id: &str, parent: &str, name: &str, start_ns: i128, end_ns: i128) -> Value {
    json!({
        "traceId": trace, "spanId": id, "parentSpanId": parent, "name": name, "kind": 1,
        "startTimeUnixNano": start_ns.to_string(), "endTimeUnixNano": end_ns.to_string(), "status": {},
    })
}

/// One request with `count` usual runs of main, six hours apart. The last run begins six hours
/// before `until`.
pub(crate) fn history(count: u32, until: i64) -> Value {
    let groups: Vec<Value> = (0..count)
        .map(|i| {
            let started_at = until - i64::from(count - i) * 6 * 3600;
            let run = Run::of_main(&crate::webhooks::sha(&format!("main {i}")), started_at);
            run.group(&run.spans())
        })
        .collect();
    json!({ "resourceSpans": groups })
}
