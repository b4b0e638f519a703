//! The pure core: numerics, plain data and decisions. Equal input gives an equal verdict.
//!
//! This crate knows no clock, no randomness, no input and no output: time is a parameter.
//! Within it, `gate` may use `model` and `stats`, and `model` may use `stats`.

pub mod gate;
pub mod model;
pub mod stats;
