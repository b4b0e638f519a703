//! Decides by an attribute's key whether its value is a secret. The operator's patterns have the same
//! effect as the built-in ones.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// A key that contains one of these holds a secret. The search looks for the rarest byte of each.
const SECRET_WORDS: [&str; 10] = [
    "password",
    "passwd",
    "pwd",
    "token",
    "secret",
    "key",
    "cookie",
    "credential",
    "authorization",
    "passphrase",
];
/// A key with this ending after a `.`, `_` or `-` holds a secret too: `db.pass`, but not `bypass`.
const LAST_WORD: &[u8] = b"pass";
/// A match inside of one of these is harmless.
const HARMLESS_WORDS: [&str; 34] = [
    "primary_key",
    "primarykey",
    "foreign_key",
    "partition_key",
    "routing_key",
    "ordering_key",
    "sort_key",
    "public_key",
    "message.key",
    "cache.key",
    "cache_key",
    "cache-key",
    "cachekey",
    "stage_key",
    "stage.key",
    "idempotency_key",
    "project_key",
    "projectkey",
    "keyspace",
    "keyboard",
    "keyword",
    "monkey",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "max_tokens",
    "token_type",
    "token.type",
    "test.pass",
    "test_pass",
    "tests.pass",
    "tests_pass",
    "result.pass",
    "render_pass",
];
/// For each entry of `SECRET_WORDS`: the rarest byte, its offset in the entry, the entry's index.
static SCAN: [(u8, usize, usize); 10] = [
    (b'w', 4, 0), // password
    (b'w', 4, 1), // passwd
    (b'w', 1, 2), // pwd
    (b'k', 2, 3), // token
    (b'c', 2, 4), // secret
    (b'k', 0, 5), // key
    (b'k', 3, 6), // cookie
    (b'c', 0, 7), // credential
    (b'z', 7, 8), // authorization
    (b'p', 4, 9), // passphrase
];
/// Most patterns that an operator can add to either list.
const MAX_PATTERNS: usize = 200;

/// The rules about keys.
#[derive(Debug, Clone, Default)]
pub(super) struct SecretKeys {
    words: Vec<String>,
    globs: GlobSet,
    harmless_words: Vec<String>,
    harmless_globs: GlobSet,
}

impl SecretKeys {
    /// Adds comma-separated patterns to the built-in ones. A pattern is a part of a key, or a glob
    /// (`*`, `?`, `[…]`) over a whole key. Case is ignored.
    pub(super) fn new(secret: &str, harmless: &str) -> Result<Self, String> {
        let (words, globs) = patterns(secret)?;
        let (harmless_words, harmless_globs) = patterns(harmless)?;
        Ok(Self { words, globs, harmless_words, harmless_globs })
    }

    /// `true` if the value under this key is a secret.
    pub(super) fn contains(&self, key: &str) -> bool {
        let is_secret = built_in(key.as_bytes(), &self.harmless_words)
            || ends_in_pass(key.as_bytes(), &self.harmless_words)
            || (!self.words.is_empty() && self.has_word(key))
            || (!self.globs.is_empty() && self.globs.is_match(key));
        is_secret && (self.harmless_globs.is_empty() || !self.harmless_globs.is_match(key))
    }

    fn has_word(&self, key: &str) -> bool {
        let key = key.to_ascii_lowercase();
        self.words.iter().any(|word| {
            key.match_indices(word.as_str())
                .any(|(at, found)| !is_covered(key.as_bytes(), at, found.len(), &self.harmless_words))
        })
    }
}

fn built_in(key: &[u8], harmless: &[String]) -> bool {
    key.iter().enumerate().any(|(at, byte)| {
        let byte = byte.to_ascii_lowercase();
        let next = key.get(at + 1).map_or(0, u8::to_ascii_lowercase);
        // The pairs of bytes at that offset in `SECRET_WORDS`. This check skips most bytes.
        matches!(
            (byte, next),
            (b'k', b'e' | b'i') | (b'w', b'o' | b'd') | (b'c', b'r') | (b'z', b'a') | (b'p', b'h')
        ) && SCAN.iter().any(|(rare, before, word)| {
            let word = SECRET_WORDS[*word].as_bytes();
            *rare == byte
                && at.checked_sub(*before).is_some_and(|start| {
                    key.get(start..start + word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word))
                        && !is_covered(key, start, word.len(), harmless)
                })
        })
    })
}

