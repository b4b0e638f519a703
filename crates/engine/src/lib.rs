//! The pure core: numerics, plain data and decisions. Equal input gives an equal verdict.
//!
//! This crate has no clock, no randomness, no input and no output. Time is a parameter.
//! `gate` may use `model` and `stats`. `model` may use `stats`.

pub mod gate;
pub mod model;
pub mod stats;
