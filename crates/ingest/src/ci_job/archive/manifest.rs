//! The manifest: what the action says of the job, its runner and the files beside it. Texts are
//! cut, lists are bounded, what is unknown is passed over. All of it is the sender's word.

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

/// Characters kept of a text, and entries of a list.
const TEXT: usize = 500;
const ENTRIES: usize = 64;
const SCHEMA: i64 = 1;

/// What the action says of a job.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(expecting = "an object as the action writes it")]
pub struct Manifest {
    #[serde(deserialize_with = "integer")]
    schema: i64,
    /// `OWNER/NAME`.
    #[serde(deserialize_with = "text")]
    pub repository: String,
    /// GitHub's number of it.
    #[serde(deserialize_with = "integer")]
    pub repository_id: i64,
    /// GitHub's number of the workflow run.
    #[serde(deserialize_with = "integer")]
    pub run_id: i64,
    /// From 1.
    #[serde(deserialize_with = "integer")]
    pub run_attempt: i64,
    /// Its identifier in the workflow file.
    #[serde(deserialize_with = "text")]
    pub job: String,
    /// The number that GitHub's API gives the job; a server that is older doesn't tell.
    #[serde(default, deserialize_with = "optional_integer")]
    pub check_run_id: Option<i64>,
    /// `GITHUB_SHA`: for a pull request the merge of it, which is not its head.
    #[serde(deserialize_with = "text")]
    pub head_sha: String,
    /// The workflow's name.
    #[serde(default, deserialize_with = "text")]
    pub workflow: String,
    /// What started it.
    #[serde(default, deserialize_with = "text")]
    pub event_name: String,
    /// `refs/heads/…`, `refs/pull/…`.
    #[serde(default, rename = "ref", deserialize_with = "text")]
    pub git_ref: String,
    /// The trace that its steps were told.
    pub trace_id: TraceId,
    /// The span that its steps were told as their parent.
    pub job_span_id: SpanId,
    /// The machine's.
    #[serde(default, deserialize_with = "text")]
    pub runner_name: String,
    /// The values of the job's matrix, in the workflow's order: GitHub calls the job by it.
    #[serde(default, deserialize_with = "entries")]
    matrix: Vec<(String, Value)>,
    /// What the job's own service is called.
    #[serde(default, deserialize_with = "optional_text")]
    pub service_name: Option<String>,
    /// When the action began, nanoseconds since the epoch.
    #[serde(deserialize_with = "integer")]
    pub started_at_unix_nano: i64,
    /// When it packed.
    #[serde(deserialize_with = "integer")]
    pub ended_at_unix_nano: i64,
    /// Facts of the runner by OpenTelemetry's names.
    #[serde(default, deserialize_with = "object")]
    runner: Vec<(String, Value)>,
    #[serde(default, deserialize_with = "object")]
    caches: Vec<(String, Value)>,
    /// How fast the processor was.
    #[serde(default)]
    pub calibration: Option<Calibration>,
    /// The files beside it.
    #[serde(deserialize_with = "few")]
    files: Vec<FileEntry>,
    /// What the action left out.
    #[serde(default)]
    pub dropped: LeftOut,
}

/// How long two pieces of work took on the runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Calibration {
    /// Arithmetic, nanoseconds.
    #[serde(deserialize_with = "integer")]
    pub integer_ns: i64,
    /// Reading and writing of memory, nanoseconds.
    #[serde(deserialize_with = "integer")]
    pub memory_ns: i64,
}

/// A file beside the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FileEntry {
    /// One of two.
    #[serde(deserialize_with = "text")]
    pub name: String,
    /// Hexadecimal.
    #[serde(deserialize_with = "text")]
    pub sha256: String,
    /// As it is shipped.
    #[serde(deserialize_with = "integer")]
    pub bytes: i64,
    /// When it is inflated; none where nobody said.
    #[serde(default, deserialize_with = "optional_integer")]
    pub inflated_bytes: Option<i64>,
}

