//! One row of a history: which column is where, and what a good value is. Every error is told
//! in words; the line is added by who reads the file.

use csv::StringRecord;

use super::{CsvError, CsvLimits};
use pacegate_engine::model::run::RunResult;
use pacegate_engine::model::stage::CacheState;
use pacegate_engine::model::time::Timestamp;

/// No stage takes longer, seconds (three years); the sum of many still is a number of
/// nanoseconds.
const LONGEST_S: f64 = 1e8;

/// Told with every error about a column.
pub(super) const COLUMNS: &str =
    "run, started_at, stage, duration_s and, if you have them, result, runner, cache";

/// Where each column is.
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
            let mut places = header.iter().enumerate().filter(|(_, name)| *name == column).map(|(i, _)| i);
            match (places.next(), places.next()) {
                (_, Some(_)) => Err(CsvError::RepeatedColumn { column }),
                (place, None) => Ok(place),
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

/// A row whose values are good.
pub(super) struct Row {
    pub(super) started_at: Timestamp,
    pub(super) path: Vec<String>,
    pub(super) duration_ns: i64,
    pub(super) result: RunResult,
    pub(super) cache: Option<CacheState>,
}

/// What the reader of rows itself could not take, with its line.
pub(super) fn broken(error: &csv::Error) -> CsvError {
    let line = error.position().map_or(1, csv::Position::line);
    let what = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} columns, where the header has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
        _ => error.to_string(),
    };
    CsvError::Row { line, what }
}

/// A name that has to be there.
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

/// An optional column: nothing when the file has none.
fn optional(record: &StringRecord, at: Option<usize>) -> &str {
    at.and_then(|at| record.get(at)).unwrap_or_default()
}

/// The values of a row, all but the run's name.
pub(super) fn row(record: &StringRecord, columns: &Columns, limits: CsvLimits) -> Result<Row, String> {
    let started_at = field(record, columns.started_at, "started_at", limits)?;
    let stage = field(record, columns.stage, "stage", limits)?;
    let duration = field(record, columns.duration_s, "duration_s", limits)?;
    let path: Vec<String> = stage.split(" / ").map(|part| part.trim().to_owned()).collect();
    if path.iter().any(String::is_empty) {
        return Err(format!("the stage `{stage}` has an empty part"));
    }
    let result = match optional(record, columns.result) {
        "" => RunResult::Success,
        word => RunResult::parse(word).ok_or_else(|| {
            format!(
                "`result` is `{}`; success, failure, error, timeout, cancellation or skip is expected",
                shortened(word)
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
    // Public histories write the machine's processor here, which changes from run to run within
    // one kind of runner: as a label it would cut the history into pieces that can't be compared,
    // and the model finds the machine's speed by itself. So it is bounded and left.
    if optional(record, columns.runner).len() > limits.name_bytes {
        return Err(format!("`runner` is longer than {} bytes", limits.name_bytes));
    }
    Ok(Row {
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

/// Of a value that is told back.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}