fn ends_in_pass(key: &[u8], harmless: &[String]) -> bool {
    let Some(at) = key.len().checked_sub(LAST_WORD.len()).filter(|at| *at > 0) else { return false };
    matches!(key[at - 1], b'.' | b'_' | b'-')
        && key[at..].eq_ignore_ascii_case(LAST_WORD)
        && !is_covered(key, at, LAST_WORD.len(), harmless)
}

/// `true` if the match at `at` is inside of a harmless word.
fn is_covered(key: &[u8], at: usize, length: usize, more: &[String]) -> bool {
    let built_in = HARMLESS_WORDS.iter().copied();
    built_in.chain(more.iter().map(String::as_str)).map(str::as_bytes).any(|harmless| {
        // Tries every position at which the harmless word would contain the match.
        let first = (at + length).saturating_sub(harmless.len());
        (first..=at).any(|start| {
            start + harmless.len() >= at + length
                && key
                    .get(start..start + harmless.len())
                    .is_some_and(|part| part.eq_ignore_ascii_case(harmless))
        })
    })
}

fn patterns(list: &str) -> Result<(Vec<String>, GlobSet), String> {
    let (mut words, mut globs) = (Vec::new(), GlobSetBuilder::new());
    let wrong = |pattern: &str, why: &str| format!("`{pattern}` is not a pattern of keys: {why}");
    for (n, pattern) in list.split(',').map(str::trim).filter(|p| !p.is_empty()).enumerate() {
        if n == MAX_PATTERNS || pattern.len() > 200 {
            return Err(wrong(pattern, "at most 200 patterns of 200 bytes are allowed"));
        }
        if pattern.contains(['*', '?', '[', '{']) {
            let glob = GlobBuilder::new(pattern).case_insensitive(true).build();
            globs.add(glob.map_err(|e| wrong(pattern, &e.kind().to_string()))?);
        } else {
            words.push(pattern.to_ascii_lowercase());
        }
    }
    let globs = globs.build().map_err(|e| wrong(list, &e.kind().to_string()))?;
    Ok((words, globs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_words_match_unless_inside_harmless_ones() {
        let keys = SecretKeys::default();
        for key in [
            "password",
            "db.Password",
            "PASSWD",
            "sudo_pwd",
            "api_token",
            "x-api-key",
            "apikey",
            "api-key",
            "SecretName",
            "http.request.header.Authorization",
            "set-cookie",
            "aws.credentials",
            "primary_key_secret",
            "ssh-key",
            "cache.key.token",
            "key",
            "token",
            "monkeykey",
            "gpg.passphrase",
            "PassPhrase",
            "db.pass",
            "DB_PASS",
            "smtp-pass",
        ] {
            assert!(keys.contains(key), "{key}");
        }
        for key in [
            "",
            "k",
            "primary_key",
            "Cache.Key",
            "messaging.rabbitmq.destination.routing_key",
            "keyboard.layout",
            "gen_ai.usage.input_tokens",
            "stage.name",
            "cicd.pipeline.name",
            "monkey.count",
            "author",
            "kekeke",
            "pass",
            "compass",
            "nav.bypass",
            "db.pass.count",
            "test.pass",
            "phase",
            "vcs.ref.head.revision",
        ] {
            assert!(!keys.contains(key), "{key}");
        }
    }

    #[test]
    fn operator_adds_to_both_lists() {
        let keys = SecretKeys::new("IBAN, customer.*.mail ,", "sonar.Token,pact_*_key").expect("patterns");
        for (key, is_secret) in [
            ("payment.Iban", true),
            ("customer.7.mail", true),
            ("customer.mail", false),
            ("sonar.token", false),
            ("sonar.token.secret", true),
            ("pact_broker_key", false),
            ("other_key", true),
        ] {
            assert_eq!(keys.contains(key), is_secret, "{key}");
        }
        let wrong = SecretKeys::new("a[", "").expect_err("no glob");
        assert!(wrong.contains("`a[` is not a pattern"), "{wrong}");
        assert!(SecretKeys::new(&"a,".repeat(201), "").is_err());
    }
}
