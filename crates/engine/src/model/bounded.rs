//! Deserializers for texts and lists from GitHub's Actions API. They cut long values, so that the name
//! of a job or a branch cannot take unlimited memory. GitHub cuts most names at 100 characters.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

/// Characters kept of a text.
const TEXT: usize = 500;
/// Elements kept of a list. GitHub's pages and limits are smaller.
const LIST: usize = 1_000;
/// Labels kept of a job.
const TEXTS: usize = 20;

fn cut(mut text: String) -> String {
    if text.len() > TEXT
        && let Some((at, _)) = text.char_indices().nth(TEXT)
    {
        text.truncate(at);
    }
    text
}

/// A text, empty for `null`.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(optional_text(deserializer)?.unwrap_or_default())
}

pub fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(cut))
}

/// A short list of texts, empty for `null`.
pub fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let mut texts: Vec<String> = list(deserializer)?;
    texts.truncate(TEXTS);
    Ok(texts.into_iter().map(cut).collect())
}

/// A list, empty for `null`. Elements beyond the limit are skipped without being parsed.
pub fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct List<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_unit<E>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
            let mut kept = Vec::new();
            while kept.len() < LIST
                && let Some(element) = elements.next_element()?
            {
                kept.push(element);
            }
            if kept.len() == LIST {
                while elements.next_element::<IgnoredAny>()?.is_some() {}
            }
            Ok(kept)
        }
    }
    deserializer.deserialize_any(List(PhantomData))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Sample {
        #[serde(default, deserialize_with = "super::text")]
        text: String,
        #[serde(default, deserialize_with = "super::list")]
        list: Vec<u8>,
    }

    fn read(json: &str) -> Sample {
        serde_json::from_str(json).expect("readable")
    }

    #[test]
    fn long_values_are_cut_and_null_is_empty() {
        let long = read(&format!(r#"{{"text":"{}","list":[{}0]}}"#, "é".repeat(9_000), "1,".repeat(5_000)));
        assert_eq!((long.text.chars().count(), long.list.len()), (super::TEXT, super::LIST));
        assert_eq!(read(r#"{"text":null,"list":null}"#), read("{}"));
    }
}
