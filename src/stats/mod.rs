//! Numerics only: knows `f64`, not stages. No clock, no randomness, no input or output.
