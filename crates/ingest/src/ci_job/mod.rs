//! The trace of one attempt of a GitHub Actions run. Pure functions: no network, clock or database.
//!
//! - [`api_trace`] turns GitHub's API data (run, jobs, steps) into spans.
//! - [`archive`] reads what the companion action uploads for one job: manifest, spans, reports.
//! - [`placement`] puts the spans that jobs sent below the steps that GitHub listed. It never
//!   changes what GitHub stated about a run, a job or a step.
//! - [`manifest_run`] builds the run and job spans where no GitHub App reports the run.
//! - [`upload`] places one uploaded archive below its job.
//! - [`ids`] derives trace and span ids. The action computes the same ids.

pub mod api_trace;
pub mod archive;
#[cfg(test)]
mod fixture;
pub mod ids;
pub mod manifest_run;
pub mod placement;
pub mod upload;
