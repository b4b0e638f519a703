//! A value of the policy file with its line and column, and mistakes in one format:
//! `line 7, column 12: stages[0].min_ratio: …`. It checks no value.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One mistake in a policy file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mistake {
    /// From 1. 0 when it is not known.
    pub line: u32,
    /// From 1, in characters. 0 when it is not known.
    pub column: u32,
    /// The mistake and the expected value, without line and column.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return f.write_str(&self.text);
        }
        write!(f, "line {}, column {}: {}", self.line, self.column, self.text)
    }
}

/// A value with the position at which its text began.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Placed<T> {
    pub value: T,
    line: u32,
    column: u32,
}

impl<T> Placed<T> {
    /// A default that is not in the file.
    pub(super) fn unwritten(value: T) -> Self {
        Self { value, line: 0, column: 0 }
    }

    pub(super) fn mistake(&self, key: &str, expectation: &str) -> Mistake {
        Mistake { line: self.line, column: self.column, text: format!("{key}: {expectation}") }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = serde_saphyr::Spanned::<T>::deserialize(deserializer)?;
        let (line, column) = place(spanned.referenced);
        Ok(Self { value: spanned.value, line, column })
    }
}

impl<T: Serialize> Serialize for Placed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for Placed<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Line and column of a parser's location.
pub(super) fn place(location: serde_saphyr::Location) -> (u32, u32) {
    let bounded = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    (bounded(location.line()), bounded(location.column()))
}
