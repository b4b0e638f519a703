//! The shape of OTLP's JSON message, read tolerantly: `null` for a list, integers as numbers
//! or texts, lists cut at their limits while they are read. And the same message counted
//! without being kept.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

use crate::ingest::{ATTRIBUTES_READ, EVENTS_READ};

/// A list of which only the first `N` elements are kept; `null` is an empty list.
#[derive(Debug)]
pub(super) struct Bounded<T, const N: usize> {
    pub(super) kept: Vec<T>,
}

impl<T, const N: usize> Default for Bounded<T, N> {
    fn default() -> Self {
        Self { kept: Vec::new() }
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Bounded<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T, const N: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Elements<T, N> {
            type Value = Bounded<T, N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Bounded::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut bounded = Bounded::default();
                while bounded.kept.len() < N {
                    match list.next_element()? {
                        Some(element) => bounded.kept.push(element),
                        None => return Ok(bounded),
                    }
                }
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(bounded)
            }
        }
        deserializer.deserialize_any(Elements(PhantomData))
    }
}

/// A 64-bit integer, written as a number or as text; unsigned ones keep their bits.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Integer(pub(super) i64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Integer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer")
            }

            fn visit_unit<E>(self) -> Result<Integer, E> {
                Ok(Integer(0))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Integer, E> {
                Ok(Integer(number))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Integer, E> {
                Ok(Integer(number.cast_signed()))
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Integer, E> {
                // JSON of some producers writes 1795343460630292200 as 1.7953434606302922e18.
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "the range is checked, the fraction is not wanted"
                )]
                if (-9.2e18..=9.2e18).contains(&number) {
                    Ok(Integer(number as i64))
                } else {
                    Err(E::custom("an integer of at most 64 bits is expected"))
                }
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Integer, E> {
                let text = text.trim();
                // Names of enumerations, which the specification forbids and some send anyway.
                let named = match text {
                    "SPAN_KIND_INTERNAL" | "STATUS_CODE_OK" => Some(1),
                    "SPAN_KIND_SERVER" | "STATUS_CODE_ERROR" => Some(2),
                    "SPAN_KIND_CLIENT" => Some(3),
                    "SPAN_KIND_PRODUCER" => Some(4),
                    "SPAN_KIND_CONSUMER" => Some(5),
                    "" | "SPAN_KIND_UNSPECIFIED" | "STATUS_CODE_UNSET" => Some(0),
                    _ => None,
                };
                named
                    .or_else(|| text.parse::<i64>().ok())
                    .or_else(|| text.parse::<u64>().ok().map(u64::cast_signed))
                    .map(Integer)
                    .ok_or_else(|| E::custom("an integer is expected"))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

/// A double, written as a number or as one of protobuf's texts `NaN`, `Infinity`, `-Infinity`.
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
            Either::Text(text) => {
                text.parse().map(Self).map_err(|_| serde::de::Error::custom("a number is expected"))
            }
        }
    }
}

/// A list, or `null`. Bounded by the count that goes before.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

/// The sum over a list's elements: counts without keeping.
pub(super) struct Sum<T>(pub(super) usize, PhantomData<T>);

impl<T> Default for Sum<T> {
    fn default() -> Self {
        Self(0, PhantomData)
    }
}

impl<'de, T: Deserialize<'de> + Into<usize>> Deserialize<'de> for Sum<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Into<usize>> Visitor<'de> for Elements<T> {
            type Value = Sum<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Sum(0, PhantomData))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut sum = 0;
                while let Some(element) = list.next_element::<T>()? {
                    sum += element.into();
                }
                Ok(Sum(sum, PhantomData))
            }
        }
        deserializer.deserialize_any(Elements(PhantomData))
    }
}

#[derive(Deserialize)]
pub(super) struct CountSpan {}

impl From<CountSpan> for usize {
    fn from(_: CountSpan) -> Self {
        1
    }
}

#[derive(Deserialize)]
pub(super) struct CountScope {
    #[serde(default)]
    pub(super) spans: Sum<CountSpan>,
}

impl From<CountScope> for usize {
    fn from(scope: CountScope) -> Self {
        scope.spans.0
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CountResource {
    #[serde(default)]
    pub(super) scope_spans: Sum<CountScope>,
}

impl From<CountResource> for usize {
    fn from(resource: CountResource) -> Self {
        resource.scope_spans.0
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CountRequest {
    #[serde(default)]
    pub(super) resource_spans: Sum<CountResource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    #[serde(default, deserialize_with = "list")]
    pub(super) resource_spans: Vec<ResourceSpans>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceSpans {
    pub(super) resource: Option<WireResource>,
    #[serde(default, deserialize_with = "list")]
    pub(super) scope_spans: Vec<ScopeSpans>,
}

#[derive(Deserialize, Default)]
pub(super) struct WireResource {
    #[serde(default)]
    pub(super) attributes: Bounded<KeyValue, ATTRIBUTES_READ>,
}

#[derive(Deserialize)]
pub(super) struct ScopeSpans {
    #[serde(default, deserialize_with = "list")]
    pub(super) spans: Vec<WireSpan>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireSpan {
    pub(super) trace_id: Option<String>,
    pub(super) span_id: Option<String>,
    pub(super) parent_span_id: Option<String>,
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) kind: Integer,
    #[serde(default)]
    pub(super) start_time_unix_nano: Integer,
    #[serde(default)]
    pub(super) end_time_unix_nano: Integer,
    #[serde(default)]
    pub(super) attributes: Bounded<KeyValue, ATTRIBUTES_READ>,
    #[serde(default)]
    pub(super) events: Bounded<WireEvent, EVENTS_READ>,
    #[serde(default)]
    pub(super) links: Bounded<WireLink, EVENTS_READ>,
    pub(super) status: Option<WireStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireEvent {
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) time_unix_nano: Integer,
    #[serde(default)]
    pub(super) attributes: Bounded<KeyValue, ATTRIBUTES_READ>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireLink {
    pub(super) trace_id: Option<String>,
    pub(super) span_id: Option<String>,
    #[serde(default)]
    pub(super) attributes: Bounded<KeyValue, ATTRIBUTES_READ>,
}

#[derive(Deserialize, Default)]
pub(super) struct WireStatus {
    pub(super) message: Option<String>,
    #[serde(default)]
    pub(super) code: Integer,
}

#[derive(Deserialize)]
pub(super) struct KeyValue {
    pub(super) key: Option<String>,
    pub(super) value: Option<AnyValue>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct AnyValue {
    pub(super) string_value: Option<String>,
    pub(super) bool_value: Option<bool>,
    pub(super) int_value: Option<Integer>,
    pub(super) double_value: Option<Double>,
    pub(super) array_value: Option<ArrayValue>,
    pub(super) kvlist_value: Option<KeyValueList>,
    pub(super) bytes_value: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ArrayValue {
    #[serde(default)]
    pub(super) values: Bounded<AnyValue, ATTRIBUTES_READ>,
}

#[derive(Deserialize)]
pub(super) struct KeyValueList {
    #[serde(default)]
    pub(super) values: Bounded<KeyValue, ATTRIBUTES_READ>,
}
