//! The trace of a workflow run from GitHub's API data: the run, its jobs, each job's wait for a
//! runner, and the steps. Pure, and independent of the order of the listed jobs.
//! Skipped, cancelled and carried-over work has no meaningful times, so it is marked or left out.
//!
//! GitHub's times are whole seconds. Steps are shifted by nanoseconds so that steps that share a
//! second keep their order.

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

#[derive(Debug, Clone, PartialEq)]
pub struct ActionsTrace {
    /// The root first.
    pub spans: Vec<Span>,
    /// Data that was left out.
    pub notes: Vec<Note>,
}

/// GitHub's answer lags behind its webhook. A request a little later gets all data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("GitHub's data on the run is incomplete: {0}")]
pub struct Incomplete(String);

/// How to treat a run whose data is incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// Refuse the run.
    Required,
    /// Use the available data and add a note.
    BestEffort,
}

/// Builds the trace of one attempt.
///
/// # Errors
/// [`Incomplete`] under [`Completeness::Required`].
pub fn trace_of(
    run: &WorkflowRun,
    listed: &JobsOfAttempt,
    completeness: Completeness,
) -> Result<ActionsTrace, Incomplete> {
    let mut notes = Vec::new();
    if let Err(missing) = check_complete(run, listed) {
        match completeness {
            Completeness::Required => return Err(missing),
            Completeness::BestEffort => notes.push(Note::ListingIncomplete { missing: missing.0 }),
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
    jobs.sort_by_key(|times| (times.begins, times.job.id));

    let trace = trace_id(run.id, run.run_attempt);
    let resource = Arc::new(of_resource(run, &runner::of_run(jobs.iter().map(|times| times.job))));
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

/// GitHub may report a run as completed before it reports the end of the last job.
fn check_complete(run: &WorkflowRun, listed: &JobsOfAttempt) -> Result<(), Incomplete> {
    let missing = |what: String| Err(Incomplete(what));
    if !run.is_completed() {
        return missing(format!("its status is `{}`", run.status.as_deref().unwrap_or("missing")));
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

/// Whether an entry is a check run that a step created. It has no labels and no runner.
fn is_phantom(job: &WorkflowJob) -> bool {
    job.labels.is_empty() && !has_runner(job)
}

fn has_runner(job: &WorkflowJob) -> bool {
    job.runner_name.as_deref().is_some_and(|name| !name.is_empty())
}

/// Nanoseconds since the epoch; none for GitHub's zero times (`0001-01-01T00:00:00Z`).
fn time(text: Option<&str>) -> Option<i64> {
    let micros = Timestamp::parse_rfc3339(text?)?.0;
    (micros > 0).then(|| micros.saturating_mul(1_000))
}

/// A job with corrected times, nanoseconds since the epoch.
struct JobTimes<'a> {
    job: &'a WorkflowJob,
    result: RunResult,
    /// When it was ready to run.
    begins: i64,
    /// When a runner picked it up.
    picked_up: Option<i64>,
    ends: i64,
}

impl JobTimes<'_> {
    /// The failure of its first failed step, else its own conclusion.
    fn failure(&self) -> Option<Failure> {
        let own = Failure::of(self.job.conclusion.as_deref())?;
        let mut failed: Vec<(i64, Failure)> = self
            .job
            .steps
            .iter()
            .filter_map(|step| Some((step.number, Failure::of(step.conclusion.as_deref())?)))
            .collect();
        failed.sort_by_key(|(number, _)| *number);
        Some(failed.into_iter().next().map_or(own, |(_, failure)| failure))
    }
}

/// The jobs that ran in this attempt, and the number of jobs carried over from an earlier attempt.
/// A rerun of the failed jobs also lists the other jobs, with their old times.
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
        // The times of a skipped job may be reversed or zero, so it has no duration.
        let at = completed.or(started).or(created).unwrap_or(began).max(began);
        return JobTimes { job, result, begins: at, picked_up: None, ends: at };
    }
    let begins = created.or(started).unwrap_or(began).max(began);
    let steps = || job.steps.iter().filter(|step| !is_skipped(step));
    // GitHub reports the start of a job up to one second after the start of its first step.
    let first_step = steps().filter_map(|step| time(step.started_at.as_deref())).min();
    let picked_up = started.filter(|_| has_runner(job)).map(|started| {
        first_step.map_or(started, |first| first.clamp(started - SECOND_NS, started)).max(begins)
    });
    let last_step = steps().filter_map(|step| time(step.completed_at.as_deref())).max();
    let ends = completed.or(last_step).unwrap_or(begins).max(picked_up.unwrap_or(begins));
    JobTimes { job, result, begins, picked_up, ends }
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

    fn job(&self, spans: &mut Vec<Span>, root: SpanId, run: &WorkflowRun, times: &JobTimes) {
        let (job, id) = (times.job, job_span_id(times.job.id));
        let at = spans.len();
        let attributes = of_job(run, job, times.result, times.failure().as_ref());
        spans.push(self.span((id, Some(root)), job.name.clone(), (times.begins, times.ends), attributes));
        if times.result == RunResult::Skip {
            return;
        }
        // The wait for a runner has a stage of its own and is not part of the work.
        let queue = (times.begins, times.picked_up.unwrap_or(times.ends));
        let name = format!("queue-{}", job.name);
        spans.push(self.span((queue_span_id(job.id), Some(id)), name, queue, of_queue(run, job)));
        let Some(picked_up) = times.picked_up else { return };
        let mut steps: Vec<&WorkflowStep> = job.steps.iter().collect();
        steps.sort_by_key(|step| step.number);
        let names = step_names(steps.iter().map(|step| step.name.as_str()));
        for (shift, (step, name)) in (1_i64..).zip(steps.iter().zip(names)) {
            let (start, end) = step_times(step, (picked_up, times.ends));
            let shifted = (start.saturating_add(shift), end.saturating_add(shift));
            let attributes = of_step(run, job, step, &name.task);
            let span_id = step_span_id(job.id, &name.unique);
            spans.push(self.span((span_id, Some(id)), step.name.clone(), shifted, attributes));
            spans[at].end_ns = spans[at].end_ns.max(shifted.1);
        }
        spans[0].end_ns = spans[0].end_ns.max(spans[at].end_ns);
    }
}

/// Start and end of a step, clamped to its job. A skipped step has no duration. A step without an
/// end ends with the job.
fn step_times(step: &WorkflowStep, (picked_up, ends): (i64, i64)) -> (i64, i64) {
    let within = |at: i64| at.clamp(picked_up, ends);
    let completed = time(step.completed_at.as_deref()).map(within);
    let start = time(step.started_at.as_deref()).map(within).or(completed).unwrap_or(ends);
    if is_skipped(step) {
        return (start, start);
    }
    (start, completed.unwrap_or(ends).max(start))
}
