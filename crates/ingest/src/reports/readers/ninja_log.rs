//! Reads `.ninja_log`: one line for each built output, with times in milliseconds after the start of
//! the build. A file contains several builds in order; only the last one is read.

use super::{ReportReader, Signature};
use crate::reports::ReportError;
use crate::reports::part::{Parts, Role, Start};

pub(super) static READER: ReportReader = ReportReader {
    name: "a ninja log",
    aliases: &[".ninja_log"],
    extensions: &[],
    signatures: &[Signature::Text(|text| text.starts_with(b"# ninja log v"))],
    read,
};

fn read(text: &[u8], parts: &mut Parts) -> Result<(), ReportError> {
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
        // Lines are written when outputs are complete. An earlier end belongs to the next build.
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
    Ok(())
}
