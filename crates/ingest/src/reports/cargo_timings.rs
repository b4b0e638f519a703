//! The page that `cargo build --timings` writes: the units of the build stand in it as JSON.

use serde::Deserialize;

use super::ReportError;
use super::part::{Parts, Role, Start, moment_of, nanoseconds};

const FORMAT: &str = "cargo's --timings";
/// Stands before the list in the page.
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

/// Where the list of units begins; none in any other page.
pub(super) fn units(page: &[u8]) -> Option<usize> {
    find(page, UNITS)
}

/// Reads the list that begins there. A unit's version is not in its name: an update must not
/// make a new stage of it.
pub(super) fn read(page: &[u8], units: usize, parts: &mut Parts) -> Result<&'static str, ReportError> {
    let began = find(page, BUILD_START).and_then(|at| {
        let rest = &page[at..];
        let end = rest.iter().position(|byte| *byte == b'<')?;
        moment_of(std::str::from_utf8(&rest[..end]).ok()?)
    });
    let mut list = serde_json::Deserializer::from_slice(&page[units..]).into_iter::<Vec<Unit>>();
    let list = match list.next() {
        Some(Ok(list)) => list,
        Some(Err(error)) => {
            return Err(ReportError::Malformed { format: FORMAT, reason: error.to_string() });
        }
        None => return Ok(FORMAT),
    };
    for unit in list {
        let name = format!("{} {}", unit.name, unit.target.replace('"', "").trim());
        let start = nanoseconds(unit.start).unwrap_or(0);
        let start = began.map_or(Start::Offset(start), |began| Start::At(began.saturating_add(start)));
        parts.add(None, Role::Step, &name, start, Some(nanoseconds(unit.duration).unwrap_or(0)))?;
    }
    Ok(FORMAT)
}

/// The place behind the first occurrence.
fn find(page: &[u8], wanted: &[u8]) -> Option<usize> {
    page.windows(wanted.len()).position(|window| window == wanted).map(|at| at + wanted.len())
}
