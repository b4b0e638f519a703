//! Reads the page that `cargo build --timings` writes. It contains the units of the build as JSON.

use serde::Deserialize;

use super::{ReportReader, Signature};
use crate::reports::ReportError;
use crate::reports::part::{Parts, Role, Start, nanoseconds, parse_time};

pub(super) static READER: ReportReader = ReportReader {
    name: "cargo's --timings",
    aliases: &[],
    extensions: &["html"],
    signatures: &[Signature::Text(|text| text.starts_with(b"<") && after(text, UNITS).is_some())],
    read,
};

/// The text before the list of units.
const UNITS: &[u8] = b"UNIT_DATA = ";
const BUILD_START: &[u8] = b"<td>Build start:</td><td>";

#[derive(Deserialize)]
struct Unit {
    name: String,
    #[serde(default)]
    target: String,
    start: f64,
    duration: f64,
}

/// Reads the list of units. A unit's name does not contain its version, because an update must not
/// create a new stage.
fn read(page: &[u8], parts: &mut Parts) -> Result<(), ReportError> {
    let began = after(page, BUILD_START).and_then(|rest| {
        let end = rest.iter().position(|byte| *byte == b'<')?;
        parse_time(std::str::from_utf8(&rest[..end]).ok()?)
    });
    let Some(units) = after(page, UNITS) else { return Ok(()) };
    let mut list = serde_json::Deserializer::from_slice(units).into_iter::<Vec<Unit>>();
    let list = match list.next() {
        Some(Ok(list)) => list,
        Some(Err(error)) => return Err(READER.malformed(error)),
        None => return Ok(()),
    };
    for unit in list {
        let name = format!("{} {}", unit.name, unit.target.replace('"', "").trim());
        let start = nanoseconds(unit.start).unwrap_or(0);
        let start = began.map_or(Start::Offset(start), |began| Start::At(began.saturating_add(start)));
        parts.add(None, Role::Step, &name, start, Some(nanoseconds(unit.duration).unwrap_or(0)))?;
    }
    Ok(())
}

/// The bytes after the first occurrence.
fn after<'a>(page: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let at = page.windows(wanted.len()).position(|window| window == wanted)?;
    page.get(at + wanted.len()..)
}
