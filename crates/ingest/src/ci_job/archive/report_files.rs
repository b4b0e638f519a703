//! Reads the reports of a job. The work in a report ended before its file was last written, so this
//! time ends the report's spans. Number and size are limited. An unreadable report is left out with
//! a note.

use std::sync::Arc;

use base64::Engine as _;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::error::cut;
use crate::lenient::Integer;
use crate::reports::Reports;
use pacegate_engine::model::ids::{SpanId, TraceId};
use pacegate_engine::model::span::{AttributeValue, Attributes, Resource, Span};

/// Most reports of a job.
const REPORTS: usize = 500;
/// Most bytes of a report.
const REPORT_BYTES: usize = 16 << 20;
/// Most notes on unreadable reports.
const NOTES: usize = 5;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    report: File<'a>,
}

#[derive(Deserialize)]
struct File<'a> {
    path: std::borrow::Cow<'a, str>,
    #[serde(default)]
    modified_at_unix_nano: Integer,
    #[serde(borrow)]
    sha256: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    content_base64: std::borrow::Cow<'a, str>,
}

/// The job that wrote the reports.
pub(super) struct JobContext<'a> {
    pub trace: TraceId,
    /// The job's span, the parent of the reports' spans.
    pub span: SpanId,
    pub began_ns: i64,
    pub ended_ns: i64,
    pub service_name: Option<&'a str>,
}

#[derive(Default)]
pub(super) struct ReportFiles {
    reports: Reports,
    /// Of each report, when its file was last written.
    modified_at: Vec<i64>,
    problems: Vec<String>,
    lines: usize,
}

impl ReportFiles {
    /// Reads one line of the reports file.
    pub(super) fn add(&mut self, line: &[u8]) {
        self.lines += 1;
        if self.lines > REPORTS {
            return;
        }
        let file: File<'_> = match serde_json::from_slice::<Line<'_>>(line) {
            Ok(line) => line.report,
            Err(error) => {
                return self.problems.push(format!("a report can't be read: {}", cut(&error.to_string())));
            }
        };
        let path = cut(&file.path);
        if let Err(problem) = content(&file).and_then(|bytes| {
            self.reports.add(&path, &bytes).map_err(|error| error.to_string())?;
            self.modified_at.push(file.modified_at_unix_nano.0);
            Ok(())
        }) {
            self.problems.push(format!("report {path:?} was left out: {}", cut(&problem)));
        }
    }

    /// Returns spans below the job, and notes on reports that were left out.
    pub(super) fn spans(self, job: &JobContext<'_>) -> (Vec<Span>, Vec<String>) {
        let parent = parent_span(job);
        let modified_at = self.modified_at;
        let (spans, left_out) = self.reports.into_spans(|at, report, seed| {
            let written = modified_at.get(at).copied().unwrap_or(job.ended_ns);
            report.spans_until(&parent, written.clamp(job.began_ns, job.ended_ns.max(job.began_ns)), seed)
        });
        let noted = self.problems.len().min(NOTES);
        let more = self.problems.len() - noted + self.lines.saturating_sub(REPORTS);
        let mut notes: Vec<String> = self.problems.into_iter().take(noted).collect();
        if more > 0 {
            notes.push(format!("{more} more reports were left out"));
        }
        if left_out > 0 {
            notes.push(format!(
                "{left_out} parts of its reports were left out; suites, failures and the slowest parts were kept"
            ));
        }
        (spans, notes)
    }
}

fn content(file: &File<'_>) -> Result<Vec<u8>, String> {
    // Base64 uses four characters for three bytes.
    if file.content_base64.len() > REPORT_BYTES / 3 * 4 + 4 {
        return Err(format!("it is larger than {} MiB", REPORT_BYTES >> 20));
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(file.content_base64.as_bytes());
    let bytes = bytes.map_err(|error| format!("it is not base64: {error}"))?;
    if !file.sha256.eq_ignore_ascii_case(&hex::encode(Sha256::digest(&bytes))) {
        return Err("its SHA-256 differs".to_owned());
    }
    Ok(bytes)
}

/// The parent of the reports' spans. It is not added to the archive's spans.
fn parent_span(job: &JobContext<'_>) -> Span {
    let name = |name: &str| ("service.name".to_owned(), AttributeValue::String(name.to_owned()));
    let resource = Resource {
        attributes: Attributes(job.service_name.map(name).into_iter().collect()),
        dropped_attributes: 0,
    };
    Span {
        resource: Arc::new(resource),
        ..Span::new(job.trace, job.span, String::new(), (job.began_ns, job.ended_ns))
    }
}
