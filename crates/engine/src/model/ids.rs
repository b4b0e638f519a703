//! Newtypes for every identifier, so that the compiler refuses a trace in place of a commit, or a row
//! number in place of a pull request number. Text becomes an identifier only by parsing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The reason why a value is not a valid identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is not `OWNER/NAME` in GitHub's alphabet.
    #[error("`{0}` is not a repository: write it as OWNER/NAME")]
    Repo(String),
    #[error("`{0}` is not a commit: 7 to 64 hexadecimal digits are expected")]
    Commit(String),
    /// The length is wrong, or all bytes are zero.
    #[error("a {what} has {expected} bytes that are not all zero, this one has {got}")]
    TraceContext {
        /// "trace id" or "span id".
        what: &'static str,
        /// Length that the W3C Trace Context specification requires, bytes.
        expected: usize,
        got: usize,
    },
}

/// Row number of a repository in the store. It is the first column of every key of the big tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RepoId(pub i64);

/// GitHub's number of an App installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstallationId(pub i64);

/// Number of a pull request within its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PrNumber(pub i64);

impl fmt::Display for PrNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Row identifier of a pipeline run: a ULID, which sorts as text in the order of time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub String);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identifier of a stored comparison: a ULID.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ComparisonId(pub String);

impl fmt::Display for ComparisonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `OWNER/NAME`, each part in GitHub's alphabet (letters, digits, `-`, `_`, `.`). It needs no escaping
/// in a path or in a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoName {
    owner: String,
    name: String,
}

impl RepoName {
    /// The account or organisation.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The name without its owner.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for RepoName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let part_is_good = |part: &str| {
            !part.is_empty()
                && part.len() <= 100
                && part != "."
                && part != ".."
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        match text.split_once('/') {
            Some((owner, name)) if part_is_good(owner) && part_is_good(name) => {
                Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
            }
            _ => Err(IdError::Repo(text.chars().take(120).collect())),
        }
    }
}

impl TryFrom<String> for RepoName {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<RepoName> for String {
    fn from(repo: RepoName) -> Self {
        repo.to_string()
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

/// A commit: 7 to 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitSha(String);

impl CommitSha {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first seven digits, for display.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

impl FromStr for CommitSha {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if (7..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(IdError::Commit(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for CommitSha {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<CommitSha> for String {
    fn from(sha: CommitSha) -> Self {
        sha.0
    }
}

impl fmt::Display for CommitSha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! trace_context_id {
    ($name:ident, $bytes:literal, $what:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Reads the bytes in the order of the wire.
            ///
            /// # Errors
            /// [`IdError::TraceContext`] when the length is wrong or every byte is zero.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
                match <[u8; $bytes]>::try_from(bytes) {
                    Ok(id) if id != [0; $bytes] => Ok(Self(id)),
                    _ => Err(IdError::TraceContext { what: $what, expected: $bytes, got: bytes.len() }),
                }
            }

            /// The bytes, in the order of the wire.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let wrong = IdError::TraceContext { what: $what, expected: $bytes, got: text.len() / 2 };
                if text.len() != 2 * $bytes {
                    return Err(wrong);
                }
                let mut bytes = [0; $bytes];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| wrong)?;
                Self::from_bytes(&bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

trace_context_id!(TraceId, 16, "trace id", "A W3C Trace Context trace id: 16 bytes, not all zero.");
trace_context_id!(SpanId, 8, "span id", "A W3C Trace Context span id: 8 bytes, not all zero.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_names_are_safe_in_paths() {
        assert_eq!("acme/my-app".parse::<RepoName>().map(|r| r.to_string()), Ok("acme/my-app".into()));
        for bad in ["", "acme", "acme/", "/x", "a/b/c", "../x", "a/..", "a b/c", "a/b?c", "ä/b"] {
            assert!(bad.parse::<RepoName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn commits_are_lower_case_hexadecimal() {
        assert_eq!("ABCDEF0".parse::<CommitSha>().map(|c| c.short().to_owned()), Ok("abcdef0".into()));
        for bad in ["abcdef", "xyzxyzx", &"a".repeat(65)] {
            assert!(bad.parse::<CommitSha>().is_err(), "{bad}");
        }
    }

    #[test]
    fn trace_context_ids_check_length_and_zero() {
        assert!("5B8EFFF798038103D269B633813FC60C".parse::<TraceId>().is_ok());
        assert!(TraceId::from_bytes(&[0; 16]).is_err());
        assert!(TraceId::from_bytes(&[1; 8]).is_err());
        assert!("eee19b7ec3c1b17".parse::<SpanId>().is_err());
        assert!("eee19b7ec3c1b17é".parse::<SpanId>().is_err());
    }
}
