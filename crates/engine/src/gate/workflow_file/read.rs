//! Reads the YAML of a workflow file with its lines. The text is not trusted: depth, nodes and repetitions
//! by aliases are bounded. Keys that are not needed for lines are ignored.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_saphyr::Spanned;

use super::names::Name;
use super::{Job, Step, WorkflowFile, WorkflowFileError};

/// Most nodes of a file. A hand-written file of 512 KiB has a tenth of them.
const MAX_NODES: usize = 200_000;
/// Most nodes that aliases may repeat.
const MAX_REPEATED: usize = 50_000;

#[derive(Deserialize)]
struct File {
    jobs: Jobs,
}

/// Jobs in the file's order, with the lines of their keys.
struct Jobs(Vec<(Spanned<String>, JobText)>);

#[derive(Deserialize)]
struct JobText {
    name: Option<String>,
    uses: Option<Spanned<String>>,
    strategy: Option<Strategy>,
    steps: Option<Vec<Spanned<StepText>>>,
}

#[derive(Deserialize)]
struct Strategy {
    matrix: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct StepText {
    id: Option<String>,
    name: Option<String>,
    uses: Option<String>,
    run: Option<String>,
}

impl<'de> Deserialize<'de> for Jobs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfJobs;
        impl<'de> Visitor<'de> for OfJobs {
            type Value = Jobs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("jobs by their ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Jobs, A::Error> {
                let mut jobs = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    jobs.push(entry);
                }
                Ok(Jobs(jobs))
            }
        }
        deserializer.deserialize_map(OfJobs)
    }
}

pub(super) fn read(text: &str) -> Result<WorkflowFile, WorkflowFileError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: 64, max_nodes: MAX_NODES, max_recorded_anchor_events: MAX_NODES },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPEATED },
        with_snippet: false,
    };
    let file: File = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| WorkflowFileError::Unreadable(error.to_string().chars().take(300).collect()))?;
    Ok(WorkflowFile { jobs: file.jobs.0.into_iter().map(|(id, job)| job.into_job(&id)).collect() })
}

impl JobText {
    fn into_job(self, id: &Spanned<String>) -> Job {
        let name = self.name.filter(|name| !name.trim().is_empty());
        Job {
            line: line(id),
            name: Name::new(name.as_deref().unwrap_or(&id.value)),
            calls_line: self.uses.as_ref().map(line),
            has_matrix: self.strategy.is_some_and(|strategy| strategy.matrix.is_some()),
            steps: self.steps.unwrap_or_default().into_iter().map(into_step).collect(),
        }
    }
}

fn into_step(step: Spanned<StepText>) -> Step {
    let line = line(&step);
    let StepText { id, name, uses, run } = step.value;
    // The name that GitHub shows comes first, then those that other producers may use.
    let mut names = Vec::new();
    names.extend(name.filter(|name| !name.trim().is_empty()));
    for command in [run.as_deref().and_then(first_line), uses.as_deref()].into_iter().flatten() {
        names.extend([format!("Run {command}"), command.to_owned()]);
        names.extend(command.strip_prefix("docker://").map(|image| format!("Run {image}")));
    }
    names.extend(id);
    Step { line, names: names.iter().map(|name| Name::new(name)).collect() }
}

fn first_line(script: &str) -> Option<&str> {
    script.trim_start().lines().next().filter(|line| !line.is_empty())
}

fn line<T>(spanned: &Spanned<T>) -> u32 {
    u32::try_from(spanned.referenced.line()).unwrap_or(u32::MAX)
}
