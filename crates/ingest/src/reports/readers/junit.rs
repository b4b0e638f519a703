//! Reads JUnit XML, which Surefire, Gradle, pytest, nextest, Jest, Node and many other tools write.
//! Only XML's five predefined entities are expanded. A document type is ignored.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::escape::{resolve_predefined_entity, unescape};
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::{ReportReader, Signature};
use crate::reports::ReportError;
use crate::reports::part::{Failure, PartOutcome, Parts, Role, Start, nanoseconds, parse_time};

pub(super) static READER: ReportReader = ReportReader {
    name: "JUnit XML",
    aliases: &[],
    extensions: &["xml"],
    signatures: &[Signature::Text(|text| text.starts_with(b"<"))],
    read,
};

/// Deepest nesting of elements. For each part, the elements around it are searched.
const DEPTH: usize = 1_000;
/// Bytes of one failure's text that are kept.
const TEXT_BYTES: usize = 32_000;
/// Node writes this class for every test.
const NO_CLASS: &str = "test";

enum Open {
    Suite { part: usize, classes: Vec<(String, usize)> },
    Case { part: usize },
    Failure { kind: String, message: String, text: String },
    Other,
}

/// Most classes of one suite whose part is remembered.
const CLASSES: usize = 1_000;

fn read(text: &[u8], parts: &mut Parts) -> Result<(), ReportError> {
    let mut reader = Reader::from_reader(text);
    // Mismatched names such as `<a></b>` are accepted: only the nesting is needed.
    reader.config_mut().check_end_names = false;
    let mut open: Vec<Open> = Vec::new();
    let mut top: Vec<(String, usize)> = Vec::new();
    let mut is_junit = false;
    loop {
        let event = reader
            .read_event()
            .map_err(|error| READER.malformed(format_args!("byte {}: {error}", reader.error_position())))?;
        match event {
            Event::Start(_) if open.len() >= DEPTH => {
                return Err(READER.malformed(format_args!("its elements are nested deeper than {DEPTH}")));
            }
            Event::Start(element) => {
                is_junit |= is_known(element.local_name().as_ref());
                let opened = begin(&element, &mut open, &mut top, parts)?;
                open.push(opened);
            }
            Event::Empty(element) => {
                is_junit |= is_known(element.local_name().as_ref());
                let opened = begin(&element, &mut open, &mut top, parts)?;
                end(opened, &open, parts);
            }
            Event::End(_) => {
                if let Some(closed) = open.pop() {
                    end(closed, &open, parts);
                }
            }
            Event::Text(piece) => append(&mut open, &String::from_utf8_lossy(&piece)),
            Event::CData(piece) => append(&mut open, &String::from_utf8_lossy(&piece)),
            Event::GeneralRef(entity) => append(&mut open, &resolved(&entity)),
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
        if !is_junit && open.len() > 1 {
            return Err(ReportError::Unknown);
        }
    }
    if open.is_empty() { Ok(()) } else { Err(READER.malformed("it ends before its last element does")) }
}

fn is_known(name: &[u8]) -> bool {
    matches!(name, b"testsuites" | b"testsuite" | b"testcase")
}

fn begin(
    element: &BytesStart<'_>,
    open: &mut [Open],
    top: &mut Vec<(String, usize)>,
    parts: &mut Parts,
) -> Result<Open, ReportError> {
    let attribute = |name: &str| attribute(element, name);
    let time =
        || attribute("time").and_then(|text| text.replace(',', "").trim().parse().ok()).and_then(nanoseconds);
    let start =
        || attribute("timestamp").and_then(|text| parse_time(&text)).map_or(Start::Unknown, Start::At);
    Ok(match element.local_name().as_ref() {
        b"testsuite" => {
            let name = attribute("name").or_else(|| attribute("package")).unwrap_or_default();
            let within = suite_around(open).map(|(part, _)| part);
            let part = parts.add(within, Role::Suite, &name, start(), time())?;
            Open::Suite { part, classes: Vec::new() }
        }
        b"testcase" => {
            let name = attribute("name").unwrap_or_default();
            let class = attribute("classname").unwrap_or_default();
            let (within, classes) =
                suite_around(open).map_or((None, top), |(part, classes)| (Some(part), classes));
            let is_suite = within.is_some_and(|part| parts.list[part].name == class);
            let within = if class.is_empty() || class == name || class == NO_CLASS || is_suite {
                within
            } else {
                Some(class_part(&class, within, classes, parts)?)
            };
            let part = parts.add(within, Role::Case, &name, start(), time().or(Some(0)))?;
            Open::Case { part }
        }
        b"failure" | b"error" => Open::Failure {
            kind: attribute("type").unwrap_or_default(),
            message: attribute("message").unwrap_or_default(),
            text: String::new(),
        },
        b"skipped" | b"disabled" => {
            if let Some(Open::Case { part }) = open.last() {
                parts.set_outcome(*part, PartOutcome::Skipped);
            }
            Open::Other
        }
        _ => Open::Other,
    })
}

/// The innermost open suite and its classes.
fn suite_around(open: &mut [Open]) -> Option<(usize, &mut Vec<(String, usize)>)> {
    open.iter_mut().rev().find_map(|element| match element {
        Open::Suite { part, classes } => Some((*part, classes)),
        _ => None,
    })
}

/// The part of a class. The search begins at the last class, because cases of a class are mostly
/// neighbours.
fn class_part(
    class: &str,
    within: Option<usize>,
    classes: &mut Vec<(String, usize)>,
    parts: &mut Parts,
) -> Result<usize, ReportError> {
    if let Some((_, part)) = classes.iter().rev().find(|(name, _)| name == class) {
        return Ok(*part);
    }
    let part = parts.add(within, Role::Suite, class, Start::Unknown, None)?;
    if classes.len() < CLASSES {
        classes.push((class.to_owned(), part));
    }
    Ok(part)
}

fn end(closed: Open, open: &[Open], parts: &mut Parts) {
    if let (Open::Failure { kind, message, text }, Some(Open::Case { part })) = (closed, open.last()) {
        // These types only repeat that the test failed.
        let kind = if matches!(kind.as_str(), "testCodeFailure" | "test failure") { "" } else { &kind };
        parts.set_outcome(*part, PartOutcome::Failed(Failure::new(kind, &message, &text)));
    }
}

fn append(open: &mut [Open], piece: &str) {
    if let Some(Open::Failure { text, .. }) = open.last_mut()
        && text.len() < TEXT_BYTES
    {
        text.extend(piece.chars().take(TEXT_BYTES));
    }
}

/// The text of a predefined entity or a numbered character. Any other entity stays as it is written.
fn resolved(entity: &BytesRef<'_>) -> String {
    let name = String::from_utf8_lossy(entity);
    match entity.resolve_char_ref() {
        Ok(Some(character)) => character.to_string(),
        _ => resolve_predefined_entity(&name).map_or_else(|| format!("&{name};"), str::to_owned),
    }
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let found =
        element.attributes().with_checks(false).flatten().find(|a| a.key.as_ref() == name.as_bytes())?;
    let raw = String::from_utf8_lossy(&found.value);
    Some(unescape(&raw).map_or_else(|_| raw.clone().into_owned(), Cow::into_owned))
        .filter(|text| !text.trim().is_empty())
}
