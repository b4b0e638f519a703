//! From a fitted baseline and a candidate's runs to a verdict: compare stages and errors, name
//! the responsible stage, aggregate pipelines, apply what people decided.

pub mod aggregate;
pub mod attribute;
pub mod compare;
pub mod errors;
mod judge;
pub mod overrides;
mod queue;
