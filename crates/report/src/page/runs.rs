//! The runs of one repository: newest first, with their durations as a sparkline.

use askama::Template;

use super::{Badge, Site, Start, lineage, when};
use crate::{chart, escape, number_format};
use pacegate_engine::model::comparison::RunVerdict;
use pacegate_engine::model::ids::RepoName;
use pacegate_engine::model::run::{PipelineRun, RunResult};

/// One run in the list.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// The run.
    pub run: PipelineRun,
    /// Its page.
    pub href: String,
    /// Its comparison's verdict, if it was judged.
    pub verdict: Option<RunVerdict>,
    /// Its comparison's page.
    pub comparison_href: Option<String>,
}

/// How far the history of one workflow was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryProgress {
    /// The workflow.
    pub workflow: String,
    /// Runs that are stored.
    pub collected: i64,
    /// Runs that there will be.
    pub wanted: i64,
    /// Why it can't go on.
    pub error: Option<String>,
}

impl HistoryProgress {
    fn sentence(&self) -> String {
        let Self { collected, wanted, .. } = self;
        let workflow = escape::readable(&self.workflow);
        match &self.error {
            None => format!("History is being read: {collected} of {wanted} runs of {workflow}"),
            Some(error) => format!(
                "History of {workflow} could not be read further than {collected} of {wanted} runs: {}",
                escape::readable(error)
            ),
        }
    }
}

/// The runs of one repository.
#[derive(Debug, Clone, PartialEq, Template)]
#[template(path = "runs.html")]
pub struct RunsPage {
    /// Around it.
    pub site: Site,
    /// The repository.
    pub repo: RepoName,
    /// Workflows whose history is being read.
    pub history: Vec<HistoryProgress>,
    /// Newest first.
    pub runs: Vec<RunRow>,
    /// The next, older runs.
    pub older_href: Option<String>,
    /// Shown when there is none.
    pub start: Start,
}

impl RunsPage {
    /// Durations of the green runs, oldest first; one pipeline at a time makes one picture.
    fn sparklines(&self) -> Vec<(String, String)> {
        let mut pipelines: Vec<&str> = self.runs.iter().map(|r| r.run.pipeline.as_str()).collect();
        pipelines.sort_unstable();
        pipelines.dedup();
        pipelines
            .into_iter()
            .take(6)
            .filter_map(|pipeline| {
                let of_it = self.runs.iter().rev().filter(|r| r.run.pipeline == pipeline);
                let green = of_it.filter(|r| r.run.result == RunResult::Success);
                let seconds: Vec<f64> = green.map(|r| seconds(r.run.duration_ns)).collect();
                let svg = chart::sparkline(&seconds, 1, pipeline);
                (!svg.is_empty()).then(|| (escape::readable(pipeline), svg))
            })
            .collect()
    }
}

impl RunRow {
    fn started(&self) -> String {
        when(self.run.started_at)
    }

    fn pipeline(&self) -> String {
        escape::readable(&self.run.pipeline)
    }

    fn line(&self) -> String {
        lineage(&self.run.lineage)
    }

    fn result(&self) -> String {
        match self.run.attempt {
            0 | 1 => self.run.result.as_str().to_owned(),
            n => format!("{}, attempt {n}", self.run.result.as_str()),
        }
    }

    fn took(&self) -> String {
        number_format::duration_ns(self.run.duration_ns)
    }

    fn badge(&self) -> Option<Badge> {
        self.verdict.map(Badge::from)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a picture")]
fn seconds(nanoseconds: i64) -> f64 {
    nanoseconds as f64 / 1e9
}
