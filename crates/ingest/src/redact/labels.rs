//! Finds secrets by a label before them in the same text: `password=…`, `"api_key": "…"`,
//! `--token …`, `Authorization: …`. A plain word, as in "unexpected token: x", is not a label. A value
//! is read to its end once; if nothing is masked, only its first bytes are read.

use std::ops::Range;

use super::secrets::MASK;

/// Longest label, bytes.
const LONGEST: usize = 40;

/// Endings of labels of secrets.
const LABELS: [&[u8]; 20] = [
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
    b"secret-key",
    b"secretkey",
    b"private_key",
    b"private-key",
    b"privatekey",
    b"authorization",
    b"cookie",
    b"signature",
];
/// Endings of the names of headers whose whole value is secret.
const HEADERS: [&[u8]; 3] = [b"authorization", b"cookie", b"x-api-key"];
/// Labels that never occur in sentences: their value can follow a colon without quotes.
const UNMISTAKABLE: [&[u8]; 3] = [b"secret_access_key", b"secretaccesskey", b"session_token"];
/// Words that follow the name of an argument in a sentence about it.
const PROSE: [&[u8]; 20] = [
    b"and",
    b"are",
    b"argument",
    b"as",
    b"cannot",
    b"flag",
    b"for",
    b"from",
    b"has",
    b"if",
    b"in",
    b"is",
    b"must",
    b"not",
    b"option",
    b"or",
    b"requires",
    b"to",
    b"was",
    b"with",
];
/// Beginnings of the value of an `Authorization` header.
const SCHEMES: [&[u8]; 6] =
    [b"bearer ", b"basic ", b"token ", b"digest ", b"negotiate ", b"aws4-hmac-sha256 "];

/// `true` if this byte can precede the `=` or `:`: the end of a label, a closing quote or a space.
pub(super) fn may_label(byte: u8) -> bool {
    matches!(byte | 0x20, b'd' | b'e' | b't' | b'n' | b'y' | b' ' | b'|')
        || matches!(byte, b'"' | b'\'' | b'\t')
}

/// The value after the `=` or `:` at `at`, if the label before it is that of a secret.
pub(super) fn labelled(text: &[u8], from: usize, at: usize) -> Option<Range<usize>> {
    let around = &text[from.max(at.saturating_sub(LONGEST + 4))..at];
    let named = &around[..=around.iter().rposition(|b| !b"\\\"' \t".contains(b))?];
    let closing = &around[named.len()..];
    let before = named.iter().rposition(|b| !is_label(*b));
    let label = &named[before.map_or(0, |before| before + 1)..];
    // `=>` and `:=` assign as well.
    let is_arrow = matches!((text[at], text.get(at + 1)), (b'=', Some(b'>')) | (b':', Some(b'=')));
    let value = at + 1 + usize::from(is_arrow);
    let start = value + spaces(&text[value..]);
    let is_quoted = closing.iter().any(|b| !b" \t".contains(b));
    let is_field = text[at] == b':' && !is_arrow && !is_quoted;
    if ends_with(label, &HEADERS) && (is_field || has_scheme(&text[start..])) {
        let opened = before.map(|before| named[before]).filter(|b| !is_quoted && b"\"'".contains(b));
        return Value::of_header(text, start, opened).secret(text, start);
    }
    let is_unmistakable = ends_with(label, &UNMISTAKABLE);
    let is_equal = text[at] == b'=' || is_arrow;
    // In a sentence, a colon can follow any word, and spaces can surround any sign.
    let is_assigned = is_quoted
        || is_unmistakable
        || (is_equal && ((closing.is_empty() && !is_arrow) || Value::at(text, start).opening > 0));
    if !is_assigned || !(is_unmistakable || ends_with(label, &LABELS)) {
        return None;
    }
    let is_apart = is_quoted || is_unmistakable || Value::at(text, start).opening > 0;
    let start = if is_apart { start } else { value };
    Value::at(text, start).secret(text, start)
}

/// The value after an argument such as `--password`, whose hyphens are at `at`.
pub(super) fn argument(text: &[u8], from: usize, at: usize) -> Option<Range<usize>> {
    let is_apart = at == from || !(text[at - 1] == b'-' || text[at - 1].is_ascii_alphanumeric());
    if !is_apart || text.get(at + 1) != Some(&b'-') {
        return None;
    }
    let name = &text[at + 2..];
    let name = &name[..name.iter().take(LONGEST).take_while(|b| is_label(**b)).count()];
    let end = at + 2 + name.len();
    let start = end + spaces(&text[end..]);
    if start == end || !ends_with(name, &LABELS) || text.get(start) == Some(&b'-') {
        return None;
    }
    let value = Value::at(text, start);
    let longest = PROSE.iter().map(|word| word.len()).max().unwrap_or(0);
    let word = text[start..].iter().take(longest + 1).take_while(|b| b.is_ascii_alphanumeric()).count();
    let is_prose = PROSE.iter().any(|prose| text[start..start + word].eq_ignore_ascii_case(prose));
    (!is_prose).then(|| value.secret(text, start))?
}

