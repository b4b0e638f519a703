//! The JSON lines of Rust's own test harness (`--format json`), which nextest writes too
//! (`--message-format libtest-json`). Tests are grouped by their module.

use std::collections::HashMap;

use serde::Deserialize;

use super::ReportError;
use super::json_lines::documents;
use super::part::{Failure, Outcome, Parts, Role, Start, nanoseconds};

/// In words, in errors.
const FORMAT: &str = "libtest JSON";

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

/// Reads all events.
pub(super) fn read(text: &[u8], parts: &mut Parts) -> Result<&'static str, ReportError> {
    let mut modules: HashMap<String, usize> = HashMap::new();
    for event in documents::<TestEvent>(text, usize::MAX) {
        let ended = matches!(event.event.as_str(), "ok" | "failed" | "ignored" | "timeout");
        let (Some(name), true, true) = (event.name, ended, event.kind == "test") else { continue };
        // nextest puts the binary before a dollar sign.
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
            "ignored" => parts.settle(part, Outcome::Skipped),
            "failed" | "timeout" => {
                let output = event.stdout.unwrap_or_default();
                parts.settle(part, Outcome::Failed(failure(&output, event.message.as_deref())));
            }
            _ => {}
        }
    }
    Ok(FORMAT)
}

/// A panic's message stands on the line after the place where it was.
fn failure(output: &str, message: Option<&str>) -> Failure {
    let after = output.lines().skip_while(|line| !line.contains(" panicked at ")).nth(1);
    let message = message.or(after).unwrap_or("the test failed");
    Failure::new(if after.is_some() { "panic" } else { "" }, message, output)
}
