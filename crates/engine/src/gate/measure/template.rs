//! The scanner for stage names and error signatures. It replaces the parts of a text that differ from run
//! to run by placeholders. It makes one pass with bounded look-ahead, without regular expressions. It
//! does not decide which text is scanned.

mod values;

use std::net::Ipv6Addr;

/// The meaning of a plain number in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// Part of a name. It varies only when `-`, `_`, `/`, `:`, `#`, `=` or `@` attaches it. "node 18" and
    /// "python-3.12" differ from "node 20" and "python-3.11".
    AsNames,
    /// A value in a sentence. It varies together with its sign and unit, with two exceptions:
    /// - Inside quotation marks it is part of a name.
    /// - A code identifies the error: "exit code 137" differs from "exit code 1".
    AsValues,
}

/// Words with a number that never varies although a separator precedes it.
const FIXED_WORDS: [&str; 5] = ["x86_64", "utf-8", "sha-256", "sha-512", "base-64"];

/// A number with this many digits is an identifier in any position.
const ID_DIGITS: usize = 7;

/// Longest text in quotation marks that is recognised, in bytes.
const MAX_QUOTATION: usize = 200;

/// The text with its varying parts and its control characters replaced. The latter become spaces.
#[must_use]
pub(crate) fn template(text: &str, numbers: Numbers) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let mut quoted_until = 0;
    while at < bytes.len() {
        if numbers == Numbers::AsValues && at >= quoted_until {
            quoted_until = quotation_end(bytes, at).unwrap_or(0);
        }
        let mode = if at < quoted_until { Numbers::AsNames } else { numbers };
        if let Some((placeholder, length)) = varying_part(bytes, at, mode) {
            out.push_str(placeholder);
            at += length;
            if mode == Numbers::AsValues {
                // "1 test" and "3 tests" count the same things.
                let singular = values::singular_length(bytes, at);
                out.push_str(&text[at..at + singular]);
                at += singular + usize::from(singular > 0);
            }
            continue;
        }
        let length = plain_part(text, at);
        out.extend(text[at..at + length].chars().map(|c| if c.is_control() { ' ' } else { c }));
        at += length;
    }
    out
}

/// Length of the part to copy unchanged: a whole word, or one other character.
fn plain_part(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    let word = fixed_word(bytes, at).max(word_length(bytes, at));
    if word > 0 { word } else { text[at..].chars().next().map_or(1, char::len_utf8) }
}

