//! The page of a repository: its runs, newest first, and sparklines of their durations.

use askama::Template;

use super::{Badge, Site, Start, lineage, when};
use crate::{chart, escape, number_format};
use pacegate_engine::model::comparison::RunVerdict;
use pacegate_engine::model::ids::RepoName;
use pacegate_engine::model::run::{PipelineRun, RunResult};

/// One run in the list.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    pub run: PipelineRun,
    /// Page of the run.
    pub href: String,
    /// Verdict of its comparison, if it was judged.
    pub verdict: Option<RunVerdict>,
    /// Page of its comparison.
    pub comparison_href: Option<String>,
}

/// Progress of reading the history of one workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryProgress {
    pub workflow: String,
    /// Runs that are stored so far.
    pub collected: i64,
    /// Runs to be stored in all.
    pub wanted: i64,
    /// Set when reading stopped.
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

/// The page of one repository.
#[derive(Debug, Clone, PartialEq, Template)]
#[template(path = "runs.html")]
pub struct RunsPage {
    pub site: Site,
    pub repo: RepoName,
    /// Workflows whose history is being read.
    pub history: Vec<HistoryProgress>,
    /// Newest first.
    pub runs: Vec<RunRow>,
    /// The next page, with older runs.
    pub older_href: Option<String>,
    /// Shown when there are no runs.
    pub start: Start,
}

impl RunsPage {
    /// A sparkline for each of at most six pipelines: the durations of its green runs, oldest first.
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
