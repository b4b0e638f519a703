//! pytest's own reports: the JSON lines of `--report-log` and the document of
//! `--json-report`. A test's set-up and tear-down belong to it.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::ReportError;
use super::json_lines::documents;
use super::part::{Failure, Outcome, Parts, Role, Start, moment, nanoseconds};
use crate::Limits;
use crate::bounded::check_values;

const LOG: &str = "pytest's report-log";
const JSON_REPORT: &str = "pytest's JSON report";

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

/// Reads `--report-log`.
pub(super) fn read_report_log(text: &[u8], parts: &mut Parts) -> Result<&'static str, ReportError> {
    let mut places = Places::default();
    for line in documents::<Line>(text, usize::MAX) {
        if line.kind != "TestReport" || line.nodeid.is_empty() {
            continue;
        }
        let start = line.start.and_then(moment).map_or(Start::Unknown, Start::At);
        let part = places.case(&line.nodeid, start, parts)?;
        let told = &line.longrepr;
        let failure = || {
            let crash = told["reprcrash"]["message"].as_str().or(told.as_str()).unwrap_or_default();
            Failure::new("", crash.lines().next().unwrap_or_default(), &traceback(told))
        };
        add_phase(parts, part, line.duration, &line.outcome, failure);
    }
    Ok(LOG)
}

/// The lines of each entry of a traceback.
fn traceback(told: &Value) -> String {
    let entries = told["reprtraceback"]["reprentries"].as_array().map_or(&[][..], Vec::as_slice);
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

/// Reads `--json-report`.
pub(super) fn read_json_report(
    text: &[u8],
    limits: Limits,
    parts: &mut Parts,
) -> Result<&'static str, ReportError> {
    check_values(text, limits)?;
    let report: JsonReport = serde_json::from_slice(text)
        .map_err(|e| ReportError::Malformed { format: JSON_REPORT, reason: e.to_string() })?;
    let mut places = Places::default();
    for test in report.tests {
        let part = places.case(&test.nodeid, Start::Unknown, parts)?;
        for phase in [&test.setup, &test.call, &test.teardown] {
            let failure = || {
                let message = phase.crash.as_ref().map_or("", |crash| crash.message.as_str());
                let message = message.lines().next().unwrap_or_default();
                Failure::new("", message, phase.longrepr.as_deref().unwrap_or_default())
            };
            add_phase(parts, part, phase.duration, &phase.outcome, failure);
        }
        if test.outcome == "skipped" {
            parts.settle(part, Outcome::Skipped);
        }
    }
    Ok(JSON_REPORT)
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
        "failed" | "error" if !matches!(case.outcome, Outcome::Failed(_)) => {
            case.outcome = Outcome::Failed(failure());
        }
        "skipped" if case.outcome == Outcome::Passed => case.outcome = Outcome::Skipped,
        _ => {}
    }
}

/// Files, classes and tests by their node id.
#[derive(Default)]
struct Places(HashMap<String, usize>);

impl Places {
    /// The part of `tests/test_shop.py::TestOrders::test_create[1]`; what is in brackets may
    /// hold anything.
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
