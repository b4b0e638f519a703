//! Durations as people write them in a policy file or a flag: `500ms`, `2s`, `10m`, `1h`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// `500ms`, `2s`, `10m`, `1h`, or a bare number of seconds.
///
/// # Errors
/// A sentence that says how to write it.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("`{text}` is not a duration: write 500ms, 2s, 10m or 1h")),
    };
    number
        .parse::<f64>()
        .ok()
        .and_then(|n| Duration::try_from_secs_f64(n * scale).ok())
        .ok_or_else(|| format!("`{text}` is not a duration: write 500ms, 2s, 10m or 1h"))
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Seconds(f64),
}

impl Written {
    fn read(self) -> Result<Duration, String> {
        match self {
            Self::Text(text) => parse(&text),
            Self::Seconds(seconds) => {
                Duration::try_from_secs_f64(seconds).map_err(|_| format!("`{seconds}` is not a duration"))
            }
        }
    }
}

/// Writes a duration as text, for serde's `with`.
pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}s", value.as_secs_f64()))
}

/// Reads a duration from text or a number of seconds, for serde's `with`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Written::deserialize(deserializer)?.read().map_err(serde::de::Error::custom)
}

/// The same for a duration that may be absent.
pub mod optional {
    use super::{Deserialize, Deserializer, Duration, Serializer, Written};

    /// Writes a duration as text, or nothing.
    pub fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a duration, or nothing.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Option::<Written>::deserialize(deserializer)?
            .map(Written::read)
            .transpose()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write_and_says_what_it_expects() {
        for (text, milliseconds) in
            [("500ms", 500), ("2s", 2_000), ("10m", 600_000), ("1.5 h", 5_400_000), ("7", 7_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for wrong in ["", "s", "2 weeks", "-1s", "1e999h", "1.2.3s"] {
            assert!(parse(wrong).is_err_and(|e| e.contains("not a duration")), "{wrong}");
        }
    }
}
