//! Recognises values in a sentence: numbers with sign, separators, exponent and unit, versions, addresses
//! with ports, serials. Codes are not values and are kept.

use std::net::Ipv6Addr;

use super::{address, ends_at, fixed_word, hexadecimal, is_word, word_length};

/// Units that may directly follow a number. After a space, only the longer ones and `s` are units.
const UNITS: [&str; 40] = [
    "ns", "us", "ms", "s", "sec", "secs", "second", "seconds", "m", "min", "mins", "minute", "minutes", "h",
    "hr", "hrs", "hour", "hours", "d", "day", "days", "b", "byte", "bytes", "k", "kb", "kib", "mb", "mib",
    "g", "gb", "gib", "tb", "tib", "hz", "khz", "mhz", "ghz", "kbps", "mbps",
];
/// A number after one of these is a code.
const CODE_WORDS: [&str; 6] = ["code", "status", "errno", "signal", "sqlstate", "hresult"];
/// A number directly after one of these is a code. After a colon it may be a count.
const CODE_WORDS_BEFORE_A_SPACE: [&str; 4] = ["error", "http", "exit", "exitcode"];
/// Pre-release suffixes of a version, after a hyphen.
const PRE_RELEASES: [&str; 7] = ["alpha", "beta", "rc", "dev", "pre", "post", "snapshot"];
/// A longer number is not a code.
const CODE_BYTES: usize = 10;

/// The placeholder and length of the value that begins here. The inner option is none for a code, which
/// is kept. The outer option is none for anything else.
#[expect(clippy::option_option, reason = "not a value, a value, or a code")]
pub(crate) fn value(bytes: &[u8], at: usize) -> Option<Option<(&'static str, usize)>> {
    let signed = matches!(bytes[at], b'-' | b'+') && bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
    if !is_word(bytes[at]) && !signed && !matches!(bytes[at], b':' | b'[') {
        return None;
    }
    if is_code(bytes, at) {
        return Some(None);
    }
    if let Some(length) = address_with_port(bytes, at) {
        return Some(Some(("{ip}", length)));
    }
    if let Some(length) = hexadecimal_pairs(bytes, at).or_else(|| pointer(bytes, at)) {
        return Some(Some(("{hex}", length)));
    }
    if let Some(length) = random_name(bytes, at) {
        return Some(Some(("{hex}", length)));
    }
    let is_other = super::uuid(bytes, at).is_some()
        || super::time(bytes, at).is_some()
        || hexadecimal(bytes, at).is_some()
        || fixed_word(bytes, at) > 0;
    let length = if is_other { None } else { quantity(bytes, at + usize::from(signed)) };
    length.map(|length| Some(("{n}", length + usize::from(signed))))
}

/// Length of a plural such as " tests" without its `s`. 0 when no plural follows.
pub(crate) fn singular_length(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at) != Some(&b' ') {
        return 0;
    }
    let letters = bytes[at + 1..].iter().take_while(|b| b.is_ascii_lowercase()).count();
    let end = at + 1 + letters;
    let plural = letters >= 4 && ends_at(bytes, end) && bytes[end - 1] == b's' && bytes[end - 2] != b's';
    if plural { letters } else { 0 }
}

/// Whether a code begins here: a short number after one of the code words.
fn is_code(bytes: &[u8], at: usize) -> bool {
    let sign = usize::from(matches!(bytes[at], b'-'));
    let length = sign + word_length(bytes, at + sign);
    if length > CODE_BYTES + sign || !bytes.get(at + sign).is_some_and(u8::is_ascii_digit) {
        return false;
    }
    let before = &bytes[at.saturating_sub(24)..at];
    let word_end = before.iter().rposition(|b| !b" :=(#[-".contains(b)).map_or(0, |last| last + 1);
    let between = &before[word_end..];
    if between.is_empty() || between.len() > 3 {
        return false;
    }
    let letters = before[..word_end].iter().rev().take_while(|b| b.is_ascii_alphabetic()).count();
    let word = &before[word_end - letters..word_end];
    let is_one_of = |words: &[&str]| words.iter().any(|w| word.eq_ignore_ascii_case(w.as_bytes()));
    is_one_of(&CODE_WORDS) || (between == b" " && is_one_of(&CODE_WORDS_BEFORE_A_SPACE))
}

/// An address and the port after it: `10.0.0.7:5432`, `::1:5432`, `[fd00::1]:53`, `:::3000`.
fn address_with_port(bytes: &[u8], at: usize) -> Option<usize> {
    let port = |end: usize| {
        let digits =
            bytes.get(end + 1..).map_or(0, |rest| rest.iter().take_while(|b| b.is_ascii_digit()).count());
        if bytes.get(end) == Some(&b':') && digits > 0 { end + 1 + digits } else { end }
    };
    let bracket = usize::from(bytes[at] == b'[');
    let from = at + bracket;
    let candidate =
        bytes[from..].iter().take(46).take_while(|b| b.is_ascii_hexdigit() || **b == b':').count();
    let text = std::str::from_utf8(&bytes[from..from + candidate]).ok()?;
    // A name such as `a::b` has no digit.
    if text.contains("::") && text.bytes().any(|b| b.is_ascii_digit()) && ends_at(bytes, from + candidate) {
        let head = text.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        let is_address = |text: &str| text.parse::<Ipv6Addr>().is_ok();
        if is_address(text) || head.is_some_and(|(head, _)| is_address(head)) {
            let end = from + candidate;
            let closed = bracket == 1 && bytes.get(end) == Some(&b']');
            return Some(if closed { port(end + 1) } else { end } - at).filter(|_| closed || bracket == 0);
        }
    }
    if bracket == 1 || !is_word(bytes[at]) {
        return None;
    }
    address(bytes, at).map(|length| port(at + length) - at)
}

