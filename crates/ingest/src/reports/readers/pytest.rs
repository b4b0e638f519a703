//! Reads pytest's own reports: the JSON lines of `--report-log` and the document of `--json-report`.
//! The duration of a test includes its setup and teardown.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::json_lines::documents;
use super::{ReportReader, Signature};
use crate::bounded::check_values;
use crate::reports::ReportError;
use crate::reports::part::{Failure, PartOutcome, Parts, Role, Start, nanoseconds, unix_ns};

pub(super) static REPORT_LOG: ReportReader = ReportReader {
    name: "pytest's report-log",
    aliases: &[],
    extensions: &["json", "jsonl"],
    signatures: &[Signature::Keys(&["$report_type"])],
    read: read_report_log,
};

pub(super) static JSON_REPORT: ReportReader = ReportReader {
    name: "pytest's JSON report",
    aliases: &[],
    extensions: &["json"],
    signatures: &[Signature::Keys(&["tests"]), Signature::Keys(&["collectors", "exitcode"])],
    read: read_json_report,
};

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "$report_type")]
    kind: String,
    #[serde(default)]
    nodeid: String,
    #[serde(default)]
    outcome: String,
    #[serde(default)]
    duration: Option<f64>,
    #[serde(default)]
    start: Option<f64>,
    #[serde(default)]
    longrepr: Value,
}

fn read_report_log(text: &[u8], parts: &mut Parts) -> Result<(), ReportError> {
    let mut nodes = NodeParts::default();
    for line in documents::<Line>(text, usize::MAX) {
        if line.kind != "TestReport" || line.nodeid.is_empty() {
            continue;
        }
        let start = line.start.and_then(unix_ns).map_or(Start::Unknown, Start::At);
        let part = nodes.case(&line.nodeid, start, parts)?;
        let details = &line.longrepr;
        let failure = || {
            let crash = details["reprcrash"]["message"].as_str().or(details.as_str()).unwrap_or_default();
            Failure::new("", crash.lines().next().unwrap_or_default(), &traceback(details))
        };
        add_phase(parts, part, line.duration, &line.outcome, failure);
    }
    Ok(())
}

/// The lines of all entries of a traceback.
fn traceback(details: &Value) -> String {
    let entries = details["reprtraceback"]["reprentries"].as_array().map_or(&[][..], Vec::as_slice);
    let lines = entries.iter().flat_map(|entry| {
        let place = &entry["data"]["reprfileloc"];
        let place = match (place["path"].as_str(), place["lineno"].as_u64()) {
            (Some(path), Some(line)) => {
                Some(format!("{path}:{line}: {}", place["message"].as_str().unwrap_or("")))
            }
            _ => None,
        };
        let lines = entry["data"]["lines"].as_array().map_or(&[][..], Vec::as_slice);
        lines.iter().filter_map(|line| line.as_str().map(str::to_owned)).chain(place)
    });
    lines.take(200).collect::<Vec<String>>().join("\n")
}

#[derive(Deserialize)]
struct JsonReport {
    #[serde(default)]
    tests: Vec<JsonTest>,
}

#[derive(Deserialize)]
struct JsonTest {
    nodeid: String,
    #[serde(default)]
    outcome: String,
    #[serde(default)]
    setup: Phase,
    #[serde(default)]
    call: Phase,
    #[serde(default)]
    teardown: Phase,
}

#[derive(Deserialize, Default)]
struct Phase {
    #[serde(default)]
    duration: Option<f64>,
    #[serde(default)]
    outcome: String,
    #[serde(default)]
    crash: Option<Crash>,
    #[serde(default)]
    longrepr: Option<String>,
}

#[derive(Deserialize)]
struct Crash {
    #[serde(default)]
    message: String,
}

fn read_json_report(text: &[u8], parts: &mut Parts) -> Result<(), ReportError> {
    check_values(text, parts.limits)?;
    let report: JsonReport = serde_json::from_slice(text).map_err(|e| JSON_REPORT.malformed(e))?;
    let mut nodes = NodeParts::default();
    for test in report.tests {
        let part = nodes.case(&test.nodeid, Start::Unknown, parts)?;
        for phase in [&test.setup, &test.call, &test.teardown] {
            let failure = || {
                let message = phase.crash.as_ref().map_or("", |crash| crash.message.as_str());
                let message = message.lines().next().unwrap_or_default();
                Failure::new("", message, phase.longrepr.as_deref().unwrap_or_default())
            };
            add_phase(parts, part, phase.duration, &phase.outcome, failure);
        }
        if test.outcome == "skipped" {
            parts.set_outcome(part, PartOutcome::Skipped);
        }
    }
    Ok(())
}

fn add_phase(
    parts: &mut Parts,
    part: usize,
    seconds: Option<f64>,
    outcome: &str,
    failure: impl Fn() -> Failure,
) {
    let longer = seconds.and_then(nanoseconds).unwrap_or(0);
    let case = &mut parts.list[part];
    case.duration_ns = Some(case.duration_ns.unwrap_or(0).saturating_add(longer));
    match outcome {
        "failed" | "error" if !matches!(case.outcome, PartOutcome::Failed(_)) => {
            case.outcome = PartOutcome::Failed(failure());
        }
        "skipped" if case.outcome == PartOutcome::Passed => case.outcome = PartOutcome::Skipped,
        _ => {}
    }
}

/// The parts of files, classes and tests by node id.
#[derive(Default)]
struct NodeParts(HashMap<String, usize>);

impl NodeParts {
    /// The part of a test such as `tests/test_shop.py::TestOrders::test_create[1]`. The text in
    /// brackets can contain `::` and is not split.
    fn case(&mut self, nodeid: &str, start: Start, parts: &mut Parts) -> Result<usize, ReportError> {
        let plain = nodeid.find('[').unwrap_or(nodeid.len());
        let mut within = None;
        let mut from = 0;
        let ends: Vec<usize> = nodeid[..plain].match_indices("::").map(|(at, _)| at).collect();
        for end in ends {
            within = Some(self.suite(&nodeid[..end], &nodeid[from..end], within, parts)?);
            from = end + 2;
        }
        if let Some(part) = self.0.get(nodeid) {
            return Ok(*part);
        }
        let part = parts.add(within, Role::Case, &nodeid[from..], start, Some(0))?;
        self.0.insert(nodeid.to_owned(), part);
        Ok(part)
    }

    fn suite(
        &mut self,
        id: &str,
        name: &str,
        within: Option<usize>,
        parts: &mut Parts,
    ) -> Result<usize, ReportError> {
        if let Some(part) = self.0.get(id) {
            return Ok(*part);
        }
        let part = parts.add(within, Role::Suite, name, Start::Unknown, None)?;
        self.0.insert(id.to_owned(), part);
        Ok(part)
    }
}
