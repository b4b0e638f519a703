//! What the companion action ships of one job: a manifest, spans and reports, as the zip that
//! GitHub serves of an artifact or as the body of an upload. Hostile: every bound is held while
//! it is read, digests have to be the manifest's, and everything that is said is a claim until
//! somebody holds it against GitHub's word. Spans come out as they were sent: not redacted.

mod container;
mod contents;
mod error;
mod manifest;
mod report_files;
#[cfg(test)]
mod tests;
mod upload;

pub use self::error::ArchiveError;
pub use self::manifest::{Calibration, Expected, FileEntry, LeftOut, Manifest};
use pacegate_engine::model::span::Span;

/// Bytes of an archive as it is shipped.
pub const ARCHIVE_BYTES: usize = 32 << 20;
/// Bytes of all it holds when they are inflated; lines beyond are left out.
const INFLATED_BYTES: u64 = 128 << 20;
/// Bytes of the manifest.
const MANIFEST_BYTES: usize = 256 << 10;

const MANIFEST_FILE: &str = "manifest.json";
const SPANS_FILE: &str = "spans.jsonl.gz";
const REPORTS_FILE: &str = "reports.jsonl.gz";

/// What a job shipped.
#[derive(Debug, Clone, PartialEq)]
pub struct JobArchive {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Spans of the job and of its reports, all in the manifest's trace; none of them is the
    /// job's own.
    pub spans: Vec<Span>,
    /// What was left out, for people.
    pub notes: Vec<String>,
}

impl JobArchive {
    /// Reads the zip of an artifact.
    ///
    /// # Errors
    /// [`ArchiveError`]: nothing of it may be used.
    pub fn from_zip(bytes: &[u8]) -> Result<Self, ArchiveError> {
        let files = container::files(bytes)?;
        let manifest = Manifest::read(&files.manifest)?;
        contents::read(manifest, files.spans.as_deref(), files.reports.as_deref())
    }

    /// Reads the body of an upload: gzip members, of the line with the manifest, of the spans
    /// and of the reports.
    ///
    /// # Errors
    /// [`ArchiveError`]: nothing of it may be used.
    pub fn from_upload(body: &[u8]) -> Result<Self, ArchiveError> {
        let (manifest, rest) = upload::manifest(body)?;
        let (spans, reports) = upload::files(&manifest, rest)?;
        contents::read(manifest, spans, reports)
    }
}
