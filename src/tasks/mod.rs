//! Background tasks: one file for each, in folders by theme. `queue` owns how they are stored and run.
//! They run without a web server and without the command line.

pub mod backfill;
mod collect;
mod evaluate;
mod github_client;
mod handle_delivery;
mod publish;
pub mod queue;
mod reconcile;
mod retention;
mod worker_context;

pub use collect::collect_run::CollectRun;
pub use handle_delivery::HandleDelivery;
pub use queue::{Task, TaskError, run_tasks};
pub use worker_context::{COLLECTING_MIB, TraceSettings, WorkerContext};

/// An error and its causes in one line of at most 2,000 characters.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.chars().take(2_000).collect()
}
