//! `.ninja_log`: a line for each output that was built, in milliseconds after the build's
//! beginning. Builds follow one another in one file; the last one is read.

use super::ReportError;
use super::part::{Parts, Role, Start};

const FORMAT: &str = "a ninja log";

/// Whether a text begins like one.
pub(super) fn is_one(text: &[u8]) -> bool {
    text.starts_with(b"# ninja log v")
}

/// Reads the last build of a log.
pub(super) fn read(text: &[u8], parts: &mut Parts) -> Result<&'static str, ReportError> {
    let mut last_build: Vec<(i64, i64, &[u8], &[u8])> = Vec::new();
    for line in text.split(|byte| *byte == b'\n').skip(1) {
        let mut fields = line.split(|byte| *byte == b'\t');
        let mut number = || -> Option<i64> {
            let ms: i64 = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
            (0..=1_000_000_000).contains(&ms).then_some(ms)
        };
        let (Some(start), Some(end)) = (number(), number()) else { continue };
        let (Some(_mtime), Some(output)) = (fields.next(), fields.next()) else { continue };
        let command = fields.next().unwrap_or_default();
        // Lines come as outputs are done: an earlier end is the next build's.
        if last_build.last().is_some_and(|(_, before, ..)| end < *before) {
            last_build.clear();
        }
        // Several outputs of one command are one step.
        if last_build.last().is_none_or(|last| (last.0, last.1, last.3) != (start, end, command)) {
            last_build.push((start, end, output, command));
        }
    }
    for (start, end, output, _) in last_build {
        let duration = end.saturating_sub(start).max(0) * 1_000_000;
        let name = String::from_utf8_lossy(output);
        parts.add(None, Role::Step, &name, Start::Offset(start * 1_000_000), Some(duration))?;
    }
    Ok(FORMAT)
}
