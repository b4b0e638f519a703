//! The page of one run: the duration of each stage, and its errors.

use askama::Template;

use super::{Site, lineage, when};
use crate::{escape, note, number_format, waterfall};
use pacegate_engine::model::run::PipelineRun;
use pacegate_engine::model::stage::{Frame, StageError, StageKey, StageSample};
use pacegate_engine::model::time::Timestamp;

/// Retention of a run's raw trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawTrace {
    /// Kept by the retention policy of this name. `reported`: its comparison was reported.
    KeptBy(String),
    /// No policy keeps it longer than the first days.
    Until(Option<Timestamp>),
    /// It was deleted.
    Dropped,
}

#[derive(Debug, Clone, PartialEq, Template)]
#[template(path = "run.html")]
pub struct RunPage {
    pub site: Site,
    pub run: PipelineRun,
    /// Page of the repository's runs.
    pub repo_href: String,
    pub stages: Vec<StageSample>,
    pub errors: Vec<StageError>,
    /// The stages that determined when the run ended; empty if that is not known.
    pub critical_path: Vec<StageKey>,
    /// Address of the raw trace, if it is kept.
    pub trace_href: Option<String>,
    /// Address of the trace in the operator's trace viewer.
    pub trace_url: Option<String>,
    pub raw_trace: RawTrace,
    /// Page of its comparison.
    pub comparison_href: Option<String>,
}

impl RunPage {
    fn svg(&self) -> String {
        waterfall::waterfall(&self.stages, waterfall::Marks { critical: &self.critical_path, slower: &[] })
    }

    fn pipeline(&self) -> String {
        escape::readable(&self.run.pipeline)
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        vec![
            ("Result", self.run.result.as_str().to_owned()),
            ("Took", number_format::duration_ns(self.run.duration_ns)),
            ("Started (UTC)", when(self.run.started_at)),
            ("Branch or PR", lineage(&self.run.lineage)),
            ("Commit", self.run.head_sha.short().to_owned()),
            ("Attempt", self.run.attempt.to_string()),
            ("Runner", escape::readable(&self.run.runner.describe())),
            ("Raw trace", self.raw_trace()),
        ]
    }

    fn raw_trace(&self) -> String {
        match &self.raw_trace {
            RawTrace::KeptBy(by) if by == "reported" => "kept: its comparison was reported".to_owned(),
            RawTrace::KeptBy(by) => format!("kept by the policy {}", escape::readable(by)),
            RawTrace::Until(None) => "kept for its first days".to_owned(),
            RawTrace::Until(Some(time)) => format!("kept until {}", number_format::minute(*time)),
            RawTrace::Dropped => "deleted; the measured durations are kept".to_owned(),
        }
    }

    fn error_rows(&self) -> Vec<(String, String, String, Option<String>)> {
        let row = |e: &StageError| {
            let place = e.frame.as_ref().and_then(Frame::location);
            (
                escape::readable(&e.error_type),
                escape::readable(&e.message),
                escape::readable(&e.path.join(" / ")),
                place.map(|place| format!("{}:{}", escape::readable(&place.path), place.line)),
            )
        };
        self.errors.iter().map(row).collect()
    }

    fn notes(&self) -> Vec<String> {
        self.run.notes.iter().map(|note| escape::readable(&note::sentence(note))).collect()
    }
}
