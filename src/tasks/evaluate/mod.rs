//! Evaluates heads: gathers the inputs of a comparison and stores its result.
//! The statistics are in `crates/engine`. Writing to GitHub is in `publish`.

pub(super) mod confirm_by_rerun;
mod contents;
pub(super) mod evaluate_head;
pub(super) mod evaluation;
mod inputs;
mod locations;
mod policy;
