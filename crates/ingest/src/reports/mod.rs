//! Reports that build and test tools leave in files, as spans below the command that made
//! them. The format is told by the content; nothing here opens a file or knows the time.
//! Every reader is bounded by [`Limits`] and takes no duration for granted.

mod cargo_timings;
mod chrome_trace;
mod go_test;
mod json_lines;
mod junit;
mod layout;
mod libtest;
mod ninja_log;
mod part;
mod pytest;
#[cfg(test)]
mod tests;

use std::io::Read;

use flate2::read::MultiGzDecoder;

use self::part::{Outcome, Parts, Role};
use super::{IngestError, Limits};
use pacegate_engine::model::span::Span;

/// What a compressed report may grow to.
const INFLATED_BYTES: u64 = 128 << 20;
/// Test cases and build steps that are kept of all reports of a command: each is a stage, and
/// the more stages are judged, the surer each finding has to be.
const PARTS_KEPT: usize = 2_000;

/// Named in the error about a file of no known format.
const FORMATS: &str = "JUnit XML, go test -json, pytest's report-log and JSON report, libtest JSON, cargo's \
                       --timings, Chrome's trace events (Bazel's profile, clang's -ftime-trace) and .ninja_log";

/// Why a report can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// No byte, or blanks alone.
    #[error("it is empty; {FORMATS} are read")]
    Empty,
    /// Like none of the formats.
    #[error("it is no report that is read: {FORMATS}")]
    Unknown,
    /// Begins like a format and breaks its rules.
    #[error("it is not {format}: {reason}")]
    Malformed {
        /// Which format.
        format: &'static str,
        /// What is wrong, and where.
        reason: String,
    },
    /// Of a known format, without a test or a step.
    #[error("it is {format} and holds nothing that was timed")]
    Nothing {
        /// Which format.
        format: &'static str,
    },
    /// A compressed file that can't be inflated.
    #[error("it begins like gzip but can't be inflated: {0}")]
    Gzip(String),
    /// More than is read of one command.
    #[error("it holds more than {limit} {what}")]
    TooLarge {
        /// The limit.
        limit: u64,
        /// Of what.
        what: &'static str,
    },
}

impl From<IngestError> for ReportError {
    fn from(error: IngestError) -> Self {
        let limit = |limit: usize| u64::try_from(limit).unwrap_or(u64::MAX);
        match error {
            IngestError::Malformed { format, reason } => Self::Malformed { format, reason },
            IngestError::TooManySpans { limit: n } => Self::TooLarge { limit: limit(n), what: "parts" },
            IngestError::TooManyValues { limit: n } => Self::TooLarge { limit: limit(n), what: "values" },
        }
    }
}

/// What a report holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    format: &'static str,
    parts: Parts,
}

impl Report {
    /// In words, which format it is of.
    #[must_use]
    pub fn format(&self) -> &'static str {
        self.format
    }

    /// How many parts it holds: suites, cases, steps.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.list.len()
    }

    /// Whether it holds none. A report that was read holds at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.list.is_empty()
    }

    /// Parts that were left out of its spans.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.parts.left_out + self.parts.list.iter().filter(|part| !part.kept).count()
    }

    /// Whether a part of it failed.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.parts.list.iter().any(|part| matches!(part.outcome, Outcome::Failed(_)))
    }

    /// Its parts as spans below `parent`, whose interval they are laid out in. `seed` tells the
    /// ids of two reports of one parent apart.
    #[must_use]
    pub fn spans(&self, parent: &Span, seed: &str) -> Vec<Span> {
        layout::spans(&self.parts, parent, seed)
    }

    /// Its parts as spans below a job that ran for longer than what is told: it had ended when
    /// its file was written, and began as its own times say, else as long before as it took.
    #[must_use]
    pub fn spans_until(&self, job: &Span, written_ns: i64, seed: &str) -> Vec<Span> {
        let mut parent = job.clone();
        (parent.start_ns, parent.end_ns) = layout::interval(&self.parts.list, job.start_ns, written_ns);
        layout::spans(&self.parts, &parent, seed)
    }
}

