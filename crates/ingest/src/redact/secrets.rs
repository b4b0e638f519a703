//! Finds secrets of a known shape anywhere in a text, in one pass. A table names the bytes at which a
//! shape can be recognized, and only these are examined. A text without a known shape or label is
//! never guessed to be a secret.

#[cfg(test)]
mod tests;

use std::ops::Range;

use super::labels;

/// Replaces a secret.
pub(super) const MASK: &str = "[redacted]";
/// No shape is shorter, bytes.
const SHORTEST: usize = 7;

/// The bytes at which a shape can be recognized. All others are skipped.
static TRIGGERS: [bool; 256] = {
    let mut table = [false; 256];
    let bytes = *b"_-AJ =:";
    let mut i = 0;
    while i < bytes.len() {
        table[bytes[i] as usize] = true;
        i += 1;
    }
    table
};

/// A token with a fixed prefix.
struct Prefixed {
    /// The last byte is in `TRIGGERS`.
    prefix: &'static [u8],
    /// Fewest bytes after the prefix.
    fewest: usize,
    /// Which bytes can follow the prefix.
    is_part: fn(u8) -> bool,
    /// The prefix has to begin a word, because it is also the end of longer words: `task_test_`.
    begins_word: bool,
}

const fn prefixed(prefix: &'static [u8], fewest: usize, is_part: fn(u8) -> bool) -> Prefixed {
    Prefixed { prefix, fewest, is_part, begins_word: false }
}

const fn prefixed_word(prefix: &'static [u8], fewest: usize, is_part: fn(u8) -> bool) -> Prefixed {
    Prefixed { prefix, fewest, is_part, begins_word: true }
}

fn is_base62(b: u8) -> bool {
    b.is_ascii_alphanumeric()
}

fn is_base64url(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b)
}

/// Tokens of GitHub, npm, Docker, Stripe, Hugging Face and Pacegate. The trigger is an underscore.
static BY_UNDERSCORE: [Prefixed; 15] = [
    prefixed(b"ghp_", 30, is_base64url),
    prefixed(b"gho_", 30, is_base64url),
    prefixed(b"ghu_", 30, is_base64url),
    prefixed(b"ghs_", 30, is_base64url),
    prefixed(b"ghr_", 30, is_base64url),
    prefixed(b"github_pat_", 22, is_base64url),
    prefixed(b"npm_", 36, is_base62),
    prefixed(b"dckr_pat_", 20, is_base64url),
    prefixed(b"sk_live_", 16, is_base62),
    prefixed(b"rk_live_", 16, is_base62),
    prefixed_word(b"sk_test_", 16, is_base62),
    prefixed_word(b"rk_test_", 16, is_base62),
    prefixed_word(b"hf_", 30, is_base62),
    prefixed(b"pgt_", 32, is_base62),
    prefixed(b"pgg_", 32, is_base62),
];
/// Tokens of GitLab, Slack, `OpenAI` and `PyPI`. The trigger is a hyphen.
static BY_HYPHEN: [Prefixed; 13] = [
    prefixed(b"glpat-", 20, is_base64url),
    prefixed(b"glrt-", 20, is_base64url),
    prefixed(b"xoxa-", 10, is_base64url),
    prefixed(b"xoxb-", 10, is_base64url),
    prefixed(b"xoxc-", 10, is_base64url),
    prefixed(b"xoxd-", 10, is_base64url),
    prefixed(b"xoxe-", 10, is_base64url),
    prefixed(b"xoxp-", 10, is_base64url),
    prefixed(b"xoxr-", 10, is_base64url),
    prefixed(b"xoxs-", 10, is_base64url),
    prefixed(b"xapp-", 10, is_base64url),
    prefixed(b"pypi-", 40, is_base64url),
    prefixed_word(b"sk-proj-", 20, is_base64url),
];

/// Replaces every secret of a known shape. Returns `true` if there was one.
pub(super) fn mask(text: &mut String) -> bool {
    let Some(masked) = masked(text.as_bytes()) else { return false };
    // Shapes begin and end next to ASCII, so the rest is still UTF-8.
    *text = String::from_utf8(masked).unwrap_or_else(|_| MASK.to_owned());
    true
}

/// `true` if the text contains a secret of a known shape.
pub(super) fn has_secret(text: &str) -> bool {
    find(text.as_bytes(), 0).is_some()
}

/// The bytes with every secret of a known shape masked, or `None` if there is no secret.
pub(super) fn masked(text: &[u8]) -> Option<Vec<u8>> {
    let mut found = find(text, 0)?;
    let mut masked = Vec::with_capacity(text.len());
    let mut copied = 0;
    loop {
        masked.extend(&text[copied..found.start.max(copied)]);
        masked.extend(MASK.as_bytes());
        copied = found.end;
        match find(text, copied) {
            Some(next) => found = next,
            None => break,
        }
    }
    masked.extend(&text[copied..]);
    Some(masked)
}

