//! Reasons to refuse a job's archive as a whole. The texts go to a log or to the sender, so names
//! from the archive are cut and quoted.

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    #[error("it is larger than {} MiB: lower the action's max-size", limit >> 20)]
    TooLarge {
        /// Bytes.
        limit: u64,
    },
    #[error("its manifest is larger than {} KiB", super::MANIFEST_BYTES >> 10)]
    LargeManifest,
    /// Not a zip, or an inconsistent zip.
    #[error("it is not a readable zip: {0}")]
    NotAZip(String),
    #[error("it claims to hold {0} files; the action writes at most 3")]
    TooManyFiles(u64),
    /// A path outside of the archive, a folder, a link, or any other entry that the action does not
    /// write.
    #[error("it holds {0:?}, which the action does not write")]
    UnknownFile(String),
    #[error("it holds {0} twice")]
    Twice(&'static str),
    /// A file that the manifest lists, or the manifest.
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is not in the manifest's list of files")]
    Unlisted(&'static str),
    #[error("{file} does not match the manifest: its {what} differs")]
    Altered {
        file: &'static str,
        /// Size, SHA-256, or inflated size.
        what: &'static str,
    },
    #[error("its manifest can't be read: {0}")]
    Manifest(String),
    /// A newer action wrote it.
    #[error("its manifest has schema {0}; this server reads schema 1: update the server")]
    Schema(i64),
    #[error("{file} can't be inflated: {reason}")]
    Gzip {
        file: &'static str,
        /// The message of flate2.
        reason: String,
    },
    #[error("line {line} of {file} is longer than {} MiB", limit >> 20)]
    LongLine {
        file: &'static str,
        /// From 1.
        line: usize,
        /// Bytes.
        limit: u64,
    },
    #[error("{0} bytes follow the last file of its manifest")]
    TrailingBytes(usize),
}

/// Cuts a text to a length that fits into a log line.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(120).collect()
}
