//! Splits the body of an upload. Its first gzip member is a line with the manifest. The files of the
//! manifest follow unchanged. Refuses bytes after the last file.

use std::io::Read;

use flate2::bufread::GzDecoder;
use serde::Deserialize;

use super::error::cut;
use super::manifest::FileEntry;
use super::{ARCHIVE_BYTES, ArchiveError, MANIFEST_BYTES, MANIFEST_FILE, Manifest, REPORTS_FILE, SPANS_FILE};

#[derive(Deserialize)]
#[serde(expecting = "the first line to be {\"manifest\": {...}}")]
struct Line {
    manifest: Manifest,
}

/// Returns the manifest and the bytes after its gzip member.
pub(super) fn manifest(body: &[u8]) -> Result<(Manifest, &[u8]), ArchiveError> {
    if body.len() > ARCHIVE_BYTES {
        return Err(ArchiveError::TooLarge { limit: ARCHIVE_BYTES as u64 });
    }
    let mut rest = body;
    let mut line = Vec::new();
    let mut member = GzDecoder::new(&mut rest).take(MANIFEST_BYTES as u64 + 1);
    let inflated = member.read_to_end(&mut line);
    inflated.map_err(|e| ArchiveError::Gzip { file: MANIFEST_FILE, reason: cut(&e.to_string()) })?;
    if line.len() > MANIFEST_BYTES {
        return Err(ArchiveError::LargeManifest);
    }
    let read: Line =
        serde_json::from_slice(&line).map_err(|e| ArchiveError::Manifest(cut(&e.to_string())))?;
    Ok((read.manifest.checked()?, rest))
}

/// The bytes of the spans file and of the reports file.
type FileSlices<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// Splits `rest` by the file sizes in the manifest.
pub(super) fn files<'a>(manifest: &Manifest, rest: &'a [u8]) -> Result<FileSlices<'a>, ArchiveError> {
    let (spans, rest) = file(manifest.file(SPANS_FILE), SPANS_FILE, rest)?;
    let (reports, rest) = file(manifest.file(REPORTS_FILE), REPORTS_FILE, rest)?;
    if rest.is_empty() { Ok((spans, reports)) } else { Err(ArchiveError::TrailingBytes(rest.len())) }
}

fn file<'a>(
    entry: Option<&FileEntry>,
    file: &'static str,
    rest: &'a [u8],
) -> Result<(Option<&'a [u8]>, &'a [u8]), ArchiveError> {
    let Some(entry) = entry else { return Ok((None, rest)) };
    let length = usize::try_from(entry.bytes).ok().filter(|length| *length <= rest.len());
    let Some(length) = length else { return Err(ArchiveError::Altered { file, what: "size" }) };
    let (content, rest) = rest.split_at(length);
    Ok((Some(content), rest))
}
