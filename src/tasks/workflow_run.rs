//! One attempt of a workflow run, from what GitHub tells of it to a measured run: for the run
//! that has just ended and for those of the past alike.

use super::recording::raw;
use super::{TaskError, WorkerContext};
use pacegate_engine::gate::measure::identity::RunIdentity;
use pacegate_engine::gate::measure::{Provenance, measure};
use pacegate_engine::model::ids::{RepoName, RunId, TraceId};
use pacegate_engine::model::run::{Lineage, MeasuredRun};
use pacegate_engine::model::trace::Trace;
use pacegate_engine::model::workflow_run::{JobsOfAttempt, WorkflowRun};
use pacegate_ingest::ci_job::api_trace::{ActionsTrace, Completeness, NotComplete, trace_of};
use pacegate_ingest::ci_job::placement::{JobSpans, merge};

/// Events of a repository's own branches: what ran is the branch's commit and nobody's change.
const BRANCH_EVENTS: [&str; 3] = ["push", "schedule", "workflow_dispatch"];

/// A measured attempt, not written yet.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) measured: MeasuredRun,
    pub(super) trace: TraceId,
    /// As the object store keeps it.
    pub(super) raw: Vec<u8>,
    /// The policy that keeps it there.
    pub(super) kept_by: Option<String>,
}

/// The branch whose past a run is part of, by its event: none for pull requests, forks and events
/// that run on a branch without saying anything about its commit.
pub(super) fn branch_of(run: &WorkflowRun) -> Option<&str> {
    let branch = run.head_branch.as_deref().filter(|branch| !branch.is_empty())?;
    (BRANCH_EVENTS.contains(&run.event.as_str()) && run.is_of_own_branch()).then_some(branch)
}

/// An attempt as GitHub tells it, and what that was made of.
pub(super) struct Told {
    pub(super) run: WorkflowRun,
    pub(super) listed: JobsOfAttempt,
    pub(super) trace: ActionsTrace,
}

impl Told {
    /// None when GitHub does not tell all of it yet.
    pub(super) async fn of(
        run: WorkflowRun,
        listed: JobsOfAttempt,
        completeness: Completeness,
    ) -> Result<Result<Self, NotComplete>, TaskError> {
        let told = tokio::task::spawn_blocking(move || {
            let trace = trace_of(&run, &listed, completeness)?;
            Ok(Self { run, listed, trace })
        });
        Ok(told.await?)
    }
}

/// Measures an attempt off the async threads, with what its jobs sent. Who it is, GitHub says alone.
pub(super) async fn measure_attempt(
    work: &WorkerContext,
    repo: &RepoName,
    told: Told,
    sent: Vec<JobSpans>,
    lineage: Lineage,
) -> Result<Attempt, TaskError> {
    let provenance = Provenance {
        id: RunId(work.rng.ulid(work.clock.now())),
        repo: repo.clone(),
        head_sha: told.run.head_sha,
        lineage,
    };
    let settings = work.trace_settings.clone();
    tokio::task::spawn_blocking(move || {
        let ActionsTrace { spans, notes } = told.trace;
        let nothing = || TaskError::Unreadable("a workflow run without a span".into());
        // Before anything that jobs sent is added.
        let identity = RunIdentity::of_root(spans.first().ok_or_else(nothing)?);
        let mut merged = merge(spans, sent);
        settings.redactor.redact(&mut merged.spans);
        let trace = Trace::build(merged.spans).ok_or_else(nothing)?;
        let raw = raw(trace.spans())?;
        let kept_by = settings.sampling.decide(trace.spans()).map(str::to_owned);
        let id = trace.id();
        let mut measured = measure(trace, identity, provenance);
        // What contradicts GitHub is told first: a long list is cut.
        measured.run.notes.splice(0..0, merged.notes);
        measured.run.notes.extend(notes);
        Ok(Attempt { measured, trace: id, raw, kept_by })
    })
    .await?
}
