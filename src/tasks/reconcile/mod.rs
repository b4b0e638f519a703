//! Finds what webhook deliveries missed: lost deliveries, pull requests, workflow runs and tasks that
//! waited for access.

pub(super) mod listed_runs;
pub(super) mod reconcile_repository;
pub(super) mod resume;
pub(super) mod sweep_deliveries;
