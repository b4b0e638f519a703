//! Turns a fitted baseline and a candidate's runs into a verdict: compares stages and errors, names
//! the responsible stage, aggregates pipelines, applies people's decisions. It formats no text.

pub mod aggregate;
pub mod attribute;
pub mod compare;
pub mod errors;
mod judge;
pub mod overrides;
mod queue;
