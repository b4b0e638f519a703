//! Pure decisions: spans to stages, history to a baseline, both to a comparison. No clock, no
//! randomness, no input or output: the same data always gives the same verdict.
//!
//! `identity` and `extract` read a trace, `baseline` chooses the past, `fit` learns from it,
//! `compare` judges (with `common_mode`, `errors` and `attribute`), `conclude` joins pipelines.

pub mod extract;
#[cfg(test)]
mod fixture;
pub mod identity;
pub mod propagation;
pub mod stage_key;
pub mod template;