/// `04:9f:3c:11`, four pairs or more.
fn hexadecimal_pairs(bytes: &[u8], at: usize) -> Option<usize> {
    let mut end = at;
    let mut pairs = 0;
    while word_length(bytes, end.min(bytes.len())) == 2
        && bytes[end..end + 2].iter().all(u8::is_ascii_hexdigit)
    {
        pairs += 1;
        end += 2;
        if bytes.get(end) != Some(&b':') {
            break;
        }
        end += 1;
    }
    (pairs >= 4).then(|| end - at - usize::from(bytes[end - 1] == b':'))
}

/// `0x0` and longer.
fn pointer(bytes: &[u8], at: usize) -> Option<usize> {
    let length = word_length(bytes, at);
    let digits = bytes[at..at + length].strip_prefix(b"0x")?;
    (!digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit)).then_some(length)
}

/// A random name: a ULID, a long word of mixed letters and digits such as base64, or a suffix of a
/// Kubernetes pod.
fn random_name(bytes: &[u8], at: usize) -> Option<usize> {
    let length = word_length(bytes, at);
    let word = &bytes[at..at + length];
    let digits = word.iter().filter(|b| b.is_ascii_digit()).count();
    let is_ulid =
        length == 26 && digits > 0 && word.iter().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    let kind = |b: &u8| (b.is_ascii_digit(), b.is_ascii_uppercase());
    let changes = word.windows(2).filter(|pair| kind(&pair[0]) != kind(&pair[1])).count();
    // `Base64EncoderTest` has fewer changes between the kinds of characters.
    let is_mixed = length >= 16 && digits > 0 && changes * 5 > length * 2;
    let after_hyphen = at > 0 && bytes[at - 1] == b'-';
    let is_ending = after_hyphen
        && length == 5
        && has_kubernetes_alphabet(word)
        && (digits > 0 || follows_template_hash(bytes, at));
    let is_hash = after_hyphen && is_template_hash(word);
    (is_ulid || is_mixed || is_ending || is_hash).then_some(length)
}

/// Kubernetes uses only letters and digits that can't spell words (`SafeEncodeString`).
fn has_kubernetes_alphabet(word: &[u8]) -> bool {
    word.iter().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(b))
}

/// A pod's template hash: `7d9f8b6c5`.
fn is_template_hash(word: &[u8]) -> bool {
    (8..=10).contains(&word.len())
        && has_kubernetes_alphabet(word)
        && word.iter().filter(|b| b.is_ascii_digit()).count() >= 2
}

fn follows_template_hash(bytes: &[u8], at: usize) -> bool {
    let before = &bytes[at.saturating_sub(12)..at - 1];
    before
        .rsplit(|b| *b == b'-')
        .next()
        .is_some_and(|word| word.len() < before.len() && is_template_hash(word))
}

/// A number with its separators, exponent, units and pre-release: `1,204.5`, `1.2e-3`, `1m02s`, `2.02 MiB`, `v2.3.1-rc.2`.
fn quantity(bytes: &[u8], at: usize) -> Option<usize> {
    let version_mark = usize::from(matches!(bytes.get(at), Some(b'v' | b'V')));
    let (mut end, parts) = numeral(bytes, at + version_mark)?;
    if version_mark == 1 && parts < 2 {
        return None;
    }
    if parts >= 2 {
        end += pre_release(bytes, end);
    }
    while let Some(after) = unit(bytes, end) {
        end = after;
        // `1m02s` and `1m 02s` continue with a number.
        let space = usize::from(bytes.get(end) == Some(&b' '));
        match numeral(bytes, end + space).filter(|(further, _)| bytes.get(*further) != Some(&b' ')) {
            Some((further, _)) if unit(bytes, further).is_some() => end = further,
            _ => break,
        }
    }
    Some(end - at)
}

/// The end of digits with separators and exponent, and the number of separated parts.
fn numeral(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let digits =
        |from: usize| bytes.get(from..).map_or(0, |b| b.iter().take_while(|b| b.is_ascii_digit()).count());
    let mut end = at + digits(at);
    if end == at {
        return None;
    }
    let mut parts = 1;
    while matches!(bytes.get(end), Some(b'.' | b',')) && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
        parts += 1;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'-' | b'+')));
        let exponent = digits(end + 1 + sign);
        if exponent > 0 && ends_at(bytes, end + 1 + sign + exponent) {
            end += 1 + sign + exponent;
        }
    }
    Some((end, parts))
}

/// The end of a unit that follows directly or after a space.
fn unit(bytes: &[u8], at: usize) -> Option<usize> {
    let space = usize::from(bytes.get(at) == Some(&b' '));
    let from = at + space;
    let letters = bytes.get(from..)?.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    let word = &bytes[from..from + letters];
    let is_unit = UNITS.iter().any(|unit| word.eq_ignore_ascii_case(unit.as_bytes()));
    let is_alone = ends_at(bytes, from + letters) || (space == 0 && bytes[from + letters].is_ascii_digit());
    let is_clear = space == 0 || letters > 1 || word == b"s";
    (is_unit && is_alone && is_clear).then_some(from + letters)
}

/// Length of a pre-release suffix such as `-rc.2` or `-SNAPSHOT`.
fn pre_release(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at) != Some(&b'-') {
        return 0;
    }
    let letters = bytes[at + 1..].iter().take_while(|b| b.is_ascii_alphabetic()).count();
    let word = &bytes[at + 1..at + 1 + letters];
    if !PRE_RELEASES.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes())) {
        return 0;
    }
    let number = bytes[at + 1 + letters..].iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
    1 + letters + number
}
