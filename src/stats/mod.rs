//! Numerics only: knows `f64`, not stages. No clock, no randomness, no input or output.

pub mod proportion;
pub mod quantile;
pub mod robust;
pub mod sample;

/// A count as a number to calculate with.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "nothing is counted here beyond 2^52")]
pub fn count(n: usize) -> f64 {
    n as f64
}
