//! Memory-bounded lists for the JSON formats. A list is cut while it is read, or its elements are
//! counted without being kept.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{IngestError, Limits};

/// Refuses a body that opens more objects and lists than `limits.values`. An empty object takes
/// two bytes here and hundreds in memory. Braces inside strings are counted too, which makes the
/// limit slightly stricter.
pub(super) fn check_values(body: &[u8], limits: Limits) -> Result<(), IngestError> {
    if body.iter().filter(|b| matches!(b, b'{' | b'[')).count() > limits.values {
        return Err(IngestError::TooManyValues { limit: limits.values });
    }
    Ok(())
}

/// Keeps only the first `N` elements of a list; `null` is an empty list.
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

/// An object as a list of its first `N` entries in order, with the number of all entries.
/// `null` is an empty object.
#[derive(Debug)]
pub(super) struct Entries<T, const N: usize> {
    pub(super) kept: Vec<(String, T)>,
    pub(super) total: usize,
}

impl<T, const N: usize> Default for Entries<T, N> {
    fn default() -> Self {
        Self { kept: Vec::new(), total: 0 }
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Entries<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<T, const N: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Pairs<T, N> {
            type Value = Entries<T, N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Entries::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Entries::default();
                while entries.kept.len() < N {
                    match map.next_entry()? {
                        Some(entry) => entries.kept.push(entry),
                        None => break,
                    }
                }
                entries.total = entries.kept.len();
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    entries.total += 1;
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_any(Pairs(PhantomData))
    }
}

/// Receives the elements of a list in order.
pub(super) trait Gather<T>: Default {
    fn take(&mut self, element: T);
}

/// Converts each element of a list as soon as it is read, so that the wire form of the whole list
/// is never in memory. `null` is an empty list.
pub(super) struct Fold<T, G>(pub(super) G, pub(super) PhantomData<T>);

impl<T, G: Default> Default for Fold<T, G> {
    fn default() -> Self {
        Self(G::default(), PhantomData)
    }
}

impl<'de, T: Deserialize<'de>, G: Gather<T>> Deserialize<'de> for Fold<T, G> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T, G>(PhantomData<(T, G)>);
        impl<'de, T: Deserialize<'de>, G: Gather<T>> Visitor<'de> for Elements<T, G> {
            type Value = Fold<T, G>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Fold::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut gathered = G::default();
                while let Some(element) = list.next_element()? {
                    gathered.take(element);
                }
                Ok(Fold(gathered, PhantomData))
            }
        }
        deserializer.deserialize_any(Elements(PhantomData))
    }
}

/// Counts of the spans and values in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) spans: usize,
    pub(super) values: usize,
}

impl Tally {
    pub(super) fn check(self, limits: Limits) -> Result<(), IngestError> {
        if self.spans > limits.spans {
            return Err(IngestError::TooManySpans { limit: limits.spans });
        }
        if self.values > limits.values {
            return Err(IngestError::TooManyValues { limit: limits.values });
        }
        Ok(())
    }
}

/// Sums the tallies of a list's elements without keeping the elements. `null` is an empty list.
pub(super) struct Sum<T>(pub(super) Tally, PhantomData<T>);

impl<T> Default for Sum<T> {
    fn default() -> Self {
        Self(Tally::default(), PhantomData)
    }
}

impl<'de, T: Deserialize<'de> + Into<Tally>> Deserialize<'de> for Sum<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Into<Tally>> Visitor<'de> for Elements<T> {
            type Value = Sum<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Sum::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut sum = Tally::default();
                while let Some(element) = list.next_element::<T>()? {
                    let Tally { spans, values } = element.into();
                    sum.spans += spans;
                    sum.values += values;
                }
                Ok(Sum(sum, PhantomData))
            }
        }
        deserializer.deserialize_any(Elements(PhantomData))
    }
}
