//! The manifest: the action's description of the job, its runner and the files beside it. All of it
//! is an unverified claim of the sender. Texts are cut, lists are bounded, unknown fields are
//! ignored.

use std::fmt::Formatter;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use super::error::cut;
use super::{ArchiveError, REPORTS_FILE, SPANS_FILE};
use crate::lenient::Integer;
use pacegate_engine::model::ids::{SpanId, TraceId};
use pacegate_engine::model::span::AttributeValue;
use pacegate_engine::model::stage::CacheState;

/// Characters kept of a text.
const TEXT: usize = 500;
/// Entries kept of a list or an object.
const ENTRIES: usize = 64;
const SCHEMA: i64 = 1;

/// Numbers are GitHub's. Times are nanoseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(expecting = "an object as the action writes it")]
pub struct Manifest {
    #[serde(deserialize_with = "integer")]
    schema: i64,
    /// `OWNER/NAME`.
    #[serde(deserialize_with = "text")]
    pub repository: String,
    #[serde(deserialize_with = "integer")]
    pub repository_id: i64,
    #[serde(deserialize_with = "integer")]
    pub run_id: i64,
    /// From 1.
    #[serde(deserialize_with = "integer")]
    pub run_attempt: i64,
    /// The job's key in the workflow file.
    #[serde(deserialize_with = "text")]
    pub job: String,
    /// The job's number in GitHub's API. Old GitHub Enterprise Servers do not provide it.
    #[serde(default, deserialize_with = "optional_integer")]
    pub check_run_id: Option<i64>,
    /// `GITHUB_SHA`: for a pull request its merge commit, not its head.
    #[serde(deserialize_with = "text")]
    pub head_sha: String,
    #[serde(default, deserialize_with = "text")]
    pub workflow: String,
    /// `refs/heads/…`, `refs/pull/…`.
    #[serde(default, rename = "ref", deserialize_with = "text")]
    pub git_ref: String,
    /// The trace id that the steps received.
    pub trace_id: TraceId,
    /// The parent span id that the steps received.
    pub job_span_id: SpanId,
    #[serde(default, deserialize_with = "text")]
    pub runner_name: String,
    /// In the workflow's order, because GitHub's name of the job has the values in this order.
    #[serde(default, deserialize_with = "entries")]
    matrix: Vec<(String, Value)>,
    /// The service name for the spans of reports.
    #[serde(default, deserialize_with = "optional_text")]
    pub service_name: Option<String>,
    /// When the action began.
    #[serde(deserialize_with = "integer")]
    pub started_at_unix_nano: i64,
    /// When the action packed the archive.
    #[serde(deserialize_with = "integer")]
    pub ended_at_unix_nano: i64,
    /// Facts about the runner, named as in OpenTelemetry's conventions.
    #[serde(default, deserialize_with = "object")]
    runner: Vec<(String, Value)>,
    #[serde(default, deserialize_with = "object")]
    caches: Vec<(String, Value)>,
    #[serde(default)]
    pub calibration: Option<Calibration>,
    #[serde(deserialize_with = "few")]
    files: Vec<FileEntry>,
    #[serde(default)]
    pub(super) dropped: LeftOut,
}

/// The durations of two fixed pieces of work on the runner, as a measure of its speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Calibration {
    /// Arithmetic.
    #[serde(deserialize_with = "integer")]
    pub integer_ns: i64,
    /// Reading and writing of memory.
    #[serde(deserialize_with = "integer")]
    pub memory_ns: i64,
}

/// A file beside the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct FileEntry {
    #[serde(deserialize_with = "text")]
    pub name: String,
    /// Hexadecimal.
    #[serde(deserialize_with = "text")]
    pub sha256: String,
    /// Compressed size.
    #[serde(deserialize_with = "integer")]
    pub bytes: i64,
    /// `None` if the sender does not state it.
    #[serde(default, deserialize_with = "optional_integer")]
    pub inflated_bytes: Option<i64>,
}

/// Data that the action left out because it was too large or unreadable.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub(super) struct LeftOut {
    #[serde(default, deserialize_with = "integer")]
    pub spans: i64,
    /// Size of these spans.
    #[serde(default, deserialize_with = "integer")]
    pub bytes: i64,
    /// Each with the reason.
    #[serde(default, deserialize_with = "few_texts")]
    pub reports: Vec<String>,
}

/// The values that a manifest must have, from GitHub's API or a verified grant. `None` is unknown
/// and not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected<'a> {
    pub repository_id: Option<i64>,
    pub run_id: i64,
    pub run_attempt: i64,
    pub check_run_id: Option<i64>,
    /// `GITHUB_SHA`. For a pull request this is not the head in GitHub's API.
    pub head_sha: Option<&'a str>,
    pub trace_id: TraceId,
}

impl Manifest {
    pub(super) fn read(json: &[u8]) -> Result<Self, ArchiveError> {
        let read: Self =
            serde_json::from_slice(json).map_err(|e| ArchiveError::Manifest(cut(&e.to_string())))?;
        read.checked()
    }