/// What the action left out because it was too much or could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct LeftOut {
    /// Spans.
    #[serde(default, deserialize_with = "integer")]
    pub spans: i64,
    /// Bytes of them.
    #[serde(default, deserialize_with = "integer")]
    pub bytes: i64,
    /// Reports, each with the reason.
    #[serde(default, deserialize_with = "few_texts")]
    pub reports: Vec<String>,
}

/// What a manifest has to agree with, by GitHub's word or a verified grant. None: nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected<'a> {
    /// GitHub's number of the repository.
    pub repository_id: Option<i64>,
    /// GitHub's number of the run.
    pub run_id: i64,
    /// The attempt.
    pub run_attempt: i64,
    /// The job, where it is known which.
    pub check_run_id: Option<i64>,
    /// `GITHUB_SHA`. Not the head that GitHub's API names for a pull request.
    pub head_sha: Option<&'a str>,
    /// The trace of that attempt.
    pub trace_id: TraceId,
}

impl Manifest {
    pub(super) fn read(json: &[u8]) -> Result<Self, ArchiveError> {
        let read: Self =
            serde_json::from_slice(json).map_err(|e| ArchiveError::Manifest(cut(&e.to_string())))?;
        read.checked()
    }

    /// What a reader of fields can't see.
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

    /// What the manifest says of a file.
    pub(super) fn file(&self, name: &str) -> Option<&FileEntry> {
        self.files.iter().find(|entry| entry.name == name)
    }

    /// A sentence if the manifest is of something else than what is known of its sender.
    #[must_use]
    pub fn contradiction(&self, expected: &Expected<'_>) -> Option<String> {
        let differs = |what: &str, said: &str, known: &str| {
            (said != known)
                .then(|| format!("it says that it is of {what} {:?}, but it is of {known}", cut(said)))
        };
        let numbers = |what: &str, said: i64, known: Option<i64>| {
            differs(what, &said.to_string(), &known.unwrap_or(said).to_string())
        };
        numbers("repository", self.repository_id, expected.repository_id)
            .or_else(|| numbers("run", self.run_id, Some(expected.run_id)))
            .or_else(|| numbers("attempt", self.run_attempt, Some(expected.run_attempt)))
            .or_else(|| {
                let (said, known) = self.check_run_id.zip(expected.check_run_id)?;
                numbers("job", said, Some(known))
            })
            .or_else(|| differs("commit", &self.head_sha, expected.head_sha.unwrap_or(&self.head_sha)))
            .or_else(|| differs("trace", &self.trace_id.to_string(), &expected.trace_id.to_string()))
    }

    /// Facts of the runner as attributes: texts, numbers and truths.
    #[must_use]
    pub fn runner_attributes(&self) -> Vec<(String, AttributeValue)> {
        scalars(&self.runner)
    }

    /// The matrix as attributes: texts, numbers and truths.
    #[must_use]
    pub fn matrix_attributes(&self) -> Vec<(String, AttributeValue)> {
        scalars(&self.matrix)
    }

    /// Each cache that was asked, and whether it had what was wanted.
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
            Value::Bool(truth) => AttributeValue::Bool(*truth),
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
    if number < 0 { Err(D::Error::custom("a number that is not negative is expected")) } else { Ok(number) }
}

fn optional_integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(Option::<Integer>::deserialize(deserializer)?
        .map(|Integer(number)| number)
        .filter(|number| *number > 0))
}

/// The manifest's own bound keeps what is passed over small.
fn entries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, Value)>, D::Error> {
    let Entries(entries) = Option::deserialize(deserializer)?.unwrap_or_default();
    Ok(entries)
}

/// The same in an order that does not depend on the writer's.
fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, Value)>, D::Error> {
    let mut entries = entries(deserializer)?;
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(entries)
}

/// An object's first entries as they are written; of two of one key the first.
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
