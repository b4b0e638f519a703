//! Reads one job's archive from the companion action: a manifest, spans and reports. It is the zip
//! of an artifact or the body of an upload. The input is not trusted: limits apply while it is read,
//! digests must match the manifest, and the manifest is a claim until it is compared with GitHub.
//! Does not redact the spans.

mod container;
mod contents;
mod error;
mod manifest;
mod report_files;
#[cfg(test)]
mod tests;
mod upload;

pub use self::error::ArchiveError;
pub use self::manifest::{Calibration, Expected, Manifest};
use pacegate_engine::model::span::Span;

/// Most bytes of an archive, compressed.
pub const ARCHIVE_BYTES: usize = 32 << 20;
/// Most bytes of all spans and reports of an archive, inflated. Later lines are left out.
const INFLATED_BYTES: u64 = 128 << 20;
/// Most bytes of the manifest, inflated.
const MANIFEST_BYTES: usize = 256 << 10;

const MANIFEST_FILE: &str = "manifest.json";
const SPANS_FILE: &str = "spans.jsonl.gz";
const REPORTS_FILE: &str = "reports.jsonl.gz";

#[derive(Debug, Clone, PartialEq)]
pub struct JobArchive {
    pub manifest: Manifest,
    /// Spans of the job and of its reports, all in the manifest's trace. The job's own span is not
    /// among them.
    pub spans: Vec<Span>,
    /// For the run's page or the sender: data that was left out.
    pub notes: Vec<String>,
}

impl JobArchive {
    /// Reads the zip of an artifact.
    ///
    /// # Errors
    /// [`ArchiveError`] if the whole archive is refused.
    pub fn from_zip(bytes: &[u8]) -> Result<Self, ArchiveError> {
        let files = container::files(bytes)?;
        let manifest = Manifest::read(&files.manifest)?;
        contents::read(manifest, files.spans.as_deref(), files.reports.as_deref())
    }

    /// Reads the body of an upload. It consists of gzip members: a line with the manifest, the spans,
    /// and the reports.
    ///
    /// # Errors
    /// [`ArchiveError`] if the whole archive is refused.
    pub fn from_upload(body: &[u8]) -> Result<Self, ArchiveError> {
        let (manifest, rest) = upload::manifest(body)?;
        let (spans, reports) = upload::files(&manifest, rest)?;
        contents::read(manifest, spans, reports)
    }
}