fn is_label(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)
}

fn ends_with(label: &[u8], words: &[&[u8]]) -> bool {
    words
        .iter()
        .any(|word| label.len() >= word.len() && label[label.len() - word.len()..].eq_ignore_ascii_case(word))
}

fn has_scheme(text: &[u8]) -> bool {
    SCHEMES
        .iter()
        .any(|scheme| text.get(..scheme.len()).is_some_and(|part| part.eq_ignore_ascii_case(scheme)))
}

/// Where a value begins and ends.
struct Value {
    /// Length of the opening quote and of the backslashes that escape it, bytes; 0 without quotes.
    opening: usize,
    end: End,
}

/// The end of a value.
enum End {
    /// The end of a word in a command, an address, JSON or XML.
    Word,
    /// The end of the line or the quote that was opened before the label. Any quote if that one is
    /// unknown.
    Line(Option<u8>),
    /// The same quote, after the same number of backslashes.
    Quote(u8),
}

impl Value {
    fn at(text: &[u8], start: usize) -> Self {
        let escapes = text[start..].iter().take(8).take_while(|b| **b == b'\\').count();
        match text.get(start + escapes) {
            Some(quote @ (b'"' | b'\'')) => Self { opening: escapes + 1, end: End::Quote(*quote) },
            _ => Self { opening: 0, end: End::Word },
        }
    }

    /// A header's value: its own quotes, or the rest of the line.
    fn of_header(text: &[u8], start: usize, opened: Option<u8>) -> Self {
        let value = Self::at(text, start);
        if value.opening > 0 && opened.is_none() {
            value
        } else {
            Self { opening: 0, end: End::Line(opened) }
        }
    }

    /// The value's range, or `None` if there is no value or it is masked already.
    fn secret(&self, text: &[u8], start: usize) -> Option<Range<usize>> {
        let start = start + self.opening;
        let text = &text[start..];
        if text.starts_with(MASK.as_bytes()) {
            // The value is masked. Text that follows the mask is masked with it.
            let rest = self.length(&text[MASK.len()..]);
            return (rest > 0).then(|| start..start + MASK.len() + rest);
        }
        let length = self.length(text);
        let written = &text[..length];
        let is_scheme = [&b"bearer"[..], b"basic"].iter().any(|s| written.eq_ignore_ascii_case(s));
        // Empty, or a mask that was cut with the text.
        let is_rest = MASK.as_bytes().starts_with(written.strip_suffix("…".as_bytes()).unwrap_or(written));
        (!is_rest && !is_scheme).then(|| start..start + length)
    }

    /// The number of bytes up to the value's end. It stops before a PEM key, which has its own shape.
    fn length(&self, text: &[u8]) -> usize {
        let mut at = 0;
        while at < text.len() && !text[at..].starts_with(b"-----") {
            let is_quote = b"\"'".contains(&text[at]);
            match self.end {
                End::Word if b" \t\r\n&,;\"'\\)}]<>".contains(&text[at]) => break,
                End::Line(_) | End::Quote(_) if b"\r\n".contains(&text[at]) => break,
                End::Line(_) if text[at] == b'\\' => break,
                End::Line(Some(opened)) if text[at] == opened => break,
                End::Line(None) if is_quote => {
                    // After a `=`, a quote opens a part of the value, as in `Digest username="…"`.
                    if at == 0 || text[at - 1] != b'=' {
                        break;
                    }
                    let rest = &text[at + 1..];
                    at += 1 + rest.iter().take_while(|b| **b != text[at] && !b"\r\n".contains(b)).count();
                    if text.get(at).is_none_or(|b| b"\r\n".contains(b)) {
                        break;
                    }
                    at += 1;
                }
                End::Quote(quote) if text[at] == b'\\' || text[at] == quote => {
                    let escapes = text[at..].iter().take_while(|b| **b == b'\\').count();
                    let own = self.opening - 1;
                    if text.get(at + escapes) == Some(&quote)
                        && (escapes < own || escapes % (2 * self.opening) == own)
                    {
                        // The closing quote of the value or of a text around it.
                        return at + escapes.saturating_sub(own);
                    }
                    // The last of an odd number of backslashes escapes the next byte.
                    at += (escapes + escapes % 2).max(1);
                }
                _ => at += 1,
            }
        }
        at.min(text.len())
    }
}

fn spaces(text: &[u8]) -> usize {
    text.iter().take(8).take_while(|b| b" \t".contains(b)).count()
}
