//! Numerics only: knows `f64`, not stages. No clock, no randomness, no input or output.

pub mod change_point;
pub mod drift;
pub mod evidence;
pub mod hampel;
pub mod level;
pub mod level_shift;
pub mod matrix;
pub mod proportion;
pub mod quantile;
pub mod rate;
pub mod robust;
pub mod sample;
pub mod student;
pub mod tail;

/// A count as a number to calculate with.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "nothing is counted here beyond 2^52")]
pub fn count(n: usize) -> f64 {
    n as f64
}