/// The first secret whose trigger is at or after `from`. The text is treated as if it began at `from`.
/// Each byte is examined a few times at most, so the time is linear.
fn find(text: &[u8], from: usize) -> Option<Range<usize>> {
    if text.len() - from < SHORTEST {
        return None;
    }
    let is_candidate = |at: usize| TRIGGERS[usize::from(text[at])] && is_likely(text, at);
    (from..text.len()).filter(|at| is_candidate(*at)).find_map(|at| secret_at(text, from, at))
}

/// The secret whose trigger is at `at`. It is not inlined, so that the loop over other bytes is short.
#[cold]
#[inline(never)]
fn secret_at(text: &[u8], from: usize, at: usize) -> Option<Range<usize>> {
    let found = match text[at] {
        b'_' => BY_UNDERSCORE.iter().find_map(|shape| with_prefix(text, from, at, shape)),
        b'-' => private_key(text, from, at)
            .or_else(|| BY_HYPHEN.iter().find_map(|shape| with_prefix(text, from, at, shape)))
            .or_else(|| labels::argument(text, from, at)),
        b'A' => access_key(text, from, at),
        b'J' => json_web_token(text, from, at),
        b' ' => credentials(text, from, at),
        b':' => user_of_address(text, at).or_else(|| labels::labelled(text, from, at)),
        _ => labels::labelled(text, from, at),
    };
    found.filter(|found| text[found.clone()] != *MASK.as_bytes())
}

/// Checks the neighbours of a trigger byte, which are fixed in every shape. This skips most triggers.
#[inline]
fn is_likely(text: &[u8], at: usize) -> bool {
    let before = |n: usize| at.checked_sub(n).map_or(0, |at| text[at]);
    let after = |n: usize| text.get(at + n).copied().unwrap_or(0);
    match text[at] {
        b'_' => matches!(
            (before(2), before(1)),
            (b'h', b'p' | b'o' | b'u' | b's' | b'r' | b'f')
                | (b'a' | b'g' | b's', b't')
                | (b'p', b'm')
                | (b'g', b'g')
                | (b'v', b'e')
        ),
        b'-' => {
            after(1) == b'-'
                || matches!(
                    (before(2), before(1)),
                    (b'a' | b'r', b't')
                        | (b'x', b'a' | b'b' | b'c' | b'd' | b'e' | b'p' | b'r' | b's')
                        | (b'p', b'p' | b'i')
                        | (b'o', b'j')
                )
        }
        b'A' => matches!(after(1), b'K' | b'S' | b'I'),
        b'J' => before(1) == b'y',
        b' ' => matches!(before(1) | 0x20, b'r' | b'c'),
        b':' => after(1) == b'/' || labels::may_label(before(1)),
        _ => labels::may_label(before(1)),
    }
}

/// `true` if a word can begin at `start`.
fn begins(text: &[u8], from: usize, start: usize) -> bool {
    start == from || !text[start - 1].is_ascii_alphanumeric()
}

/// The number of bytes from `start` on that satisfy `is_part`.
fn run(text: &[u8], start: usize, is_part: impl Fn(u8) -> bool) -> usize {
    text[start.min(text.len())..].iter().take_while(|b| is_part(**b)).count()
}

/// Matches a token whose prefix ends at `at`.
fn with_prefix(text: &[u8], from: usize, at: usize, shape: &Prefixed) -> Option<Range<usize>> {
    let start = (at + 1).checked_sub(shape.prefix.len()).filter(|start| *start >= from)?;
    if text[start..=at] != *shape.prefix || (shape.begins_word && !begins(text, from, start)) {
        return None;
    }
    let body = at + 1;
    // Reads only the fewest bytes, so that a text of repeated prefixes takes linear time.
    let enough = text.get(body..body + shape.fewest)?.iter().all(|b| (shape.is_part)(*b));
    // A GitHub installation token can contain a JSON Web Token with full stops.
    enough.then(|| {
        start..body + run(text, body, |b| (shape.is_part)(b) || (b == b'.' && shape.prefix == b"ghs_"))
    })
}

/// Matches keys of AWS (`AKIA` or `ASIA` and 16 capitals and digits) and Google (`AIza` and 35 bytes).
fn access_key(text: &[u8], from: usize, at: usize) -> Option<Range<usize>> {
    if !begins(text, from, at) {
        return None;
    }
    let (length, is_part): (usize, fn(u8) -> bool) = match text.get(at..at + 4)? {
        b"AKIA" | b"ASIA" => (16, |b| b.is_ascii_uppercase() || b.is_ascii_digit()),
        b"AIza" => (35, is_base64url),
        _ => return None,
    };
    let end = at + 4 + length;
    let fits = text.get(at + 4..end)?.iter().all(|b| is_part(*b));
    (fits && !text.get(end).is_some_and(u8::is_ascii_alphanumeric)).then_some(at..end)
}

