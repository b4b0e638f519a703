//! The reports of a job: each was in a file that was last written at a moment, so what it tells
//! of had ended by then. Bounded in number and size; one that can't be read is told.

use std::sync::Arc;

use base64::Engine as _;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::error::cut;
use crate::lenient::Integer;
use crate::reports::Reports;
use pacegate_engine::model::ids::{SpanId, TraceId};
use pacegate_engine::model::span::{AttributeValue, Attributes, Resource, Span};

/// Reports of a job, and bytes of one.
const REPORTS: usize = 500;
const REPORT_BYTES: usize = 16 << 20;
/// Reports of which it is told that they could not be read.
const TOLD: usize = 5;

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

/// The job that the reports are of.
pub(super) struct OfJob<'a> {
    pub trace: TraceId,
    pub span: SpanId,
    pub began_ns: i64,
    pub ended_ns: i64,
    pub service_name: Option<&'a str>,
}

/// Reports that were read.
#[derive(Default)]
pub(super) struct ReportFiles {
    reports: Reports,
    /// Of each, when its file was last written.
    modified_at: Vec<i64>,
    problems: Vec<String>,
    lines: usize,
}

impl ReportFiles {
    /// Reads a line.
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

    /// Spans below the job, and what was left out.
    pub(super) fn spans(self, job: &OfJob<'_>) -> (Vec<Span>, Vec<String>) {
        let parent = span_of(job);
        let modified_at = self.modified_at;
        let (spans, left_out) = self.reports.into_spans(|at, report, seed| {
            let written = modified_at.get(at).copied().unwrap_or(job.ended_ns);
            report.spans_until(&parent, written.clamp(job.began_ns, job.ended_ns.max(job.began_ns)), seed)
        });
        let told = self.problems.len().min(TOLD);
        let more = self.problems.len() - told + self.lines.saturating_sub(REPORTS);
        let mut notes: Vec<String> = self.problems.into_iter().take(told).collect();
        if more > 0 {
            notes.push(format!("{more} more reports were left out"));
        }
        if left_out > 0 {
            notes.push(format!(
                "{left_out} parts of its reports were left out; the suites, what failed and the slowest were kept"
            ));
        }
        (spans, notes)
    }
}

fn content(file: &File<'_>) -> Result<Vec<u8>, String> {
    // Four characters stand for three bytes.
    if file.content_base64.len() > REPORT_BYTES / 3 * 4 + 4 {
        return Err(format!("it is larger than {} MiB", REPORT_BYTES >> 20));
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(file.content_base64.as_bytes());
    let bytes = bytes.map_err(|error| format!("it is no base64: {error}"))?;
    if !file.sha256.eq_ignore_ascii_case(&hex::encode(Sha256::digest(&bytes))) {
        return Err("its SHA-256 differs".to_owned());
    }
    Ok(bytes)
}

/// The job's span, which the spans of its reports hang below; it is not one of them.
fn span_of(job: &OfJob<'_>) -> Span {
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
