//! Measures one attempt of a workflow run from GitHub's API data. Used for runs that have just ended
//! and for the backfill. Writes nothing.

use super::recording::raw;
use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::gate::measure::identity::RunIdentity;
use pacegate_engine::gate::measure::{Provenance, measure};
use pacegate_engine::model::ids::{RepoName, RunId, TraceId};
use pacegate_engine::model::run::{Lineage, MeasuredRun};
use pacegate_engine::model::trace::Trace;
use pacegate_engine::model::workflow_run::{JobsOfAttempt, WorkflowRun};
use pacegate_ingest::ci_job::api_trace::{ActionsTrace, Completeness, Incomplete, trace_of};
use pacegate_ingest::ci_job::placement::{JobSpans, merge};

/// Events of a repository's own branches. They run the branch's commit, without the change of a pull
/// request.
const BRANCH_EVENTS: [&str; 3] = ["push", "schedule", "workflow_dispatch"];

/// A measured attempt that is not stored yet.
#[derive(Debug)]
pub(in crate::tasks) struct Attempt {
    pub(in crate::tasks) measured: MeasuredRun,
    pub(in crate::tasks) trace: TraceId,
    /// The raw trace in the object store's format.
    pub(in crate::tasks) raw: Vec<u8>,
    /// The sampling policy that keeps the raw trace.
    pub(in crate::tasks) kept_by: Option<String>,
}

/// The branch whose history includes a run. `None` for pull requests, forks, and events whose run on a
/// branch does not depend on its commit.
pub(in crate::tasks) fn branch_of(run: &WorkflowRun) -> Option<&str> {
    let branch = run.head_branch.as_deref().filter(|branch| !branch.is_empty())?;
    (BRANCH_EVENTS.contains(&run.event.as_str()) && run.is_of_own_branch()).then_some(branch)
}

/// An attempt from GitHub's API, and its trace.
pub(in crate::tasks) struct ApiRun {
    pub(in crate::tasks) run: WorkflowRun,
    pub(in crate::tasks) listed: JobsOfAttempt,
    pub(in crate::tasks) trace: ActionsTrace,
}

impl ApiRun {
    /// The inner error means that GitHub does not have all data yet.
    pub(in crate::tasks) async fn build(
        run: WorkflowRun,
        listed: JobsOfAttempt,
        completeness: Completeness,
    ) -> Result<Result<Self, Incomplete>, TaskError> {
        let built = tokio::task::spawn_blocking(move || {
            let trace = trace_of(&run, &listed, completeness)?;
            Ok(Self { run, listed, trace })
        });
        Ok(built.await?)
    }
}

/// Measures an attempt and the spans that its jobs sent, on a blocking thread. The run's identity comes
/// from GitHub's spans alone.
pub(in crate::tasks) async fn measure_attempt(
    context: &WorkerContext,
    repo: &RepoName,
    api_run: ApiRun,
    sent: Vec<JobSpans>,
    lineage: Lineage,
) -> Result<Attempt, TaskError> {
    let provenance = Provenance {
        id: RunId(context.rng.ulid(context.clock.now())),
        repo: repo.clone(),
        head_sha: api_run.run.head_sha,
        lineage,
    };
    let settings = context.trace_settings.clone();
    tokio::task::spawn_blocking(move || {
        let ActionsTrace { spans, notes } = api_run.trace;
        let nothing = || TaskError::Unreadable("a workflow run without a span".into());
        // Read before the spans of jobs are added: they must not change it.
        let identity = RunIdentity::of_root(spans.first().ok_or_else(nothing)?);
        let mut merged = merge(spans, sent);
        settings.redactor.redact(&mut merged.spans);
        let trace = Trace::build(merged.spans).ok_or_else(nothing)?;
        let raw = raw(trace.spans())?;
        let kept_by = settings.sampling.decide(trace.spans()).map(str::to_owned);
        let id = trace.id();
        let mut measured = measure(trace, identity, provenance);
        // Contradictions come first, because a long list of notes is cut.
        measured.run.notes.splice(0..0, merged.notes);
        measured.run.notes.extend(notes);
        Ok(Attempt { measured, trace: id, raw, kept_by })
    })
    .await?
}
