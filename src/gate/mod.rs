//! Pure decisions: spans to stages, history to a baseline, both to a comparison. No clock, no
//! randomness, no input or output: the same data always gives the same verdict.
//!
//! `identity` and `extract` read a trace, `baseline` chooses the past, `fit` learns from it,
//! `compare` judges (with `common_mode`, `errors` and `attribute`), `conclude` joins pipelines.

pub mod attribute;
pub mod baseline;
mod calibrate;
mod columns;
pub mod common_mode;
pub mod compare;
pub mod conclude;
pub mod errors;
pub mod extract;
pub mod fit;
#[cfg(test)]
mod fixture;
pub mod identity;
mod judge;
pub mod measure;
mod propagation;
pub mod replay;
#[cfg(test)]
mod scenarios;
pub mod stage_key;
mod template;
pub mod words;
