//! Reads the JSON lines of Rust's test harness (`--format json`), which nextest writes too
//! (`--message-format libtest-json`). Tests are grouped by module.

use std::collections::HashMap;

use serde::Deserialize;

use super::json_lines::documents;
use super::{ReportReader, Signature};
use crate::reports::ReportError;
use crate::reports::part::{Failure, PartOutcome, Parts, Role, Start, nanoseconds};

pub(super) static READER: ReportReader = ReportReader {
    name: "libtest JSON",
    aliases: &[],
    extensions: &["json", "jsonl"],
    signatures: &[Signature::Keys(&["type", "event"])],
    read,
};

#[derive(Deserialize)]
struct TestEvent {
    #[serde(rename = "type")]
    kind: String,
    event: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    exec_time: Option<f64>,
    #[serde(default)]
    stdout: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

fn read(text: &[u8], parts: &mut Parts) -> Result<(), ReportError> {
    let mut modules: HashMap<String, usize> = HashMap::new();
    for event in documents::<TestEvent>(text, usize::MAX) {
        let ended = matches!(event.event.as_str(), "ok" | "failed" | "ignored" | "timeout");
        let (Some(name), true, true) = (event.name, ended, event.kind == "test") else { continue };
        // nextest writes the binary's name and a dollar sign before the test's name.
        let split = name.rfind("::").map(|at| (at, 2)).max(name.rfind('$').map(|at| (at, 1)));
        let (module, case) =
            split.map_or(("", name.as_str()), |(at, length)| (&name[..at], &name[at + length..]));
        let within = match modules.get(module) {
            _ if module.is_empty() => None,
            Some(part) => Some(*part),
            None => {
                let part = parts.add(None, Role::Suite, module, Start::Unknown, None)?;
                modules.insert(module.to_owned(), part);
                Some(part)
            }
        };
        let duration = event.exec_time.and_then(nanoseconds).unwrap_or(0);
        let part = parts.add(within, Role::Case, case, Start::Unknown, Some(duration))?;
        match event.event.as_str() {
            "ignored" => parts.set_outcome(part, PartOutcome::Skipped),
            "failed" | "timeout" => {
                let output = event.stdout.unwrap_or_default();
                parts.set_outcome(part, PartOutcome::Failed(failure(&output, event.message.as_deref())));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A panic's message is on the line after its source position.
fn failure(output: &str, message: Option<&str>) -> Failure {
    let after = output.lines().skip_while(|line| !line.contains(" panicked at ")).nth(1);
    let message = message.or(after).unwrap_or("the test failed");
    Failure::new(if after.is_some() { "panic" } else { "" }, message, output)
}
