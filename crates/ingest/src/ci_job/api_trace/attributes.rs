//! Attributes of the spans. They follow OpenTelemetry's semantic conventions for CI/CD and version
//! control. Attributes below `github.` lead from a span back to the workflow file.

use super::conclusion::{Failure, result_of};
use super::runner::{Kind, sorted};
use pacegate_engine::model::run::RunResult;
use pacegate_engine::model::span::{AttributeValue, Attributes, Resource};
use pacegate_engine::model::workflow_run::{WorkflowJob, WorkflowRun, WorkflowStep};

/// Attributes of a span, and the message of its error status if it failed.
pub(super) struct Attributed {
    pub attributes: Attributes,
    pub failure: Option<String>,
}

/// The pipeline's name: the workflow's, or its file where it has none.
pub(super) fn pipeline(run: &WorkflowRun) -> &str {
    run.name.as_deref().filter(|name| !name.trim().is_empty()).unwrap_or(file(run))
}

/// The workflow's file, without the `@REF` suffix.
fn file(run: &WorkflowRun) -> &str {
    run.path.split('@').next().unwrap_or_default()
}

struct List(Vec<(String, AttributeValue)>);

impl List {
    fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds nothing for an empty text.
    fn text(mut self, key: &str, value: impl Into<Option<String>>) -> Self {
        if let Some(value) = value.into().filter(|value| !value.is_empty()) {
            self.0.push((key.to_owned(), AttributeValue::String(value)));
        }
        self
    }

    fn int(mut self, key: &str, value: i64) -> Self {
        self.0.push((key.to_owned(), AttributeValue::Int(value)));
        self
    }

    fn labels(mut self, labels: &[String]) -> Self {
        if !labels.is_empty() {
            let values = labels.iter().cloned().map(AttributeValue::String).collect();
            self.0.push(("cicd.worker.labels".to_owned(), AttributeValue::Array(values)));
        }
        self
    }

    /// Marks a job or step as work if its name looks like the name of a wait for a runner.
    fn work(self, name: &str) -> Self {
        self.text("pacegate.stage.kind", name.starts_with("queue-").then(|| "work".to_owned()))
    }

    fn done(self, failure: Option<&Failure>) -> Attributed {
        let list = self.text("error.type", failure.map(|f| f.error_type.clone()));
        Attributed { attributes: Attributes(list.0), failure: failure.map(|f| f.message.to_owned()) }
    }
}

/// Attributes of the whole run.
pub(super) fn of_resource(run: &WorkflowRun, runner: &Kind) -> Resource {
    let (owner, name) = run.repository.full_name.split_once('/').unwrap_or_default();
    let repository_url = run.html_url.split("/actions/").next().unwrap_or_default();
    let list = List::new()
        .text("service.name", name.to_owned())
        .text("vcs.provider.name", "github".to_owned())
        .text("vcs.owner.name", owner.to_owned())
        .text("vcs.repository.name", name.to_owned())
        .text("vcs.repository.url.full", repository_url.to_owned())
        .text("vcs.ref.head.revision", run.head_sha.as_str().to_owned())
        .text("vcs.ref.head.name", run.head_branch.clone())
        .text("os.type", runner.os.map(str::to_owned))
        .text("host.arch", runner.arch.map(str::to_owned))
        .labels(&runner.labels);
    Resource { attributes: Attributes(list.0), dropped_attributes: 0 }
}

pub(super) fn of_run(run: &WorkflowRun, result: RunResult, failure: Option<&Failure>) -> Attributed {
    List::new()
        .text("cicd.pipeline.name", pipeline(run).to_owned())
        .text("cicd.pipeline.action.name", "RUN".to_owned())
        .text("cicd.pipeline.run.id", run.id.to_string())
        .int("cicd.pipeline.run.attempt", i64::from(run.run_attempt))
        .text("cicd.pipeline.run.url.full", run.html_url.clone())
        .text("cicd.pipeline.result", result.as_str().to_owned())
        .text("github.event_name", run.event.clone())
        .text("github.workflow.path", file(run).to_owned())
        .int("github.workflow.id", run.workflow_id)
        .int("github.run.number", run.run_number)
        .text("github.head_repository", run.head_repository.as_ref().map(|r| r.full_name.clone()))
        .done(failure)
}

pub(super) fn of_job(
    run: &WorkflowRun,
    job: &WorkflowJob,
    result: RunResult,
    failure: Option<&Failure>,
) -> Attributed {
    List::new()
        .text("cicd.pipeline.task.name", job.name.clone())
        .text("cicd.pipeline.task.run.id", job.id.to_string())
        .text("cicd.pipeline.task.run.url.full", job.html_url.clone())
        .text("cicd.pipeline.task.run.result", result.as_str().to_owned())
        .text("cicd.pipeline.task.type", task_type(&job.name).map(str::to_owned))
        .text("github.workflow.path", file(run).to_owned())
        .text("github.job.name", job.name.clone())
        .text("github.runner.group", job.runner_group_name.clone())
        .text("cicd.worker.name", job.runner_name.clone())
        .work(&job.name)
        .labels(&sorted(&job.labels))
        .done(failure)
}

pub(super) fn of_queue(run: &WorkflowRun, job: &WorkflowJob) -> Attributed {
    List::new()
        .text("pacegate.stage.kind", "queue".to_owned())
        .text("github.workflow.path", file(run).to_owned())
        .text("github.job.name", job.name.clone())
        .done(None)
}

/// `task` is the step's name without the parts that vary between runs.
pub(super) fn of_step(run: &WorkflowRun, job: &WorkflowJob, step: &WorkflowStep, task: &str) -> Attributed {
    let result = step.conclusion.as_deref().map_or(RunResult::Cancellation, result_of);
    List::new()
        .text("cicd.pipeline.task.name", task.to_owned())
        .text("cicd.pipeline.task.run.result", result.as_str().to_owned())
        .text("github.workflow.path", file(run).to_owned())
        .text("github.job.name", job.name.clone())
        .int("github.step.number", step.number)
        .work(&step.name)
        .done(Failure::of(step.conclusion.as_deref()).as_ref())
}

/// The job's type, if the first word of its name is a type in the conventions.
fn task_type(name: &str) -> Option<&'static str> {
    let first = name.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_ascii_lowercase();
    ["build", "test", "deploy"].into_iter().find(|known| first == *known || first == format!("{known}s"))
}
