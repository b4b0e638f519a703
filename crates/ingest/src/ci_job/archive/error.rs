//! Why what a job shipped is refused as a whole. Each text goes to a log or to the sender; names
//! out of the archive are cut and quoted.

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// More than is read of one job.
    #[error("it is larger than {} MiB: lower the action's max-size", limit >> 20)]
    TooLarge {
        /// Bytes.
        limit: u64,
    },
    /// A manifest that the action does not write.
    #[error("its manifest is larger than {} KiB", super::MANIFEST_BYTES >> 10)]
    LargeManifest,
    /// No zip, or one that contradicts itself.
    #[error("it is no zip that can be read: {0}")]
    NotAZip(String),
    /// An archive has at most three files.
    #[error("it says that it holds {0} files; the action writes at most 3")]
    TooManyFiles(u64),
    /// A path out of the archive, a folder, a link, or anything else that the action doesn't write.
    #[error("it holds {0:?}, which the action does not write")]
    UnknownFile(String),
    /// One of the files twice.
    #[error("it holds {0} twice")]
    Twice(&'static str),
    /// No such file although the manifest lists it, or there is no manifest.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Not in the manifest's list.
    #[error("{0} is not in the manifest's list of files")]
    Unlisted(&'static str),
    /// Not those bytes that the manifest was written for.
    #[error("{file} is not what the manifest says: its {what} differs")]
    Altered {
        /// Which file.
        file: &'static str,
        /// Size, SHA-256, or inflated size.
        what: &'static str,
    },
    /// A manifest that is none.
    #[error("its manifest can't be read: {0}")]
    Manifest(String),
    /// A later action wrote it.
    #[error("its manifest is of schema {0}; this server reads 1: update the server")]
    Schema(i64),
    /// Can't be inflated.
    #[error("{file} can't be inflated: {reason}")]
    Gzip {
        /// Which file.
        file: &'static str,
        /// In flate2's words.
        reason: String,
    },
    /// A line nobody sends.
    #[error("line {line} of {file} is longer than {} MiB", limit >> 20)]
    LongLine {
        /// Which file.
        file: &'static str,
        /// From 1.
        line: usize,
        /// Bytes.
        limit: u64,
    },
    /// After the last file of an upload.
    #[error("{0} bytes follow the last file of its manifest")]
    TrailingBytes(usize),
}

/// Short enough for a log.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(120).collect()
}
