//! Reads the files beside the manifest: checks their digests, inflates them line by line within one
//! shared limit, and decodes spans and reports. An unreadable line is left out with a note. Refuses
//! bytes that do not match the manifest.

use std::io::{BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::error::cut;
use super::report_files::{JobContext, ReportFiles};
use super::{ArchiveError, INFLATED_BYTES, JobArchive, Manifest, REPORTS_FILE, SPANS_FILE};
use crate::otlp;
use crate::{IngestError, Limits, Rejected};
use pacegate_engine::model::span::Span;

/// Most bytes of a line. A line is one request of a tracer, or one report.
const LINE_BYTES: u64 = 32 << 20;

pub(super) fn read(
    manifest: Manifest,
    spans: Option<&[u8]>,
    reports: Option<&[u8]>,
) -> Result<JobArchive, ArchiveError> {
    let mut inflated = INFLATED_BYTES;
    let mut reading = Reading::default();
    if let Some(bytes) = listed(&manifest, SPANS_FILE, spans)? {
        lines(&manifest, SPANS_FILE, bytes, &mut inflated, |line, text| reading.spans_of(line, text))?;
    }
    let mut files = ReportFiles::default();
    if let Some(bytes) = listed(&manifest, REPORTS_FILE, reports)? {
        lines(&manifest, REPORTS_FILE, bytes, &mut inflated, |_, text| files.add(text))?;
    }
    let Reading { mut spans, rejected, mut notes, left_out, .. } = reading;
    let job = manifest.job_span_id;
    // The spans came through this job's receiver, even if they name another trace.
    for span in &mut spans {
        span.trace_id = manifest.trace_id;
    }
    spans.retain(|span| span.span_id != job);
    let (of_reports, report_notes) = files.spans(&JobContext {
        trace: manifest.trace_id,
        span: job,
        began_ns: manifest.started_at_unix_nano,
        ended_ns: manifest.ended_at_unix_nano,
        service_name: manifest.service_name.as_deref(),
    });
    spans.extend(of_reports);
    notes.extend(rejected.message());
    if left_out > 0 {
        let limit = Limits::default().spans;
        notes.push(format!(
            "{left_out} requests with spans were left out: at most {limit} spans of a job are read"
        ));
    }
    notes.extend(report_notes);
    if inflated == 0 {
        let limit = INFLATED_BYTES >> 20;
        notes.push(format!("its spans and reports beyond the first {limit} MiB were left out"));
    }
    notes.extend(dropped(&manifest));
    Ok(JobArchive { manifest, spans, notes })
}

/// Notes on data that the action itself left out.
fn dropped(manifest: &Manifest) -> Vec<String> {
    let mut notes = Vec::new();
    if manifest.dropped.spans > 0 || manifest.dropped.bytes > 0 {
        notes.push(format!(
            "the action left out {} spans ({} bytes): see its max-size",
            manifest.dropped.spans, manifest.dropped.bytes
        ));
    }
    let reports = &manifest.dropped.reports;
    notes.extend(
        reports.iter().take(5).map(|report| format!("the action left out a report: {}", cut(report))),
    );
    notes
}

/// Returns a file's bytes after a check of their size and digest in the manifest.
fn listed<'a>(
    manifest: &Manifest,
    file: &'static str,
    bytes: Option<&'a [u8]>,
) -> Result<Option<&'a [u8]>, ArchiveError> {
    let (bytes, entry) = match (bytes, manifest.file(file)) {
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(ArchiveError::Unlisted(file)),
        (None, Some(_)) => return Err(ArchiveError::Missing(file)),
        (Some(bytes), Some(entry)) => (bytes, entry),
    };
    if usize::try_from(entry.bytes) != Ok(bytes.len()) {
        return Err(ArchiveError::Altered { file, what: "size" });
    }
    if !entry.sha256.eq_ignore_ascii_case(&hex::encode(Sha256::digest(bytes))) {
        return Err(ArchiveError::Altered { file, what: "SHA-256" });
    }
    Ok(Some(bytes))
}

/// Passes the lines of a file to `each` until the limit `inflated` is used up. The limit is shared by
/// all files. A file that inflates to more than the manifest states is refused.
fn lines(
    manifest: &Manifest,
    file: &'static str,
    bytes: &[u8],
    inflated: &mut u64,
    mut each: impl FnMut(usize, &[u8]),
) -> Result<(), ArchiveError> {
    let stated = manifest.file(file).and_then(|entry| u64::try_from(entry.inflated_bytes?).ok());
    let limit = (*inflated).min(stated.unwrap_or(u64::MAX).saturating_add(1));
    let mut reader = BufReader::with_capacity(64 << 10, MultiGzDecoder::new(bytes).take(limit));
    let (mut line, mut total) = (Vec::new(), 0_u64);
    for number in 1.. {
        line.clear();
        let read = (&mut reader).take(LINE_BYTES + 1).read_until(b'\n', &mut line);
        let read = read.map_err(|e| ArchiveError::Gzip { file, reason: cut(&e.to_string()) })? as u64;
        total += read;
        if read == 0 {
            break;
        }
        if read > LINE_BYTES {
            return Err(ArchiveError::LongLine { file, line: number, limit: LINE_BYTES });
        }
        let is_cut_off = total == limit && !line.ends_with(b"\n");
        if !line.trim_ascii().is_empty() && !is_cut_off {
            each(number, line.trim_ascii());
        }
    }
    *inflated = inflated.saturating_sub(total);
    if stated.is_some_and(|stated| total > stated) {
        return Err(ArchiveError::Altered { file, what: "inflated size" });
    }
    Ok(())
}

/// The spans that were read so far.
struct Reading {
    spans: Vec<Span>,
    rejected: Rejected,
    notes: Vec<String>,
    /// Requests beyond the limits.
    left_out: usize,
    remaining: Limits,
}

impl Default for Reading {
    fn default() -> Self {
        let (spans, notes) = (Vec::new(), Vec::new());
        Self { spans, rejected: Rejected::default(), notes, left_out: 0, remaining: Limits::default() }
    }
}

impl Reading {
    fn spans_of(&mut self, line: usize, text: &[u8]) {
        match otlp::decode_json(text, self.remaining) {
            Ok(decoded) => {
                let values = text.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
                self.remaining.values = self.remaining.values.saturating_sub(values);
                self.remaining.spans =
                    self.remaining.spans.saturating_sub(decoded.spans.len() + decoded.rejected.count);
                let rejected = decoded.rejected;
                self.rejected.add_many(rejected.count, || rejected.first_reason.unwrap_or_default());
                self.spans.extend(decoded.spans);
            }
            Err(IngestError::Malformed { reason, .. }) => {
                if self.notes.is_empty() {
                    let reason = cut(&reason);
                    self.notes.push(format!("line {line} of {SPANS_FILE} was left out: {reason}"));
                }
            }
            Err(IngestError::TooManySpans { .. } | IngestError::TooManyValues { .. }) => self.left_out += 1,
        }
    }
}
