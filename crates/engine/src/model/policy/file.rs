//! The policy file's format: the types of the reader and of the JSON Schema. Doc comments here are the
//! schema's descriptions. The limits here are for editors only: `read` enforces them.

use std::fmt;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::placed::Placed;
use super::{Alias, CommentRule, Mode};

/// How Pacegate judges this repository's pull requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Pacegate's policy", inline)]
pub(super) struct PolicyFile {
    /// Version of this file's format.
    #[schemars(range(min = 1, max = 1))]
    pub version: Placed<u32>,
    /// Whether a confirmed regression fails the check (`gate`) or is only reported (`advisory`).
    pub mode: Mode,
    /// The history that a pull request is compared with.
    pub baseline: BaselineFile,
    /// Settings for every stage without a rule.
    pub defaults: FloorsFile,
    /// Rules for some stages. The first that matches wins.
    #[schemars(length(max = 500))]
    pub stages: Placed<Vec<StageRuleFile>>,
    /// Stages that were renamed and keep their history.
    #[schemars(length(max = 500))]
    pub aliases: Placed<Vec<Alias>>,
    /// Rules for new errors.
    pub errors: ErrorsFile,
    /// How a suspected regression is confirmed.
    pub confirm: ConfirmFile,
    /// When there is a comment on the pull request: only with findings, always, or never.
    pub comment: CommentRule,
}

impl Default for PolicyFile {
    fn default() -> Self {
        Self {
            version: Placed::unwritten(1),
            mode: Mode::default(),
            baseline: BaselineFile::default(),
            defaults: FloorsFile::default(),
            stages: Placed::default(),
            aliases: Placed::default(),
            errors: ErrorsFile::default(),
            confirm: ConfirmFile::default(),
            comment: CommentRule::default(),
        }
    }
}

/// The history that a pull request is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub(super) struct BaselineFile {
    /// Largest number of runs of the base branch. The newest are used.
    #[schemars(range(min = 1))]
    pub runs: Placed<u32>,
    /// Largest age of a run, in days.
    #[schemars(range(min = 1))]
    pub days: Placed<u32>,
}

impl Default for BaselineFile {
    fn default() -> Self {
        Self { runs: Placed::unwritten(200), days: Placed::unwritten(90) }
    }
}

/// Two lower limits. A slowdown below either is never reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub(super) struct FloorsFile {
    /// Smallest ratio to the usual duration.
    #[schemars(range(min = 1.0))]
    pub min_ratio: Placed<f64>,
    /// Smallest increase over the usual duration.
    pub min_increase: Placed<Written>,
}

impl Default for FloorsFile {
    fn default() -> Self {
        let min_increase = Placed::unwritten(Written::Text("2s".to_owned()));
        Self { min_ratio: Placed::unwritten(1.10), min_increase }
    }
}

/// A rule for the stages that a pattern matches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct StageRuleFile {
    /// Glob over `workflow / job / step / span`: `*` within a part, `**` over parts.
    #[serde(rename = "match")]
    #[schemars(length(max = 1000))]
    pub pattern: Placed<String>,
    /// These stages never get a verdict.
    #[serde(default)]
    pub ignore: bool,
    /// Replaces the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1.0))]
    pub min_ratio: Option<Placed<f64>>,
    /// Replaces the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_increase: Option<Placed<Written>>,
    /// A longer duration is a finding, even when it is usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Placed<Written>>,
}

/// Rules for new errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub(super) struct ErrorsFile {
    /// A confirmed new error counts like a confirmed regression.
    pub gate: bool,
    /// Errors whose message contains one of these are not reported.
    pub ignore: Vec<String>,
}

impl Default for ErrorsFile {
    fn default() -> Self {
        Self { gate: true, ignore: Vec::new() }
    }
}

/// How a suspected regression is confirmed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub(super) struct ConfirmFile {
    /// Number of runs of the change that must agree.
    #[schemars(range(min = 2, max = 8))]
    pub samples: Placed<u32>,
    /// Whether the App may rerun a job with a suspected regression once to get one more sample.
    pub rerun: bool,
    /// Largest number of jobs of the repository that are rerun within a day.
    #[schemars(range(max = 1000))]
    pub reruns_a_day: Placed<u32>,
}

impl Default for ConfirmFile {
    fn default() -> Self {
        Self { samples: Placed::unwritten(2), rerun: false, reruns_a_day: Placed::unwritten(20) }
    }
}

/// A duration as written in the file: `500ms`, `2s`, `10m`, `1h`, or a number of seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Written {
    Text(String),
    Seconds(f64),
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfWritten;
        impl Visitor<'_> for OfWritten {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 500ms, 2s, 10m or 1h")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Written, E> {
                Ok(Written::Text(text.to_owned()))
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Written, E> {
                Ok(Written::Seconds(seconds))
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Written, E> {
                Ok(Written::Text(seconds.to_string()))
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Written, E> {
                Ok(Written::Text(seconds.to_string()))
            }
        }
        deserializer.deserialize_any(OfWritten)
    }
}

impl JsonSchema for Written {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "pattern": r"^\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*(ms|s|m|h)?\s*$" },
                { "type": "number", "minimum": 0 },
            ],
            "examples": ["500ms", "2s", "10m", "1h"],
        })
    }
}

/// The JSON Schema (draft 2020-12) of the policy file.
#[must_use]
pub fn schema() -> serde_json::Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let schema = generator.into_root_schema_for::<PolicyFile>();
    schema.to_value()
}
