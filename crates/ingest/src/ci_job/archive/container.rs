//! Reads the files of a zip into memory. The end record is checked before the directory is read, so
//! that no number in the archive can cause a large allocation. Refuses unknown and repeated files.

use std::io::{Cursor, Read};

use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive};

use super::error::cut;
use super::{ARCHIVE_BYTES, ArchiveError, MANIFEST_BYTES, MANIFEST_FILE, REPORTS_FILE, SPANS_FILE};

/// Length of the end record: signature, disks, counts, size and offset of the directory, length of
/// the comment.
const END_BYTES: usize = 22;
const END_SIGNATURE: &[u8] = b"PK\x05\x06";
/// A zip64 has another record before the end record. An archive this small is not a zip64.
const ZIP64_SIGNATURE: &[u8] = b"PK\x06\x07";
const ZIP64_BYTES: usize = 20;
/// An archive with more than [`MOST_FILES`] but at most this many entries is still opened, so that the
/// error can name an unknown file.
const MOST_ENTRIES: u64 = 16;
const MOST_FILES: usize = 3;
/// Enough for 16 directory entries with long names and extra fields.
const DIRECTORY_BYTES: u64 = 64 << 10;

#[derive(Debug, Default)]
pub(super) struct Files {
    pub manifest: Vec<u8>,
    pub spans: Option<Vec<u8>>,
    pub reports: Option<Vec<u8>>,
}

pub(super) fn files(bytes: &[u8]) -> Result<Files, ArchiveError> {
    if bytes.len() > ARCHIVE_BYTES {
        return Err(ArchiveError::TooLarge { limit: ARCHIVE_BYTES as u64 });
    }
    check_end(bytes)?;
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut archive = ZipArchive::with_config(config, Cursor::new(bytes)).map_err(|e| zip_error(&e))?;
    // The library keeps only one of two entries with the same name.
    if archive.has_duplicate_names() {
        return Err(ArchiveError::NotAZip("two of its files have the same name".to_owned()));
    }
    if archive.len() > MOST_FILES {
        let name = (0..archive.len()).find_map(|at| {
            let name = archive.by_index_raw(at).ok().map(|file| name_of(file.name_raw()));
            name.filter(|name| known(name).is_none())
        });
        return Err(name.map_or(ArchiveError::TooManyFiles(archive.len() as u64), ArchiveError::UnknownFile));
    }
    let mut files = Files::default();
    let mut manifest = None;
    for at in 0..archive.len() {
        let mut file = archive.by_index(at).map_err(|e| zip_error(&e))?;
        let name = name_of(file.name_raw());
        let plain = !file.is_symlink() && !file.is_dir() && !file.encrypted();
        let Some(known) = known(&name).filter(|_| plain) else {
            return Err(ArchiveError::UnknownFile(name));
        };
        if !matches!(file.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
            return Err(ArchiveError::NotAZip(format!("{known} is neither stored nor deflated")));
        }
        let limit = if known == MANIFEST_FILE { MANIFEST_BYTES } else { ARCHIVE_BYTES };
        let mut content = Vec::new();
        // The size in the directory may be wrong, so reading is limited.
        let mut bounded = (&mut file).take(limit as u64 + 1);
        bounded.read_to_end(&mut content).map_err(|e| ArchiveError::NotAZip(cut(&e.to_string())))?;
        if content.len() > limit {
            return Err(if known == MANIFEST_FILE {
                ArchiveError::LargeManifest
            } else {
                ArchiveError::TooLarge { limit: limit as u64 }
            });
        }
        match known {
            MANIFEST_FILE => manifest = Some(content),
            SPANS_FILE => files.spans = Some(content),
            _ => files.reports = Some(content),
        }
    }
    files.manifest = manifest.ok_or(ArchiveError::Missing(MANIFEST_FILE))?;
    Ok(files)
}

/// Checks that the zip ends with the end record and that the directory ends where this record
/// begins. Then the zip has only one reading and few entries.
fn check_end(bytes: &[u8]) -> Result<(), ArchiveError> {
    let broken = |what: &str| Err(ArchiveError::NotAZip(what.to_owned()));
    let Some(at) = bytes.len().checked_sub(END_BYTES) else { return broken("it is too short") };
    let end = &bytes[at..];
    let number = |from: usize, length: usize| {
        end[from..from + length].iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    if !end.starts_with(END_SIGNATURE) || number(20, 2) != 0 {
        return broken("its end record is missing or has a comment");
    }
    let entries = number(10, 2);
    if entries > MOST_ENTRIES {
        return Err(ArchiveError::TooManyFiles(entries));
    }
    let (size, offset) = (number(12, 4), number(16, 4));
    if number(4, 2) != 0 || number(6, 2) != 0 || number(8, 2) != entries {
        return broken("it is a part of a multi-disk archive");
    }
    if size > DIRECTORY_BYTES || offset + size != at as u64 {
        return broken("its directory is not where its end record says");
    }
    if at >= ZIP64_BYTES && bytes[at - ZIP64_BYTES..].starts_with(ZIP64_SIGNATURE) {
        return broken("it is a zip64");
    }
    Ok(())
}

fn known(name: &str) -> Option<&'static str> {
    [MANIFEST_FILE, SPANS_FILE, REPORTS_FILE].into_iter().find(|known| *known == name)
}

fn name_of(raw: &[u8]) -> String {
    cut(&String::from_utf8_lossy(raw))
}

fn zip_error(error: &zip::result::ZipError) -> ArchiveError {
    ArchiveError::NotAZip(cut(&error.to_string()))
}
