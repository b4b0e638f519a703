//! Turns a trace into a measured run: its identity, stages, errors and notes. It takes no decision
//! about the run.

pub mod attempts;
mod containment;
pub mod extract;
pub mod identity;
pub(crate) mod propagation;
mod sampling;
mod stack_frame;
mod stack_trace;
pub mod stage_key;
pub mod stage_state;
mod template;
mod waiting;

use self::containment::place_operations;
use self::extract::extract;
use self::identity::RunIdentity;
use crate::model::dropped;
use crate::model::ids::{CommitSha, RepoName, RunId};
use crate::model::run::{Lineage, MeasuredRun, PipelineRun};
use crate::model::time::Timestamp;
use crate::model::trace::Trace;

/// Facts about a run that its receiver decides: a trace can't prove them.
#[derive(Debug, Clone, PartialEq)]
pub struct Provenance {
    pub id: RunId,
    /// The repository that the sender's identity belongs to.
    pub repo: RepoName,
    pub head_sha: CommitSha,
    pub lineage: Lineage,
}

#[must_use]
pub fn measure(trace: Trace, identity: RunIdentity, provenance: Provenance) -> MeasuredRun {
    let (trace, moved) = place_operations(trace);
    let extraction = extract(&trace);
    let root = trace.span(trace.root());
    let mut notes = trace.repairs().notes();
    notes.extend(moved);
    notes.extend(extraction.notes);
    notes.extend(sampling::note(&trace));
    notes.extend(dropped::notes(trace.spans()));
    MeasuredRun {
        run: PipelineRun {
            id: provenance.id,
            repo: provenance.repo,
            pipeline: identity.pipeline,
            external_id: identity.external_id,
            trace_id: Some(trace.id()),
            attempt: identity.attempt,
            head_sha: provenance.head_sha,
            lineage: provenance.lineage,
            result: identity.result,
            runner: identity.runner,
            started_at: Timestamp::from_nanos(root.start_ns),
            duration_ns: root.end_ns.saturating_sub(root.start_ns),
            workflow_path: identity.workflow_path,
            notes,
        },
        stages: extraction.stages,
        errors: extraction.errors,
    }
}