    /// Checks the schema and the list of files.
    pub(super) fn checked(self) -> Result<Self, ArchiveError> {
        if self.schema != SCHEMA {
            return Err(ArchiveError::Schema(self.schema));
        }
        for entry in &self.files {
            if ![SPANS_FILE, REPORTS_FILE].contains(&entry.name.as_str()) {
                return Err(ArchiveError::UnknownFile(cut(&entry.name)));
            }
        }
        for name in [SPANS_FILE, REPORTS_FILE] {
            if self.files.iter().filter(|entry| entry.name == name).count() > 1 {
                return Err(ArchiveError::Twice(name));
            }
        }
        Ok(self)
    }

    pub(super) fn file(&self, name: &str) -> Option<&FileEntry> {
        self.files.iter().find(|entry| entry.name == name)
    }

    /// A sentence about the first value that differs from the expected one.
    #[must_use]
    pub fn contradiction(&self, expected: &Expected<'_>) -> Option<String> {
        let differs = |what: &str, stated: &str, known: &str| {
            (stated != known).then(|| format!("it names {what} {:?}, but belongs to {known}", cut(stated)))
        };
        let numbers = |what: &str, stated: i64, known: Option<i64>| {
            differs(what, &stated.to_string(), &known.unwrap_or(stated).to_string())
        };
        numbers("repository", self.repository_id, expected.repository_id)
            .or_else(|| numbers("run", self.run_id, Some(expected.run_id)))
            .or_else(|| numbers("attempt", self.run_attempt, Some(expected.run_attempt)))
            .or_else(|| {
                let (stated, known) = self.check_run_id.zip(expected.check_run_id)?;
                numbers("job", stated, Some(known))
            })
            .or_else(|| differs("commit", &self.head_sha, expected.head_sha.unwrap_or(&self.head_sha)))
            .or_else(|| differs("trace", &self.trace_id.to_string(), &expected.trace_id.to_string()))
    }

    /// Facts about the runner as attributes. Only strings, numbers and booleans are kept.
    #[must_use]
    pub fn runner_attributes(&self) -> Vec<(String, AttributeValue)> {
        scalars(&self.runner)
    }

    /// The matrix as attributes, in the workflow's order. Only strings, numbers and booleans are kept.
    #[must_use]
    pub fn matrix_attributes(&self) -> Vec<(String, AttributeValue)> {
        scalars(&self.matrix)
    }

    /// The state of each cache by its name. Unknown states are ignored.
    #[must_use]
    pub fn caches(&self) -> Vec<(String, CacheState)> {
        let state = |value: &Value| CacheState::parse(value.as_str()?);
        self.caches.iter().filter_map(|(name, value)| Some((cut(name), state(value)?))).collect()
    }
}

fn scalars(entries: &[(String, Value)]) -> Vec<(String, AttributeValue)> {
    let scalar = |value: &Value| {
        Some(match value {
            Value::String(text) => AttributeValue::String(shortened(text)),
            Value::Bool(value) => AttributeValue::Bool(*value),
            Value::Number(number) => match number.as_i64() {
                Some(integer) => AttributeValue::Int(integer),
                None => AttributeValue::Double(number.as_f64()?),
            },
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        })
    };
    entries.iter().filter_map(|(key, value)| Some((cut(key), scalar(value)?))).collect()
}

fn shortened(text: &str) -> String {
    text.chars().take(TEXT).collect()
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(shortened(&Option::<String>::deserialize(deserializer)?.unwrap_or_default()))
}

fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?
        .filter(|text| !text.is_empty())
        .map(|text| shortened(&text)))
}

fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let Integer(number) = Integer::deserialize(deserializer)?;
    if number < 0 { Err(D::Error::custom("expected a number that is not negative")) } else { Ok(number) }
}

fn optional_integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(Option::<Integer>::deserialize(deserializer)?
        .map(|Integer(number)| number)
        .filter(|number| *number > 0))
}

/// The entries of an object, or none for `null`. Ignored entries cannot be large, because the manifest's
/// size is limited.
fn entries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, Value)>, D::Error> {
    let Entries(entries) = Option::deserialize(deserializer)?.unwrap_or_default();
    Ok(entries)
}

/// As [`entries`], sorted by key.
fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, Value)>, D::Error> {
    let mut entries = entries(deserializer)?;
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(entries)
}

/// The first [`ENTRIES`] entries of an object in their order. Of entries with the same key the first is
/// kept.
#[derive(Default)]
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self::default())
    }
}

impl<'de> Visitor<'de> for Entries {
    type Value = Self;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            if self.0.len() < ENTRIES && self.0.iter().all(|(known, _)| *known != key) {
                self.0.push((key, value));
            }
        }
        Ok(self)
    }
}

fn few<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let mut list = Vec::<T>::deserialize(deserializer)?;
    list.truncate(ENTRIES);
    Ok(list)
}

fn few_texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(few::<D, String>(deserializer)?.iter().map(|text| shortened(text)).collect())
}
