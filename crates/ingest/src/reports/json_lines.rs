//! Tells apart the reports that are JSON, and walks through those that are a document on each
//! line: what a tool prints between them is passed over.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// Lines that are looked at for the first document: compilers speak before tests do.
const LINES: usize = 1_000;

/// Which reader it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ChromeTrace,
    PytestJson,
    PytestLog,
    GoTest,
    Libtest,
}

/// The keys that tell.
#[derive(Deserialize)]
struct Keys {
    #[serde(rename = "traceEvents", default)]
    trace_events: Option<IgnoredAny>,
    #[serde(rename = "$report_type", default)]
    report_type: Option<IgnoredAny>,
    #[serde(rename = "Action", default)]
    action: Option<IgnoredAny>,
    #[serde(default)]
    tests: Option<IgnoredAny>,
    #[serde(default)]
    collectors: Option<IgnoredAny>,
    #[serde(default)]
    exitcode: Option<IgnoredAny>,
    #[serde(rename = "type", default)]
    kind: Option<IgnoredAny>,
    #[serde(default)]
    event: Option<IgnoredAny>,
}

/// Tells which report a text is.
pub(super) fn kind(text: &[u8]) -> Option<Kind> {
    let whole = || serde_json::Deserializer::from_slice(text).into_iter::<Keys>().next()?.ok();
    let of = |keys: Keys| {
        if keys.trace_events.is_some() {
            Some(Kind::ChromeTrace)
        } else if keys.report_type.is_some() {
            Some(Kind::PytestLog)
        } else if keys.action.is_some() {
            Some(Kind::GoTest)
        } else if keys.tests.is_some() || (keys.collectors.is_some() && keys.exitcode.is_some()) {
            Some(Kind::PytestJson)
        } else if keys.kind.is_some() && keys.event.is_some() {
            Some(Kind::Libtest)
        } else {
            None
        }
    };
    let by_line = || documents::<Keys>(text, LINES).find_map(of);
    whole().and_then(of).or_else(by_line)
}

/// Each line that is a document of this shape.
pub(super) fn documents<'a, T: Deserialize<'a>>(text: &'a [u8], lines: usize) -> impl Iterator<Item = T> {
    text.split(|byte| *byte == b'\n')
        .take(lines)
        .filter(|line| line.trim_ascii_start().first() == Some(&b'{'))
        .filter_map(|line| serde_json::from_slice(line).ok())
}
