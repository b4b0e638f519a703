//! The list of all tasks, one line each. A task that is missing here does not compile.
//! Runs a stored task by its kind.

use std::pin::Pin;

use super::lost_access::handle_lost_access;
use super::{Task, TaskError};
use crate::tasks::{WorkerContext, backfill, collect, evaluate, handle_delivery, publish, reconcile};
use pacegate_github::GitHubError;

/// Marks the tasks of the registry.
#[diagnostic::on_unimplemented(
    message = "the task `{Self}` is not registered",
    note = "add a line for it to `registry!` in src/tasks/queue/registry.rs"
)]
pub trait Registered {}

macro_rules! registry {
    ($($task:path,)*) => {
        $(impl Registered for $task {})*

        /// One entry for each registered task.
        const TASKS: &[Entry] = &[$(Entry::of::<$task>()),*];
    };
}

registry! {
    backfill::backfill_workflow::BackfillWorkflow,
    backfill::discover_workflows::DiscoverWorkflows,
    collect::collect_run::CollectRun,
    collect::collect_workflow_run::CollectWorkflowRun,
    evaluate::confirm_by_rerun::ConfirmByRerun,
    evaluate::evaluate_head::EvaluateHead,
    handle_delivery::HandleDelivery,
    publish::announce_check::AnnounceCheck,
    publish::conclude_silent_check::ConcludeSilentCheck,
    publish::conclude_superseded_check::ConcludeSupersededCheck,
    publish::publish_comment::PublishComment,
    publish::publish_comparison::PublishComparison,
    publish::show_awaited::ShowAwaited,
    reconcile::reconcile_repository::ReconcileRepository,
    reconcile::refresh_pull_request::RefreshPullRequest,
    reconcile::sweep_deliveries::SweepDeliveries,
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<(), TaskError>> + Send + 'a>>;

/// Reads and runs stored tasks of one kind.
#[derive(Debug)]
pub(in crate::tasks) struct Entry {
    pub(in crate::tasks) kind: &'static str,
    run: for<'a> fn(&'a WorkerContext, &'a str) -> Running<'a>,
}

impl Entry {
    const fn of<T: Task>() -> Self {
        Self { kind: T::KIND, run: run::<T> }
    }

    /// Runs a stored task.
    pub(in crate::tasks) async fn run(
        &self,
        context: &WorkerContext,
        payload: &str,
    ) -> Result<(), TaskError> {
        (self.run)(context, payload).await
    }
}

/// The entry of a kind. An unknown kind is an error: a newer version may have pushed it.
pub(in crate::tasks) fn of_kind(kind: &str) -> Result<&'static Entry, TaskError> {
    TASKS
        .iter()
        .find(|entry| entry.kind == kind)
        .ok_or_else(|| TaskError::Unreadable(format!("this version has no task of the kind `{kind}`").into()))
}

fn read<T: Task>(payload: &str) -> Result<T, TaskError> {
    serde_json::from_str(payload).map_err(|e| TaskError::Unreadable(e.into()))
}

fn run<'a, T: Task>(context: &'a WorkerContext, payload: &'a str) -> Running<'a> {
    Box::pin(async move {
        let task: T = read(payload)?;
        let repo = task.repo();
        let Err(error) = task.run(context).await else { return Ok(()) };
        if let (TaskError::GitHub(GitHubError::Refused { status: 401, .. }), Some(app)) =
            (&error, &context.app)
        {
            // A token was revoked before it expired. The next attempt gets a new one.
            app.forget_tokens();
        }
        match repo {
            Some(repo) => handle_lost_access(context, repo, error).await,
            None => Err(error),
        }
    })
}

#[cfg(test)]
mod tests;
