//! Converts the reports of build and test tools to spans below the command that wrote them. The
//! content decides the format. Nothing here opens a file or knows the current time. [`Limits`] bounds
//! every reader, and no duration is trusted.

mod layout;
mod part;
mod readers;
#[cfg(test)]
mod tests;

use std::io::Read;

use flate2::read::MultiGzDecoder;

use self::part::{PartOutcome, Parts, Role};
use super::{IngestError, Limits};
use pacegate_engine::model::span::Span;

/// Limit on the inflated size of a compressed report, bytes.
const INFLATED_BYTES: u64 = 128 << 20;
/// Test cases and build steps kept from all reports of a command. Each one is a stage, and with more
/// stages each finding needs stronger evidence.
const PARTS_KEPT: usize = 2_000;

/// Why a report can't be used. Each text is meant to follow the file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the error texts document the variants")]
pub enum ReportError {
    /// No byte, or only white space.
    #[error("it is empty; these formats can be read: {}", formats())]
    Empty,
    #[error("it is not a report in a known format; these can be read: {}", formats())]
    Unknown,
    /// Begins like a format and breaks its rules.
    #[error("it is not {format}: {reason}")]
    Malformed { format: &'static str, reason: String },
    /// Has a known format, but no test or step.
    #[error("it is {format}, but holds no duration")]
    Nothing { format: &'static str },
    #[error("it begins like gzip but can't be inflated: {0}")]
    Gzip(String),
    #[error("it holds more than {limit} {unit}")]
    TooLarge { limit: u64, unit: &'static str },
}

/// All readable formats, for texts about them.
#[must_use]
pub fn formats() -> String {
    readers::formats()
}

/// The file name extensions of readable reports, without the dot. Some occur more than once.
pub fn extensions() -> impl Iterator<Item = &'static str> {
    readers::READERS.into_iter().flat_map(|reader| reader.extensions.iter().copied())
}

impl From<IngestError> for ReportError {
    fn from(error: IngestError) -> Self {
        let limit = |limit: usize| u64::try_from(limit).unwrap_or(u64::MAX);
        match error {
            IngestError::Malformed { format, reason } => Self::Malformed { format, reason },
            IngestError::TooManySpans { limit: n } => Self::TooLarge { limit: limit(n), unit: "parts" },
            IngestError::TooManyValues { limit: n } => Self::TooLarge { limit: limit(n), unit: "values" },
        }
    }
}

/// A report with at least one part.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    parts: Parts,
}

impl Report {
    /// The number of suites, cases and steps.
    fn len(&self) -> usize {
        self.parts.list.len()
    }

    /// The number of parts that do not become spans.
    fn left_out(&self) -> usize {
        self.parts.left_out + self.parts.list.iter().filter(|part| !part.kept).count()
    }

    fn has_failures(&self) -> bool {
        self.parts.list.iter().any(|part| matches!(part.outcome, PartOutcome::Failed(_)))
    }

    /// The parts as spans below `parent`, within its interval. Two reports with the same parent need
    /// different seeds, so that their span ids differ.
    #[must_use]
    pub fn spans(&self, parent: &Span, seed: &str) -> Vec<Span> {
        layout::spans(&self.parts, parent, seed)
    }

    /// The parts as spans below a job that ran longer than the reporting command. The command ended
    /// when the file was written. It began at the report's first time, or its total duration earlier.
    #[must_use]
    pub(crate) fn spans_until(&self, job: &Span, written_ns: i64, seed: &str) -> Vec<Span> {
        let mut parent = job.clone();
        (parent.start_ns, parent.end_ns) = layout::interval(&self.parts.list, job.start_ns, written_ns);
        layout::spans(&self.parts, &parent, seed)
    }
}

/// The reports of one command or job. They share the limit on parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Reports {
    named: Vec<(String, Report)>,
    parts_left: usize,
}

impl Default for Reports {
    fn default() -> Self {
        Self { named: Vec::new(), parts_left: Limits::default().spans }
    }
}

impl Reports {
    /// Reads one more report.
    ///
    /// # Errors
    /// [`ReportError`]; the earlier reports stay.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), ReportError> {
        let report = read(bytes, Limits { spans: self.parts_left, ..Limits::default() })?;
        self.parts_left = self.parts_left.saturating_sub(report.len());
        self.named.push((name.to_owned(), report));
        Ok(())
    }

    /// `true` if a part of any report failed.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.named.iter().any(|(_, report)| report.has_failures())
    }

    /// The spans of all reports and the number of parts that were left out. `lay_out` gets the index of
    /// a report in the order of adding, the report, and the seed of its span ids.
    pub fn into_spans(
        mut self,
        mut lay_out: impl FnMut(usize, &Report, &str) -> Vec<Span>,
    ) -> (Vec<Span>, usize) {
        keep_failed_and_slowest(&mut self.named, PARTS_KEPT);
        let mut spans = Vec::new();
        for (at, (name, report)) in self.named.iter().enumerate() {
            // Two reports of one command must not share ids.
            spans.extend(lay_out(at, report, &format!("{at} {name}")));
        }
        (spans, self.named.iter().map(|(_, report)| report.left_out()).sum())
    }
}

/// Keeps all suites and at most `limit` other parts: the failed ones and the slowest.
fn keep_failed_and_slowest(reports: &mut [(String, Report)], limit: usize) {
    let mut ranked: Vec<(bool, i64, usize, usize)> = Vec::new();
    for (r, (_, report)) in reports.iter().enumerate() {
        let others = report.parts.list.iter().enumerate().filter(|(_, part)| part.role != Role::Suite);
        ranked.extend(others.map(|(p, part)| {
            (matches!(part.outcome, PartOutcome::Failed(_)), part.duration_ns.unwrap_or(0), r, p)
        }));
    }
    if ranked.len() <= limit {
        return;
    }
    ranked.sort_by(|a, b| (b.0, b.1, a.2, a.3).cmp(&(a.0, a.1, b.2, b.3)));
    for (_, _, r, p) in &ranked[limit..] {
        reports[*r].1.parts.list[*p].kept = false;
    }
    for (_, report) in reports {
        report.parts.keep_ancestors();
    }
}

/// Reads a report of any format with at most `limits.spans` parts.
fn read(bytes: &[u8], limits: Limits) -> Result<Report, ReportError> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return read_plain(bytes, limits);
    }
    let mut inflated = Vec::new();
    let mut inflating = MultiGzDecoder::new(bytes).take(INFLATED_BYTES + 1);
    inflating.read_to_end(&mut inflated).map_err(|e| ReportError::Gzip(e.to_string()))?;
    if inflating.limit() == 0 {
        return Err(ReportError::TooLarge { limit: INFLATED_BYTES, unit: "bytes when it is inflated" });
    }
    read_plain(&inflated, limits)
}

fn read_plain(bytes: &[u8], limits: Limits) -> Result<Report, ReportError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = bytes.trim_ascii_start();
    if text.is_empty() {
        return Err(ReportError::Empty);
    }
    let reader = readers::recognize(text).ok_or(ReportError::Unknown)?;
    let mut parts = Parts::new(limits);
    (reader.read)(text, &mut parts)?;
    if parts.list.is_empty() {
        return Err(ReportError::Nothing { format: reader.name });
    }
    parts.fill_from_children();
    Ok(Report { parts })
}
