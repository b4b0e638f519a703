//! Pure decisions: spans to stages, history to a baseline, both to a comparison. No clock, no
//! randomness, no input or output: the same data always gives the same verdict.
//!
//! `identity` and `extract` read a trace, `baseline` chooses the past, `fit` learns from it,
//! `compare` judges (with `common_mode`, `errors` and `attribute`), `structure` tells what changed in the
//! pipeline itself, `conclude` joins pipelines, `locations` finds the lines of a `workflow_file`.

mod alternate;
pub mod attempts;
pub mod attribute;
pub mod baseline;
mod budget;
mod columns;
pub mod common_mode;
pub mod compare;
pub mod conclude;
mod containment;
pub mod decide;
pub mod duration_model;
pub mod errors;
pub mod extract;
pub mod family;
pub mod fit;
#[cfg(test)]
mod fixture;
pub mod history;
#[cfg(test)]
mod hostile;
pub mod identity;
pub mod job_spans;
mod judge;
#[cfg(test)]
mod laws;
pub mod locations;
pub mod measure;
pub mod pieces;
mod present_level;
mod propagation;
mod queue;
pub mod replay;
mod sampling;
#[cfg(test)]
mod scenarios;
mod sentence;
mod stack_frame;
mod stack_trace;
pub mod stage_key;
mod stage_state;
#[cfg(test)]
mod strange_machines;
pub mod structure;
mod template;
mod waiting;
pub mod words;
pub mod workflow_file;
