//! `pacegate worker`: runs the background tasks of a service in a separate process. Opens no port.

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::credentials::credentials;
use super::serve::{open_context, stop_signal};
use super::{CliError, database};
use crate::config::{GitHubArgs, StoreArgs, WorkArgs};
use crate::tasks::run_tasks;
use pacegate_clock::{Clock, Randomness};

/// Arguments of `worker`.
#[derive(Debug, Clone, Args)]
pub(super) struct WorkerArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    github: GitHubArgs,
    #[command(flatten)]
    work: WorkArgs,
}

/// `pacegate worker`.
pub(super) async fn worker(args: WorkerArgs) -> Result<(), CliError> {
    let clock = Clock::system();
    let credentials = credentials(&args.github, &database(&args.store)?, &clock)?;
    let context =
        open_context(&args.store, &args.work, credentials.as_ref(), clock, Randomness::from_system()).await?;
    let stop = CancellationToken::new();
    let workers = tokio::spawn(run_tasks(context.clone(), usize::from(args.work.jobs), stop.clone()));
    tracing::info!(database = context.db.kind(), slots = args.work.jobs, "working");
    stop_signal().await?;
    tracing::info!("stopping: background tasks in flight are finished first");
    stop.cancel();
    let _ended = workers.await;
    context.db.close().await;
    tracing::info!("stopped");
    Ok(())
}
