//! The table of report readers. Each reader is one file in this folder: it recognizes a format by the
//! content and adds the parts of a report. The texts about readable formats follow from this table.
//! To add a format, write a file with a `READER`, declare the file here and add it to `READERS`.

mod cargo_timings;
mod chrome_trace;
mod go_test;
mod json_lines;
mod junit;
mod libtest;
mod ninja_log;
mod pytest;

use std::fmt::{self, Display};

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use self::json_lines::documents;
use super::ReportError;
use super::part::Parts;

/// All readers. If several recognize a text, the first one reads it.
pub(super) static READERS: [&ReportReader; 8] = [
    &cargo_timings::READER,
    // Recognizes any markup, so it comes after the other readers of markup.
    &junit::READER,
    &chrome_trace::READER,
    &pytest::REPORT_LOG,
    &go_test::READER,
    &pytest::JSON_REPORT,
    &libtest::READER,
    &ninja_log::READER,
];

/// Lines that are searched for a JSON object with known keys: compilers print before tests do.
const SEARCHED_LINES: usize = 1_000;

/// A reader of one report format.
pub(super) struct ReportReader {
    /// The format's name in errors, in the help of `pacegate exec` and in docs/exec.md.
    pub(super) name: &'static str,
    /// Other names of the format, for the list of readable formats.
    pub(super) aliases: &'static [&'static str],
    /// Extensions of its files. `pacegate exec --attach FOLDER` reads only files with a known one.
    pub(super) extensions: &'static [&'static str],
    /// The format is recognized if one of them matches.
    pub(super) signatures: &'static [Signature],
    /// Adds the parts of a report. The text has no byte order mark or leading white space.
    pub(super) read: fn(text: &[u8], parts: &mut Parts) -> Result<(), ReportError>,
}

/// Identifies a format by the content of a file.
pub(super) enum Signature {
    /// A check of the text, which has no byte order mark or leading white space.
    Text(fn(&[u8]) -> bool),
    /// Keys that a JSON object has. The object is the document or one of its first lines.
    Keys(&'static [&'static str]),
}

impl ReportReader {
    fn matches_text(&self, text: &[u8]) -> bool {
        self.signatures.iter().any(|signature| matches!(signature, Signature::Text(matches) if matches(text)))
    }

    fn matches_keys(&self, found: &KnownKeys) -> bool {
        self.signatures.iter().any(
            |signature| matches!(signature, Signature::Keys(keys) if keys.iter().all(|key| found.0.contains(key))),
        )
    }

    fn malformed(&self, reason: impl Display) -> ReportError {
        ReportError::Malformed { format: self.name, reason: reason.to_string() }
    }
}

/// The reader of a text that has no byte order mark or leading white space.
pub(super) fn recognize(text: &[u8]) -> Option<&'static ReportReader> {
    let by_text = READERS.into_iter().find(|reader| reader.matches_text(text));
    let by_keys = |keys: KnownKeys| READERS.into_iter().find(|reader| reader.matches_keys(&keys));
    let document = || serde_json::Deserializer::from_slice(text).into_iter::<KnownKeys>().next()?.ok();
    let by_line = || documents::<KnownKeys>(text, SEARCHED_LINES).find_map(by_keys);
    by_text.or_else(|| document().and_then(by_keys)).or_else(by_line)
}

/// All formats with their other names, as the end of a sentence.
pub(super) fn formats() -> String {
    let named: Vec<String> = READERS
        .iter()
        .map(|reader| match reader.aliases {
            [] => reader.name.to_owned(),
            aliases => format!("{} ({})", reader.name, aliases.join(", ")),
        })
        .collect();
    let (last, others) = named.split_last().map_or(("", &[][..]), |(last, others)| (last.as_str(), others));
    format!("{} and {last}", others.join(", "))
}

/// The keys of a JSON object that are in a signature and whose value is not null.
struct KnownKeys(Vec<&'static str>);

impl<'de> Deserialize<'de> for KnownKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = KnownKeys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<KnownKeys, A::Error> {
                let (mut seen, mut present) = (Vec::new(), Vec::new());
                while let Some(key) = map.next_key::<String>()? {
                    let Some(key) = signature_keys().find(|known| *known == key) else {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    if seen.contains(&key) {
                        return Err(A::Error::duplicate_field(key));
                    }
                    seen.push(key);
                    if map.next_value::<Option<IgnoredAny>>()?.is_some() {
                        present.push(key);
                    }
                }
                Ok(KnownKeys(present))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

fn signature_keys() -> impl Iterator<Item = &'static str> {
    READERS.into_iter().flat_map(|reader| reader.signatures).flat_map(|signature| match signature {
        Signature::Keys(keys) => keys.iter().copied(),
        Signature::Text(_) => [].iter().copied(),
    })
}
