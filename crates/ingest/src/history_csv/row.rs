//! Finds the columns of a history and checks the values of one row. Errors say why a row is bad; the
//! caller adds the line.

use csv::StringRecord;

use super::{CsvError, CsvLimits};
use pacegate_engine::model::run::RunResult;
use pacegate_engine::model::stage::CacheState;
use pacegate_engine::model::time::Timestamp;

/// Longest duration of a stage, seconds (three years). The nanoseconds of many such stages still
/// fit in 64 bits.
const LONGEST_S: f64 = 1e8;

/// Listed in every error about a column.
pub(super) const COLUMNS: &str =
    "run, started_at, stage, duration_s and, if you have them, result, runner, cache";

/// The index of each column.
pub(super) struct Columns {
    pub(super) run: usize,
    started_at: usize,
    stage: usize,
    duration_s: usize,
    result: Option<usize>,
    runner: Option<usize>,
    cache: Option<usize>,
}

impl Columns {
    pub(super) fn of(header: &StringRecord) -> Result<Self, CsvError> {
        let find = |column: &'static str| {
            let mut indexes = header.iter().enumerate().filter(|(_, name)| *name == column).map(|(i, _)| i);
            match (indexes.next(), indexes.next()) {
                (_, Some(_)) => Err(CsvError::RepeatedColumn { column }),
                (index, None) => Ok(index),
            }
        };
        let required = |column: &'static str| find(column)?.ok_or(CsvError::MissingColumn { column });
        Ok(Self {
            run: required("run")?,
            started_at: required("started_at")?,
            stage: required("stage")?,
            duration_s: required("duration_s")?,
            result: find("result")?,
            runner: find("runner")?,
            cache: find("cache")?,
        })
    }
}

/// The valid values of one row: a stage in a run.
pub(super) struct StageRow {
    pub(super) started_at: Timestamp,
    pub(super) path: Vec<String>,
    pub(super) duration_ns: i64,
    pub(super) result: RunResult,
    pub(super) cache: Option<CacheState>,
}

/// Converts an error of the CSV parser.
pub(super) fn csv_error(error: &csv::Error) -> CsvError {
    let line = error.position().map_or(1, csv::Position::line);
    let reason = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} columns, where the header has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
        _ => error.to_string(),
    };
    CsvError::Row { line, reason }
}

/// The text of a required column.
pub(super) fn field<'a>(
    record: &'a StringRecord,
    at: usize,
    column: &str,
    limits: CsvLimits,
) -> Result<&'a str, String> {
    let text = record.get(at).unwrap_or_default();
    if text.is_empty() {
        return Err(format!("`{column}` is empty"));
    }
    if text.len() > limits.name_bytes {
        return Err(format!("`{column}` is longer than {} bytes", limits.name_bytes));
    }
    Ok(text)
}

/// The text of an optional column, empty when the file does not have it.
fn optional(record: &StringRecord, at: Option<usize>) -> &str {
    at.and_then(|at| record.get(at)).unwrap_or_default()
}

/// Reads the values of a row, except for the run's name.
pub(super) fn read_row(
    record: &StringRecord,
    columns: &Columns,
    limits: CsvLimits,
) -> Result<StageRow, String> {
    let started_at = field(record, columns.started_at, "started_at", limits)?;
    let stage = field(record, columns.stage, "stage", limits)?;
    let duration = field(record, columns.duration_s, "duration_s", limits)?;
    let path: Vec<String> = stage.split(" / ").map(|part| part.trim().to_owned()).collect();
    if path.iter().any(String::is_empty) {
        return Err(format!("the stage `{stage}` has an empty part"));
    }
    let result = match optional(record, columns.result) {
        "" => RunResult::Success,
        text => RunResult::parse(text).ok_or_else(|| {
            format!(
                "`result` is `{}`; success, failure, error, timeout, cancellation or skip is expected",
                shortened(text)
            )
        })?,
    };
    let cache = match optional(record, columns.cache) {
        "" => None,
        "hit" => Some(CacheState::Hit),
        "miss" => Some(CacheState::Miss),
        other => {
            return Err(format!("`cache` is `{}`; hit, miss or nothing is expected", shortened(other)));
        }
    };
    // Public histories write the machine's processor here, which changes between runs on one kind
    // of runner. Used as a label, it would split the history into parts that can't be compared. The
    // model estimates the machine's speed without it. So the column is bounded and ignored.
    if optional(record, columns.runner).len() > limits.name_bytes {
        return Err(format!("`runner` is longer than {} bytes", limits.name_bytes));
    }
    Ok(StageRow {
        started_at: Timestamp::parse_rfc3339(started_at).ok_or_else(|| {
            format!(
                "`started_at` is `{}`; a time such as 2026-01-31T09:30:00Z is expected",
                shortened(started_at)
            )
        })?,
        duration_ns: nanoseconds(duration)?,
        path,
        result,
        cache,
    })
}

fn nanoseconds(text: &str) -> Result<i64, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| format!("`duration_s` is `{}`; a number of seconds is expected", shortened(text)))?;
    if !seconds.is_finite() || !(0.0..=LONGEST_S).contains(&seconds) {
        return Err(format!(
            "`duration_s` is `{}`; 0 to {LONGEST_S:e} seconds are expected",
            shortened(text)
        ));
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most 1e17")]
    let nanoseconds = (seconds * 1e9).round() as i64;
    Ok(nanoseconds)
}

/// The beginning of a value, for error texts.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}
