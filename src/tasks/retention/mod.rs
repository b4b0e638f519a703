//! Deletes data that is past its retention time, in bounded steps.

pub(super) mod forget_repositories;
mod prune_raw_traces;
pub(super) mod retain;
