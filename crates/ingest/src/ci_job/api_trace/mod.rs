//! What GitHub knows of a workflow run, as a trace: the run, its jobs with the wait of each for
//! a runner, their steps. Pure, and the same whatever order jobs come in. What GitHub's times
//! can't say (skipped, cancelled, carried over) is marked or left out, never measured.
//!
//! Times are whole seconds; steps are shifted by nanoseconds so that neighbours that share one
//! keep their order.

mod attributes;
mod conclusion;
mod names;
mod runner;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::attributes::{Attributed, of_job, of_queue, of_resource, of_run, of_step};
use self::conclusion::{Failure, result_of};
use self::names::step_names;
use super::ids::{job_span_id, queue_span_id, root_span_id, step_span_id, trace_id};
use pacegate_engine::model::ids::{SpanId, TraceId};
use pacegate_engine::model::note::Note;
use pacegate_engine::model::run::RunResult;
use pacegate_engine::model::span::{Resource, Span, SpanKind, SpanStatus};
use pacegate_engine::model::time::Timestamp;
use pacegate_engine::model::workflow_run::{JobsOfAttempt, WorkflowJob, WorkflowRun, WorkflowStep};

const SECOND_NS: i64 = 1_000_000_000;

/// A run as spans.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionsTrace {
    /// The root first.
    pub spans: Vec<Span>,
    /// What was left out.
    pub notes: Vec<Note>,
}

/// GitHub's answer lags behind its event: asked again a little later it will be whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("GitHub does not tell all of the run yet: {0}")]
pub struct NotComplete(String);

/// What is done with a run that is not told whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// It is refused.
    Required,
    /// What there is is taken, and a note says so.
    AsFarAsKnown,
}

/// Makes the trace of one attempt.
///
/// # Errors
/// [`NotComplete`] under [`Completeness::Required`].
pub fn trace_of(
    run: &WorkflowRun,
    listed: &JobsOfAttempt,
    completeness: Completeness,
) -> Result<ActionsTrace, NotComplete> {
    let mut notes = Vec::new();
    if let Err(missing) = is_complete(run, listed) {
        match completeness {
            Completeness::Required => return Err(missing),
            Completeness::AsFarAsKnown => notes.push(Note::ListingIncomplete { missing: missing.0 }),
        }
    }
    if listed.left_out > 0 {
        notes.push(Note::JobsLeftOut { jobs: listed.left_out, kept: listed.jobs.len() });
    }
    let began = time(run.run_started_at.as_deref()).or_else(|| time(Some(&run.created_at))).unwrap_or(0);
    let (mut jobs, carried_over) = own_jobs(run, listed, began);
    if carried_over > 0 {
        notes.push(Note::JobsOfEarlierAttempt { jobs: carried_over });
    }
    jobs.sort_by_key(|job| (job.begins, job.told.id));

    let trace = trace_id(run.id, run.run_attempt);
    let resource = Arc::new(of_resource(run, &runner::of_run(jobs.iter().map(|job| job.told))));
    let builder = Builder { trace, resource };
    let root = root_span_id(run.id, run.run_attempt);
    let result = run.conclusion.as_deref().map_or(RunResult::Cancellation, result_of);
    let ends = jobs.iter().map(|job| job.ends).max().unwrap_or(began).max(began);
    let failure = jobs
        .iter()
        .find_map(JobTimes::failure)
        .filter(|_| Failure::of(run.conclusion.as_deref()).is_some())
        .or_else(|| Failure::of(run.conclusion.as_deref()));
    let mut spans = vec![builder.span(
        (root, None),
        format!("RUN {}", attributes::pipeline(run)),
        (began, ends),
        of_run(run, result, failure.as_ref()),
    )];
    spans[0].kind = SpanKind::Server;
    for job in &jobs {
        builder.job(&mut spans, root, run, job);
    }
    Ok(ActionsTrace { spans, notes })
}

/// Whether GitHub told all of it. "Completed" comes before the last job's end does.
fn is_complete(run: &WorkflowRun, listed: &JobsOfAttempt) -> Result<(), NotComplete> {
    let missing = |what: String| Err(NotComplete(what));
    if !run.is_completed() {
        return missing(format!("it says `{}`", run.status.as_deref().unwrap_or("nothing")));
    }
    let nothing_ran = |conclusion: &str| !matches!(conclusion, "success" | "failure" | "timed_out");
    if listed.jobs.is_empty() && !run.conclusion.as_deref().is_some_and(nothing_ran) {
        return missing("no job is listed".to_owned());
    }
    for job in listed.jobs.iter().filter(|job| !is_phantom(job)) {
        let was_skipped = job.conclusion.as_deref() == Some("skipped");
        if job.status != "completed" || (time(job.completed_at.as_deref()).is_none() && !was_skipped) {
            return missing(format!("job {} has no end", job.id));
        }
    }
    Ok(())
}

/// A check run that a step attached looks like a job that asked for no runner and had none.
fn is_phantom(job: &WorkflowJob) -> bool {
    job.labels.is_empty() && !has_runner(job)
}

fn has_runner(job: &WorkflowJob) -> bool {
    job.runner_name.as_deref().is_some_and(|name| !name.is_empty())
}

/// Nanoseconds since the epoch; none for GitHub's zero times.
fn time(text: Option<&str>) -> Option<i64> {
    let micros = Timestamp::parse_rfc3339(text?)?.0;
    (micros > 0).then(|| micros.saturating_mul(1_000))
}

