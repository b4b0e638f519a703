//! Pure decisions: spans to stages, a history to a baseline, both to a comparison. No clock, no
//! randomness, no input or output: equal input gives an equal verdict.
//!
//! - [`measure`] turns a trace into stages, durations and errors.
//! - [`baseline`] selects the past runs that are comparable, and [`history`] finds their
//!   lasting changes.
//! - [`duration_model`] learns from them what each stage normally takes.
//! - [`verdict`] compares a candidate with that; [`structure`] lists changes of the pipeline.
//! - [`workflow_file`] finds the line of each finding.
//! - [`replay`] tries all of it on a recorded history.

pub mod baseline;
pub mod duration_model;
pub mod history;
pub mod measure;
pub mod replay;
pub mod structure;
#[cfg(test)]
pub(crate) mod tests;
pub mod verdict;
pub mod workflow_file;
