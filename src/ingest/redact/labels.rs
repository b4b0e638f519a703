//! Secrets that are known by a label before them in the same text: `password=…`,
//! `"api_key": "…"`, `Authorization: Bearer …`. A word alone, as in "unexpected token: x", is none.

use std::ops::Range;

use super::secrets::MASK;

/// The longest label that is looked at, bytes.
const LONGEST: usize = 40;

/// A label that ends so says that a secret follows.
const LABELS: [&[u8]; 14] = [
    b"password",
    b"passwd",
    b"pwd",
    b"passphrase",
    b"secret",
    b"token",
    b"api_key",
    b"api-key",
    b"apikey",
    b"access_key",
    b"accesskey",
    b"secret_key",
    b"private_key",
    b"signature",
];
/// What an `Authorization` header begins with.
const SCHEMES: [&[u8]; 6] =
    [b"bearer ", b"basic ", b"token ", b"digest ", b"negotiate ", b"aws4-hmac-sha256 "];

/// Whether a label, the quote that closes it or a space after it may end with this byte.
pub(super) fn may_label(byte: u8) -> bool {
    matches!(byte | 0x20, b'd' | b'e' | b't' | b'n' | b'y' | b' ' | b'|') || matches!(byte, b'"' | b'\'')
}

/// The value behind a `=` or `:` at `at`, if the label before it says that it is a secret.
pub(super) fn labelled(text: &[u8], from: usize, at: usize) -> Option<Range<usize>> {
    let around = &text[from.max(at.saturating_sub(LONGEST + 4))..at];
    let is_close = |b: &u8| b"\\\"' ".contains(b);
    let label = &around[..=around.iter().rposition(|b| !is_close(b))?];
    let closing = &around[label.len()..];
    let is_label = |b: &u8| b.is_ascii_alphanumeric() || b"_-.".contains(b);
    let label = &label[label.iter().rposition(|b| !is_label(b)).map_or(0, |before| before + 1)..];
    let ends = |word: &[u8]| {
        label.len() >= word.len() && label[label.len() - word.len()..].eq_ignore_ascii_case(word)
    };
    let value = at + 1;
    if ends(b"authorization") {
        let start = value + spaces(&text[value..]);
        let is_header = SCHEMES.iter().any(|scheme| {
            text.get(start..start + scheme.len()).is_some_and(|part| part.eq_ignore_ascii_case(scheme))
        });
        let end = start + text[start..].iter().take_while(|b| !b"\r\n\"'\\".contains(b)).count();
        return is_header.then_some(start..end);
    }
    let is_aws = ends(b"secret_access_key") || ends(b"secretaccesskey");
    let is_quoted = closing.iter().any(|b| *b != b' ');
    // In a sentence a colon follows anything, and spaces stand around any sign.
    let is_assigned = (text[at] == b'=' && closing.is_empty()) || is_quoted || is_aws;
    if !is_assigned || !(is_aws || LABELS.iter().any(|word| ends(word))) {
        return None;
    }
    let start = if is_quoted || is_aws { value + spaces(&text[value..]) } else { value };
    let value = Value::at(text, start);
    let text = &text[start + value.opening..];
    let start = start + value.opening;
    if text.starts_with(MASK.as_bytes()) {
        // Its own mask, whole: nothing is left to be done.
        let rest = value.length(&text[MASK.len()..]);
        return (rest > 0).then(|| start..start + MASK.len() + rest);
    }
    let length = value.length(text);
    let written = &text[..length];
    let is_scheme = [&b"bearer"[..], b"basic"].iter().any(|s| written.eq_ignore_ascii_case(s));
    // Nothing, or what is left of a mask where the text was cut.
    let is_rest = MASK.as_bytes().starts_with(written.strip_suffix("…".as_bytes()).unwrap_or(written));
    (!is_rest && !is_scheme).then(|| start..start + length)
}

/// How a value is written: where it begins and what ends it.
struct Value {
    /// Bytes of the quote before it: `"`, `'` or an escaped one.
    opening: usize,
    is_escaped: bool,
}

impl Value {
    fn at(text: &[u8], start: usize) -> Self {
        let is_escaped = text.get(start) == Some(&b'\\');
        let quote = start + usize::from(is_escaped);
        let is_quoted = text.get(quote).is_some_and(|b| b"\"'".contains(b));
        Self { opening: if is_quoted { quote + 1 - start } else { 0 }, is_escaped }
    }

    /// The bytes up to its end. A key in PEM is longer than its first word: it is told by itself.
    fn length(&self, text: &[u8]) -> usize {
        let mut at = 0;
        while at < text.len() && !text[at..].starts_with(b"-----") {
            let ends: &[u8] = match (self.opening, self.is_escaped) {
                (0, _) => b" \t\r\n&,;\"'\\)}]<>",
                (_, true) => b"\\\"'\r\n",
                (_, false) => b"\"'\r\n",
            };
            if ends.contains(&text[at]) {
                break;
            }
            // What is escaped in a quoted text does not end it.
            at += if self.opening > 0 && text[at] == b'\\' { 2 } else { 1 };
        }
        at.min(text.len())
    }
}

fn spaces(text: &[u8]) -> usize {
    text.iter().take(3).take_while(|b| **b == b' ').count()
}
