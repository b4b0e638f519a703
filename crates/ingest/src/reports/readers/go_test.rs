//! Reads `go test -json`: the events of packages, tests and sub-tests in order of time.

use std::collections::HashMap;

use serde::Deserialize;

use super::json_lines::documents;
use super::{ReportReader, Signature};
use crate::reports::ReportError;
use crate::reports::part::{Failure, PartOutcome, Parts, Role, Start, nanoseconds, parse_time};

pub(super) static READER: ReportReader = ReportReader {
    name: "go test -json",
    aliases: &[],
    extensions: &["json", "jsonl"],
    signatures: &[Signature::Keys(&["Action"])],
    read,
};

/// Bytes of a test's output that are kept until the test's result is known.
const OUTPUT_BYTES: usize = 8_000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GoEvent {
    #[serde(default)]
    time: Option<String>,
    action: String,
    #[serde(default)]
    package: Option<String>,
    #[serde(default)]
    test: Option<String>,
    #[serde(default)]
    elapsed: Option<f64>,
    #[serde(default)]
    output: Option<String>,
}

/// A package or test that began and did not end yet.
#[derive(Default)]
struct Running {
    part: Option<usize>,
    began_ns: Option<i64>,
    output: String,
    has_tests: bool,
    has_failures: bool,
}

/// Reads all events. A test without an end was running when its package was killed.
fn read(text: &[u8], parts: &mut Parts) -> Result<(), ReportError> {
    let mut running: HashMap<(String, String), Running> = HashMap::new();
    for event in documents::<GoEvent>(text, usize::MAX) {
        let Some(package) = event.package else { continue };
        let test = event.test.unwrap_or_default();
        let time = event.time.as_deref().and_then(parse_time);
        let key = (package, test);
        match event.action.as_str() {
            "start" => running.entry(key).or_default().began_ns = time,
            "run" => {
                began(&key, time, &mut running, parts)?;
            }
            // A parallel test waited until now.
            "cont" => {
                let known = running.entry(key).or_default();
                known.began_ns = time.or(known.began_ns);
                if let (Some(part), Some(at)) = (known.part, known.began_ns) {
                    parts.list[part].start = Start::At(at);
                }
            }
            "output" => {
                let known = running.entry(key).or_default();
                let line = event.output.unwrap_or_default();
                if known.output.len() < OUTPUT_BYTES && !is_frame(&line) {
                    known.output.extend(line.chars().take(OUTPUT_BYTES));
                }
            }
            "pass" | "fail" | "skip" | "bench" => {
                ended(&key, &event.action, time, event.elapsed, &mut running, parts)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// `true` for a line that go prints around a test's own output.
fn is_frame(line: &str) -> bool {
    let line = line.trim_start();
    ["=== ", "--- ", "PASS", "FAIL", "ok  \t", "coverage:"].iter().any(|start| line.starts_with(start))
}

/// The part of a package. It is created with its first test.
fn package_part(
    package: &str,
    running: &mut HashMap<(String, String), Running>,
    parts: &mut Parts,
) -> Result<usize, ReportError> {
    let known = running.entry((package.to_owned(), String::new())).or_default();
    if let Some(part) = known.part {
        return Ok(part);
    }
    let start = known.began_ns.map_or(Start::Unknown, Start::At);
    let part = parts.add(None, Role::Suite, package, start, None)?;
    known.part = Some(part);
    Ok(part)
}

fn began(
    key: &(String, String),
    time: Option<i64>,
    running: &mut HashMap<(String, String), Running>,
    parts: &mut Parts,
) -> Result<usize, ReportError> {
    let (package, test) = key;
    let package_part = package_part(package, running, parts)?;
    // `TestTable/large` is within `TestTable`, if that ran. A name can contain more slashes.
    let mut above = test.as_str();
    let within = loop {
        match above.rsplit_once('/') {
            None => break None,
            Some((before, _)) => above = before,
        }
        if let Some(known) = running.get_mut(&(package.clone(), above.to_owned())) {
            known.has_tests = true;
            break known.part;
        }
    };
    let name = within.and_then(|_| test.get(above.len() + 1..)).unwrap_or(test);
    let start = time.map_or(Start::Unknown, Start::At);
    let part = parts.add(within.or(Some(package_part)), Role::Case, name, start, Some(0))?;
    let known = running.entry(key.clone()).or_default();
    known.part = Some(part);
    known.began_ns = time;
    Ok(part)
}

fn ended(
    key: &(String, String),
    action: &str,
    time: Option<i64>,
    elapsed: Option<f64>,
    running: &mut HashMap<(String, String), Running>,
    parts: &mut Parts,
) -> Result<(), ReportError> {
    let is_package = key.1.is_empty();
    let mut known = running.remove(key).unwrap_or_default();
    let part = match (known.part, is_package) {
        (Some(part), _) => part,
        // A package without tests does not become a part.
        (None, true) if action != "fail" => return Ok(()),
        (None, true) => parts.add(None, Role::Suite, &key.0, Start::Unknown, None)?,
        (None, false) => began(key, None, running, parts)?,
    };
    let wall = time.zip(known.began_ns).map(|(end, began)| end.saturating_sub(began)).filter(|ns| *ns >= 0);
    // Go's elapsed time of a test does not include the time it waited for its sub-tests.
    let own = elapsed.and_then(nanoseconds);
    let duration = if known.has_tests { wall.or(own) } else { own.or(wall) };
    parts.list[part].duration_ns = duration.or(if is_package { None } else { Some(0) });
    match action {
        "skip" => parts.set_outcome(part, PartOutcome::Skipped),
        // A parent of a failed test gets no failure of its own.
        "fail" if !known.has_failures => {
            let output = std::mem::take(&mut known.output);
            let kind = if is_package { "package failure" } else { "" };
            parts.set_outcome(part, PartOutcome::Failed(Failure::new(kind, "", &output)));
        }
        _ => {}
    }
    if action == "fail" {
        let mut above = key.1.as_str();
        while let Some((before, _)) = above.rsplit_once('/') {
            above = before;
            if let Some(known) = running.get_mut(&(key.0.clone(), above.to_owned())) {
                known.has_failures = true;
            }
        }
        if let Some(known) = running.get_mut(&(key.0.clone(), String::new())) {
            known.has_failures = true;
        }
    }
    Ok(())
}
