//! Runs tasks: the loop that claims and settles them, their registration, and when GitHub may be called.
//! What a task does is in the folders beside this one.

pub(super) mod lost_access;
pub(super) mod missing_permission;
mod periodic;
pub mod rate_limiter;
mod settlement;
mod task;
mod worker;

pub use settlement::TaskError;
pub use task::Task;
pub use worker::run_tasks;
