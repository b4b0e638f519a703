//! Finds what webhook deliveries missed: lost deliveries, pull requests and workflow runs. Resumes what
//! waited for access to a repository.

pub(super) mod listed_runs;
pub(super) mod reconcile_repository;
pub(super) mod refresh_pull_request;
pub(super) mod resume;
pub(super) mod sweep_deliveries;
