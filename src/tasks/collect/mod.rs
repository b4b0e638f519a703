//! Makes measured runs: of spans that were pushed, and of workflow runs that GitHub lists.

pub(super) mod collect_run;
pub(super) mod collect_workflow_run;
pub(super) mod job_spans;
mod linked_traces;
pub(super) mod recording;
mod stored_spans;
pub(super) mod workflow_run;