/// Several reports of one command or job, which share what may be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Reports {
    named: Vec<(String, Report)>,
    room: usize,
}

impl Default for Reports {
    fn default() -> Self {
        Self { named: Vec::new(), room: Limits::default().spans }
    }
}

impl Reports {
    /// Reads one more.
    ///
    /// # Errors
    /// [`ReportError`], to be shown after its name; the others stay.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), ReportError> {
        let report = read(bytes, Limits { spans: self.room, ..Limits::default() })?;
        self.room = self.room.saturating_sub(report.len());
        self.named.push((name.to_owned(), report));
        Ok(())
    }

    /// Whether a part of one failed.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.named.iter().any(|(_, report)| report.has_failures())
    }

    /// The spans of all, laid out by who knows when each was made (its place in the order of
    /// adding, the report, what tells its ids from others'), and how many parts were left out.
    pub fn into_spans(
        mut self,
        mut lay_out: impl FnMut(usize, &Report, &str) -> Vec<Span>,
    ) -> (Vec<Span>, usize) {
        keep_most_telling(&mut self.named, PARTS_KEPT);
        let mut spans = Vec::new();
        for (at, (name, report)) in self.named.iter().enumerate() {
            // Two reports of one command must not share ids.
            spans.extend(lay_out(at, report, &format!("{at} {name}")));
        }
        (spans, self.named.iter().map(|(_, report)| report.left_out()).sum())
    }
}

/// Keeps of all reports of a command the suites, what failed and the slowest, at most `limit`
/// parts beside the suites.
fn keep_most_telling(reports: &mut [(String, Report)], limit: usize) {
    let mut ranked: Vec<(bool, i64, usize, usize)> = Vec::new();
    for (r, (_, report)) in reports.iter().enumerate() {
        let judged = report.parts.list.iter().enumerate().filter(|(_, part)| part.role != Role::Suite);
        ranked.extend(judged.map(|(p, part)| {
            (matches!(part.outcome, Outcome::Failed(_)), part.duration_ns.unwrap_or(0), r, p)
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

/// Reads a report, whichever tool wrote it. At most `limits.spans` parts.
///
/// # Errors
/// [`ReportError`], each to be shown after the file's name.
pub fn read(bytes: &[u8], limits: Limits) -> Result<Report, ReportError> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return read_plain(bytes, limits);
    }
    let mut inflated = Vec::new();
    let mut inflating = MultiGzDecoder::new(bytes).take(INFLATED_BYTES + 1);
    inflating.read_to_end(&mut inflated).map_err(|e| ReportError::Gzip(e.to_string()))?;
    if inflating.limit() == 0 {
        return Err(ReportError::TooLarge { limit: INFLATED_BYTES, what: "bytes when it is inflated" });
    }
    read_plain(&inflated, limits)
}

fn read_plain(bytes: &[u8], limits: Limits) -> Result<Report, ReportError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = bytes.trim_ascii_start();
    let mut parts = Parts::new(limits.spans);
    let format = match text.first() {
        None => return Err(ReportError::Empty),
        Some(b'<') => match cargo_timings::units(text) {
            Some(units) => cargo_timings::read(text, units, &mut parts)?,
            None => junit::read(text, &mut parts)?,
        },
        Some(b'#') if ninja_log::is_one(text) => ninja_log::read(text, &mut parts)?,
        Some(b'[') => chrome_trace::read(text, &mut parts)?,
        Some(_) => match json_lines::kind(text) {
            Some(json_lines::Kind::ChromeTrace) => chrome_trace::read(text, &mut parts)?,
            Some(json_lines::Kind::PytestJson) => pytest::read_json_report(text, limits, &mut parts)?,
            Some(json_lines::Kind::PytestLog) => pytest::read_report_log(text, &mut parts)?,
            Some(json_lines::Kind::GoTest) => go_test::read(text, &mut parts)?,
            Some(json_lines::Kind::Libtest) => libtest::read(text, &mut parts)?,
            None => return Err(ReportError::Unknown),
        },
    };
    if parts.list.is_empty() {
        return Err(ReportError::Nothing { format });
    }
    parts.complete();
    Ok(Report { format, parts })
}