/// Matches `eyJ…` and two more parts after full stops. The last part can be cut off or empty.
fn json_web_token(text: &[u8], from: usize, at: usize) -> Option<Range<usize>> {
    let start = at.checked_sub(2).filter(|start| *start >= from)?;
    // Only at the beginning of a part: else a text of repeated `eyJ` would take quadratic time.
    if text[start..at] != *b"ey" || (start > from && is_base64url(text[start - 1])) {
        return None;
    }
    let header = start + run(text, start, is_base64url);
    if header - start < 10 || text.get(header) != Some(&b'.') {
        return None;
    }
    let payload = header + 1 + run(text, header + 1, is_base64url);
    if payload - header < 10 {
        return None;
    }
    let signature =
        if text.get(payload) == Some(&b'.') { 1 + run(text, payload + 1, is_base64url) } else { 0 };
    Some(start..payload + signature)
}

/// Matches a private key in PEM, even if it is cut off at either end.
fn private_key(text: &[u8], from: usize, at: usize) -> Option<Range<usize>> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const END: &[u8] = b"-----END ";
    let rest = &text[at..];
    let is_private = |prefix: &[u8]| {
        let label = &rest[prefix.len()..rest.len().min(prefix.len() + 40)];
        rest.starts_with(prefix) && label.windows(11).any(|part| part == b"PRIVATE KEY")
    };
    if rest.starts_with(BEGIN) && is_private(BEGIN) {
        let end = rest.windows(END.len()).position(|part| part == END).map_or(text.len(), |end| {
            let dashes = &rest[end + END.len()..];
            let dashes = &dashes[..dashes.len().min(60)];
            let line = dashes.windows(5).position(|part| part == b"-----");
            line.map_or(text.len(), |line| at + end + END.len() + line + 5)
        });
        return Some(at..end);
    }
    if !(rest.starts_with(END) && is_private(END)) {
        return None;
    }
    // The beginning is cut off: the key's body is the Base64 before its last line.
    let is_body = |b: &u8| b.is_ascii_alphanumeric() || b"+/=\\\r\n".contains(b);
    let start = text[from..at].iter().rposition(|b| !is_body(b)).map_or(from, |last| from + last + 1);
    let line = rest[END.len()..].windows(5).take(60).position(|part| part == b"-----");
    Some(start..line.map_or(text.len(), |line| at + END.len() + line + 5))
}

/// Matches the credential after `Bearer ` or `Basic `. Words of a sentence are not matched.
fn credentials(text: &[u8], from: usize, at: usize) -> Option<Range<usize>> {
    let follows = |word: &[u8]| {
        at.checked_sub(word.len())
            .filter(|start| *start >= from)
            .is_some_and(|start| text[start..at].eq_ignore_ascii_case(word) && begins(text, from, start))
    };
    let is_bearer = follows(b"bearer");
    if !is_bearer && !follows(b"basic") {
        return None;
    }
    let value = at + 1;
    let end = value + run(text, value, is_token);
    let token = &text[value..end];
    let has_digit = token.iter().any(u8::is_ascii_digit);
    let is_credential = if is_bearer {
        token.len() >= 8 && (has_digit || token.len() >= 32)
    } else {
        // Base64 of USER:PASSWORD has letters of both cases, or padding.
        let mixed =
            token.iter().skip(1).any(u8::is_ascii_uppercase) && token.iter().any(u8::is_ascii_lowercase);
        token.len() >= 8 && (token.ends_with(b"=") || (mixed && (has_digit || token.len().is_multiple_of(4))))
    };
    is_credential.then_some(value..end)
}

/// Matches `USER:PASSWORD` of an address: the text between `://` and the last `@` of the authority. If
/// the password contains an unescaped `/`, `?` or `#`, the last `@` of the whole address counts.
fn user_of_address(text: &[u8], at: usize) -> Option<Range<usize>> {
    if text.get(at + 1..at + 3)? != b"//" {
        return None;
    }
    let start = at + 3;
    let is_part = |b: u8| !b.is_ascii_whitespace() && !b"\"'<>\\`".contains(&b);
    let authority = &text[start..start + run(text, start, |b| is_part(b) && !b"/?#".contains(&b))];
    let last = |part: &[u8]| part.iter().rposition(|b| *b == b'@');
    let host = &authority[last(authority).map_or(0, |at| at + 1)..];
    let user = if is_host(host) {
        &authority[..last(authority)?]
    } else {
        // Stops before the next address, which is matched separately. So the time stays linear.
        let is_next = |at: usize| text[at] == b':' && text[at..].starts_with(b"://");
        let length = (start..text.len()).take_while(|at| is_part(text[*at]) && !is_next(*at)).count();
        let whole = &text[start..start + length];
        &whole[..last(whole)?]
    };
    // A user name is not a secret. A token without a user name has its own shape.
    user.contains(&b':').then_some(start..start + user.len())
}

/// `true` for a host with or without a port. Other text after a colon is part of a password.
fn is_host(host: &[u8]) -> bool {
    host.first() == Some(&b'[')
        || host.iter().position(|b| *b == b':').is_none_or(|colon| {
            let port = &host[colon + 1..];
            port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
        })
}
