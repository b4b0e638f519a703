//! Numerics on `f64` only, without stages or runs. No clock, no randomness, no input or output.

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

/// A count as `f64`. Exact up to 2^52.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "no count here exceeds 2^52")]
pub fn count(n: usize) -> f64 {
    n as f64
}
