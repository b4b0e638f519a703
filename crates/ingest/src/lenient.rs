//! Reads JSON numbers, scalar values and ids as real producers write them: integers as strings or
//! doubles, ids without their leading zeros. Shared by the JSON formats.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use pacegate_engine::model::ids::{IdError, SpanId, TraceId};
use pacegate_engine::model::span::{AttributeValue, SpanStatus};

/// Reads an integer written as a number, as a string, or as a name that `named` knows.
struct Number {
    named: fn(&str) -> Option<i128>,
}

impl Visitor<'_> for Number {
    type Value = i128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer")
    }

    fn visit_unit<E>(self) -> Result<i128, E> {
        Ok(0)
    }

    fn visit_i64<E>(self, number: i64) -> Result<i128, E> {
        Ok(i128::from(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<i128, E> {
        Ok(i128::from(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<i128, E> {
        // Some producers write 1795343460630292200 as 1.7953434606302922e18.
        #[expect(clippy::cast_possible_truncation, reason = "saturates; the fraction is not wanted")]
        Ok(number as i128)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<i128, E> {
        let text = text.trim();
        (self.named)(text)
            .or_else(|| if text.is_empty() { Some(0) } else { text.parse().ok() })
            .ok_or_else(|| E::custom("an integer is expected"))
    }
}

fn in_64_bits<E: Error>(number: i128) -> Result<i64, E> {
    i64::try_from(number)
        .or_else(|_| u64::try_from(number).map(u64::cast_signed))
        .map_err(|_| E::custom("an integer of at most 64 bits is expected"))
}

/// A 64-bit integer, written as a number or a string. Unsigned values keep their bits.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Integer(pub(super) i64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        in_64_bits(deserializer.deserialize_any(Number { named: |_| None })?).map(Self)
    }
}

/// The number of an enumeration value. OTLP's names are accepted too: its specification forbids
/// them, but some producers send them.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Enumerated(pub(super) i64);

impl<'de> Deserialize<'de> for Enumerated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let named = |name: &str| match name {
            "SPAN_KIND_UNSPECIFIED" | "STATUS_CODE_UNSET" => Some(0),
            "SPAN_KIND_INTERNAL" | "STATUS_CODE_OK" => Some(1),
            "SPAN_KIND_SERVER" | "STATUS_CODE_ERROR" => Some(2),
            "SPAN_KIND_CLIENT" => Some(3),
            "SPAN_KIND_PRODUCER" => Some(4),
            "SPAN_KIND_CONSUMER" => Some(5),
            _ => None,
        };
        in_64_bits(deserializer.deserialize_any(Number { named })?).map(Self)
    }
}

/// Microseconds on the wire, nanoseconds here. Values outside of 64 bits saturate.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Micros {
    pub(super) ns: i64,
}

impl<'de> Deserialize<'de> for Micros {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let us = deserializer.deserialize_any(Number { named: |_| None })?;
        let ns = us.saturating_mul(1_000).clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        Ok(Self { ns: i64::try_from(ns).unwrap_or(i64::MAX) })
    }
}

/// A double, written as a number or as protobuf's string `NaN`, `Infinity` or `-Infinity`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Double(pub(super) f64);

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(f64),
            Text(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Number(number) => Ok(Self(number)),
            Either::Text(text) => text.parse().map(Self).map_err(|_| Error::custom("a number is expected")),
        }
    }
}

/// A string, number or boolean. Lists and objects become empty.
#[derive(Debug)]
pub(super) struct Scalar(pub(super) AttributeValue);

impl Default for Scalar {
    fn default() -> Self {
        Self(AttributeValue::Empty)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = AttributeValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<AttributeValue, E> {
                Ok(AttributeValue::Empty)
            }

            fn visit_bool<E>(self, value: bool) -> Result<AttributeValue, E> {
                Ok(AttributeValue::Bool(value))
            }

            fn visit_i64<E>(self, number: i64) -> Result<AttributeValue, E> {
                Ok(AttributeValue::Int(number))
            }

            fn visit_u64<E>(self, number: u64) -> Result<AttributeValue, E> {
                Ok(AttributeValue::Int(number.cast_signed()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<AttributeValue, E> {
                Ok(AttributeValue::Double(number))
            }

            fn visit_str<E>(self, text: &str) -> Result<AttributeValue, E> {
                Ok(AttributeValue::String(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<AttributeValue, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(AttributeValue::Empty)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AttributeValue, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(AttributeValue::Empty)
            }
        }
        deserializer.deserialize_any(Any).map(Self)
    }
}

/// A trace id whose leading zeros may be missing: Zipkin and Jaeger allow 64-bit ids.
pub(super) fn trace_id(text: &str) -> Result<TraceId, IdError> {
    if text.is_empty() { text.parse() } else { format!("{text:0>32}").parse() }
}

/// A span id whose leading zeros may be missing.
pub(super) fn span_id(text: &str) -> Result<SpanId, IdError> {
    if text.is_empty() { text.parse() } else { format!("{text:0>16}").parse() }
}

/// The status in a tag `error`. Any text but `false` is a failure; a text other than `true` is its
/// description.
pub(super) fn error_tag(text: &str) -> Option<SpanStatus> {
    match text.trim() {
        "" => None,
        text if text.eq_ignore_ascii_case("false") => None,
        text if text.eq_ignore_ascii_case("true") => Some(SpanStatus::Error(String::new())),
        text => Some(SpanStatus::Error(text.to_owned())),
    }
}

/// The status in the tag `otel.status_code` that OpenTelemetry's exporters write.
pub(super) fn status_code_tag(code: &str, description: Option<String>) -> Option<SpanStatus> {
    match code {
        "ERROR" => Some(SpanStatus::Error(description.unwrap_or_default())),
        "OK" => Some(SpanStatus::Ok),
        _ => None,
    }
}