/// A job with times that can be relied on.
struct JobTimes<'a> {
    told: &'a WorkflowJob,
    result: RunResult,
    /// When it could have begun.
    begins: i64,
    /// When a runner took it; none when none did.
    works: Option<i64>,
    ends: i64,
}

impl JobTimes<'_> {
    /// Why it failed: its first failed step, else its own word.
    fn failure(&self) -> Option<Failure> {
        let own = Failure::of(self.told.conclusion.as_deref())?;
        let mut failed: Vec<(i64, Failure)> = self
            .told
            .steps
            .iter()
            .filter_map(|step| Some((step.number, Failure::of(step.conclusion.as_deref())?)))
            .collect();
        failed.sort_by_key(|(number, _)| *number);
        Some(failed.into_iter().next().map_or(own, |(_, failure)| failure))
    }
}

/// The jobs that belong to this attempt, and how many were carried over from an earlier one: a
/// rerun of the failed jobs lists the others with their old times.
fn own_jobs<'a>(run: &WorkflowRun, listed: &'a JobsOfAttempt, began: i64) -> (Vec<JobTimes<'a>>, usize) {
    let mut carried_over = 0;
    let mut jobs = Vec::with_capacity(listed.jobs.len());
    for job in listed.jobs.iter().filter(|job| job.run_id == run.id && !is_phantom(job)) {
        if run.run_attempt > 1 && time(job.started_at.as_deref()).is_some_and(|started| started < began) {
            carried_over += 1;
            continue;
        }
        jobs.push(times_of(job, began));
    }
    (jobs, carried_over)
}

fn times_of(job: &WorkflowJob, began: i64) -> JobTimes<'_> {
    let result = job.conclusion.as_deref().map_or(RunResult::Cancellation, result_of);
    let created = time(job.created_at.as_deref());
    let (started, completed) = (time(job.started_at.as_deref()), time(job.completed_at.as_deref()));
    if result == RunResult::Skip {
        // Its times may be reversed or zero: it is a moment, not a duration.
        let at = completed.or(started).or(created).unwrap_or(began).max(began);
        return JobTimes { told: job, result, begins: at, works: None, ends: at };
    }
    let begins = created.or(started).unwrap_or(began).max(began);
    let steps = || job.steps.iter().filter(|step| !is_skipped(step));
    // GitHub notes the start of a job up to a second after that of its first step.
    let first_step = steps().filter_map(|step| time(step.started_at.as_deref())).min();
    let works = started.filter(|_| has_runner(job)).map(|started| {
        first_step.map_or(started, |first| first.clamp(started - SECOND_NS, started)).max(begins)
    });
    let last_step = steps().filter_map(|step| time(step.completed_at.as_deref())).max();
    let ends = completed.or(last_step).unwrap_or(begins).max(works.unwrap_or(begins));
    JobTimes { told: job, result, begins, works, ends }
}

fn is_skipped(step: &WorkflowStep) -> bool {
    step.conclusion.as_deref() == Some("skipped")
}

struct Builder {
    trace: TraceId,
    resource: Arc<Resource>,
}

impl Builder {
    fn span(
        &self,
        (span_id, parent): (SpanId, Option<SpanId>),
        name: String,
        (start_ns, end_ns): (i64, i64),
        attributed: Attributed,
    ) -> Span {
        Span {
            parent_span_id: parent,
            status: attributed.failure.map_or(SpanStatus::Unset, SpanStatus::Error),
            attributes: attributed.attributes,
            resource: self.resource.clone(),
            ..Span::new(self.trace, span_id, name, (start_ns, end_ns.max(start_ns)))
        }
    }

    fn job(&self, spans: &mut Vec<Span>, root: SpanId, run: &WorkflowRun, job: &JobTimes) {
        let (told, id) = (job.told, job_span_id(job.told.id));
        let at = spans.len();
        let attributes = of_job(run, told, job.result, job.failure().as_ref());
        spans.push(self.span((id, Some(root)), told.name.clone(), (job.begins, job.ends), attributes));
        if job.result == RunResult::Skip {
            return;
        }
        // From the first moment a runner could have taken it: never a part of the work.
        let queue = (job.begins, job.works.unwrap_or(job.ends));
        let name = format!("queue-{}", told.name);
        spans.push(self.span((queue_span_id(told.id), Some(id)), name, queue, of_queue(run, told)));
        let Some(works) = job.works else { return };
        let mut steps: Vec<&WorkflowStep> = told.steps.iter().collect();
        steps.sort_by_key(|step| step.number);
        let names = step_names(steps.iter().map(|step| step.name.as_str()));
        for (shift, (step, name)) in (1_i64..).zip(steps.iter().zip(names)) {
            let (start, end) = step_times(step, (works, job.ends));
            let times = (start.saturating_add(shift), end.saturating_add(shift));
            let attributes = of_step(run, told, step, &name.task);
            let span_id = step_span_id(told.id, &name.unique);
            spans.push(self.span((span_id, Some(id)), step.name.clone(), times, attributes));
            spans[at].end_ns = spans[at].end_ns.max(times.1);
        }
        spans[0].end_ns = spans[0].end_ns.max(spans[at].end_ns);
    }
}

/// A step within its job. One that was skipped is a moment; one without an end ended with the
/// job.
fn step_times(step: &WorkflowStep, (works, ends): (i64, i64)) -> (i64, i64) {
    let within = |at: i64| at.clamp(works, ends);
    let completed = time(step.completed_at.as_deref()).map(within);
    let start = time(step.started_at.as_deref()).map(within).or(completed).unwrap_or(ends);
    if is_skipped(step) {
        return (start, start);
    }
    (start, completed.unwrap_or(ends).max(start))
}
