//! Runs tasks: how they enter the queue, the loop that claims and settles them, and when GitHub may be
//! called. The tasks themselves are in the folders beside this one.

pub(super) mod lost_access;
pub(super) mod missing_permission;
mod periodic;
pub mod rate_limiter;
pub(super) mod registry;
mod settlement;
mod task;
mod worker;

pub use settlement::TaskError;
pub use task::Task;
pub use worker::run_tasks;
