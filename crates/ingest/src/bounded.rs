//! Lists of a JSON body that never take more memory than they are allowed: cut while they
//! are read, or counted without being kept. Shared by the JSON formats.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{IngestError, Limits};

/// Refuses a text that opens more objects and lists than values are allowed: one takes two
/// bytes here and hundreds in memory. A brace inside a text counts too, which only makes the
/// limit a little stricter.
pub(super) fn check_values(body: &[u8], limits: Limits) -> Result<(), IngestError> {
    if body.iter().filter(|b| matches!(b, b'{' | b'[')).count() > limits.values {
        return Err(IngestError::TooManyValues { limit: limits.values });
    }
    Ok(())
}

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

/// An object as a list of its first `N` entries, in their order; `null` is an empty one.
/// How many there were in all is known too.
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

/// Takes the elements of a list one by one.
pub(super) trait Gather<T>: Default {
    /// One more, in their order.
    fn take(&mut self, element: T);
}

/// A list whose elements become something else as soon as each is read, so that the wire's
/// form of the whole list is never in memory. `null` is an empty list.
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

/// What a body holds, as far as it was counted.
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

/// The sum over a list's elements: counts without keeping. `null` is an empty list.
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