fn varying_part(bytes: &[u8], at: usize, numbers: Numbers) -> Option<(&'static str, usize)> {
    if at > 0 && is_word(bytes[at - 1]) {
        return None;
    }
    if numbers == Numbers::AsValues
        && let Some(found) = values::value(bytes, at)
    {
        return found;
    }
    if !is_word(bytes[at]) {
        return temporary_path(bytes, at).map(|n| ("{tmp}", n));
    }
    let fixed = fixed_word(bytes, at) > 0;
    uuid(bytes, at)
        .map(|n| ("{uuid}", n))
        .or_else(|| time(bytes, at).map(|n| ("{time}", n)))
        .or_else(|| hexadecimal(bytes, at).map(|n| ("{hex}", n)))
        .or_else(|| address(bytes, at).map(|n| ("{ip}", n)))
        .or_else(|| windows_temporary_path(bytes, at).map(|n| ("{tmp}", n)))
        .or_else(|| if fixed { None } else { number(bytes, at).map(|n| ("{n}", n)) })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

fn word_length(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().take_while(|b| is_word(**b)).count()
}

/// Whether a word ends here.
fn ends_at(bytes: &[u8], end: usize) -> bool {
    bytes.get(end).is_none_or(|b| !is_word(*b))
}

fn fixed_word(bytes: &[u8], at: usize) -> usize {
    let matches = |word: &&&str| {
        bytes.get(at..at + word.len()).is_some_and(|b| b.eq_ignore_ascii_case(word.as_bytes()))
            && ends_at(bytes, at + word.len())
    };
    FIXED_WORDS.iter().find(matches).map_or(0, |word| word.len())
}

/// Whether the bytes match a form, in which `d` is a decimal digit, `h` a hexadecimal digit, and any other
/// character itself.
fn has_form(bytes: &[u8], at: usize, form: &str) -> bool {
    bytes.get(at..at + form.len()).is_some_and(|part| {
        part.iter().zip(form.bytes()).all(|(b, f)| match f {
            b'd' => b.is_ascii_digit(),
            b'h' => b.is_ascii_hexdigit(),
            _ => *b == f,
        })
    })
}

fn uuid(bytes: &[u8], at: usize) -> Option<usize> {
    let form = "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh";
    (has_form(bytes, at, form) && ends_at(bytes, at + form.len())).then_some(form.len())
}

/// ISO 8601 in its extended and basic forms, a date, or a time of day.
fn time(bytes: &[u8], at: usize) -> Option<usize> {
    let mut end = at;
    if has_form(bytes, at, "ddddddddTdddddd") {
        end += 15;
    } else {
        if has_form(bytes, at, "dddd-dd-dd") {
            end += 10;
            let clock = end + 1;
            let separated = matches!(bytes.get(end), Some(b'T' | b't' | b' ' | b'_'));
            if separated && has_form(bytes, clock, "dd:dd") {
                end = clock;
            }
        }
        if has_form(bytes, end, "dd:dd:dd") {
            end += 8;
        } else if end > at + 10 {
            end += 5;
        }
    }
    if end == at {
        return None;
    }
    if end > at + 10 || has_form(bytes, at, "dd:dd:dd") {
        end += fraction_length(bytes, end);
        if matches!(bytes.get(end), Some(b'Z' | b'z')) {
            end += 1;
        } else if matches!(bytes.get(end), Some(b'+' | b'-')) && has_form(bytes, end + 1, "dd:dd") {
            end += 6;
        }
    }
    ends_at(bytes, end).then_some(end - at)
}

fn fraction_length(bytes: &[u8], at: usize) -> usize {
    let digits =
        bytes.get(at + 1..).map_or(0, |rest| rest.iter().take(10).take_while(|b| b.is_ascii_digit()).count());
    if matches!(bytes.get(at), Some(b'.' | b',')) && (1..10).contains(&digits) { 1 + digits } else { 0 }
}

/// A word of hexadecimal digits with at least one of 0-9 and one of a-f. Plain words have no digit.
/// All-decimal numbers of any length are numbers, so that a counter that grows past seven digits keeps
/// its placeholder.
fn hexadecimal(bytes: &[u8], at: usize) -> Option<usize> {
    let length = word_length(bytes, at);
    let word = &bytes[at..at + length];
    if let Some(digits) = word.strip_prefix(b"0x").or(word.strip_prefix(b"0X")) {
        return (digits.len() >= 4 && digits.iter().all(u8::is_ascii_hexdigit)).then_some(length);
    }
    let mixed = word.iter().any(u8::is_ascii_digit) && word.iter().any(u8::is_ascii_alphabetic);
    (length >= 7 && mixed && word.iter().all(u8::is_ascii_hexdigit)).then_some(length)
}

/// IPv4, or IPv6 with at least three colons, because `a::b` may be a name in a program.
fn address(bytes: &[u8], at: usize) -> Option<usize> {
    let window = &bytes[at..bytes.len().min(at + 46)];
    let four = window.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
    let text = std::str::from_utf8(&window[..four]).ok()?.trim_end_matches('.');
    if text.parse::<std::net::Ipv4Addr>().is_ok() && ends_at(bytes, at + text.len()) {
        return Some(text.len());
    }
    let six = window.iter().take_while(|b| b.is_ascii_hexdigit() || **b == b':').count();
    let text = std::str::from_utf8(&window[..six]).ok()?.trim_end_matches(':');
    let colons = text.bytes().filter(|b| *b == b':').count();
    (colons >= 3 && text.parse::<Ipv6Addr>().is_ok() && ends_at(bytes, at + text.len())).then_some(text.len())
}

fn path_length(bytes: &[u8], at: usize) -> usize {
    let ends = |b: &u8| b.is_ascii_whitespace() || b.is_ascii_control() || b"\"'`()[]<>,;:".contains(b);
    bytes[at..].iter().take_while(|b| !ends(b)).count()
}

fn temporary_path(bytes: &[u8], at: usize) -> Option<usize> {
    let roots: [&[u8]; 5] = [b"/tmp/", b"/var/tmp/", b"/var/folders/", b"/private/tmp/", b"/private/var/"];
    roots.iter().any(|root| bytes[at..].starts_with(root)).then(|| path_length(bytes, at))
}

/// `C:\...\Temp\...`, with a bounded look-ahead for the folder.
fn windows_temporary_path(bytes: &[u8], at: usize) -> Option<usize> {
    let drive = bytes[at].is_ascii_alphabetic() && bytes.get(at + 1..at + 3) == Some(b":\\");
    if !drive {
        return None;
    }
    let head = &bytes[at + 2..bytes.len().min(at + 130)];
    let head = &head[..path_length(head, 0)];
    let temporary = |w: &[u8]| w.eq_ignore_ascii_case(b"\\temp\\") || w[..5].eq_ignore_ascii_case(b"\\tmp\\");
    head.windows(6).any(temporary).then(|| 2 + path_length(bytes, at + 2))
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let digits = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let end = at + digits;
    if !ends_at(bytes, end) {
        return None;
    }
    if digits >= ID_DIGITS {
        return Some(digits);
    }
    let digit_at = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_digit);
    let dotted = (bytes.get(end) == Some(&b'.') && digit_at(end + 1))
        || (at >= 2 && bytes[at - 1] == b'.' && digit_at(at - 2));
    let glued = match at.checked_sub(1).map(|i| bytes[i]) {
        // "12 tests" begins with a count. "8812-build" and "8812" begin with an id.
        None => bytes.get(end).is_none_or(|b| b"-_/:#=@.".contains(b)),
        Some(b'/') => !verbatim_fraction(bytes, at),
        Some(b) => b"-_:#=@.".contains(&b),
    };
    (glued && !dotted).then_some(digits)
}

/// Whether the number after this `/` belongs to a fraction such as "1/4" whose first part is kept.
fn verbatim_fraction(bytes: &[u8], at: usize) -> bool {
    let before = &bytes[at.saturating_sub(9)..at - 1];
    let digits = before.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    digits > 0 && before.len() > digits && matches!(before[before.len() - 1 - digits], b' ' | b'(' | b'[')
}

/// The end of the quotation that opens here. Its mark must not follow a word, as the apostrophe of
/// "can't" does, and it must be closed on the same line.
fn quotation_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mark = bytes[at];
    if !b"'\"`".contains(&mark) || (at > 0 && is_word(bytes[at - 1])) {
        return None;
    }
    let inside = &bytes[at + 1..bytes.len().min(at + 1 + MAX_QUOTATION)];
    let length = inside.iter().take_while(|b| **b != b'\n').position(|b| *b == mark)?;
    Some(at + 1 + length + 1)
}

#[cfg(test)]
mod tests;
