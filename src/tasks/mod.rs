//! What a worker runs: one file for each job. Which there are and how they are pushed is `job`'s;
//! what an error means for one is decided in `settlement` alone. Here each is run.

pub mod backfill;
mod collect;
mod evaluate;
mod handle_delivery;
mod publish;
pub mod queue;
mod reconcile;
mod retention;
mod worker_context;

pub use queue::{Task, TaskError, run_tasks};
pub use worker_context::{COLLECTING_MIB, TraceSettings, WorkerContext};

use pacegate_github::GitHubError;

/// An error and its causes in one line: for the log and for people who look at dead jobs.
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

/// Runs one job.
async fn run(work: &WorkerContext, job: Task) -> Result<(), TaskError> {
    let repo = job.repo();
    let result = match job {
        Task::HandleDelivery { delivery_id, .. } => {
            handle_delivery::handle_delivery(work, &delivery_id).await
        }
        Task::CollectRun { repo, trace, .. } => collect::collect_run::collect_run(work, repo, trace).await,
        Task::CollectWorkflowRun { repo, run_id, attempt } => {
            collect::collect_workflow_run::collect_workflow_run(work, repo, run_id, attempt).await
        }
        Task::DiscoverWorkflows { repo, cause } => backfill::discover_workflows(work, repo, &cause).await,
        Task::BackfillWorkflow { repo, workflow_id, page, cause } => {
            backfill::backfill_workflow(work, repo, workflow_id, page, &cause).await
        }
        Task::EvaluateHead { repo, head_sha, cause } => {
            evaluate::evaluate_head::evaluate_head(work, repo, &head_sha, cause).await
        }
        Task::AnnounceCheck { repo, head_sha, evaluation } => {
            publish::announce_check::announce_check(work, repo, &head_sha, evaluation).await
        }
        Task::ConfirmByRerun { repo, head_sha, comparison, a_day } => {
            evaluate::confirm_by_rerun::confirm_by_rerun(work, repo, &head_sha, &comparison, a_day).await
        }
        Task::ShowAwaited { repo, head_sha, evaluation, .. } => {
            publish::show_awaited::show_awaited(work, repo, &head_sha, evaluation).await
        }
        Task::PublishComparison { repo, head_sha, cause, .. } => {
            publish::publish_comparison::publish_comparison(work, repo, &head_sha, &cause, false).await
        }
        Task::PublishComment { repo, number, .. } => {
            publish::publish_comment::publish_comment(work, repo, number).await
        }
        Task::ConcludeSupersededCheck { repo, head_sha, evaluation } => {
            publish::conclude_superseded_check::conclude_superseded_check(work, repo, &head_sha, evaluation)
                .await
        }
        Task::ConcludeSilentCheck { repo, head_sha, evaluation } => {
            publish::conclude_silent_check::conclude_silent_check(work, repo, &head_sha, evaluation).await
        }
        Task::SweepDeliveries { .. } => reconcile::sweep_deliveries::sweep_deliveries(work).await,
        Task::ReconcileRepository { repo, slot } => {
            reconcile::reconcile_repository::reconcile_repository(work, repo, slot).await
        }
        Task::RefreshPullRequest { repo, number, slot, .. } => {
            reconcile::reconcile_repository::refresh_pull_request(work, repo, number, slot).await
        }
    };
    if let (Err(TaskError::GitHub(GitHubError::Refused { status: 401, .. })), Some(app)) =
        (&result, &work.app)
    {
        // A token was revoked before its time: the next attempt mints its own.
        app.forget_tokens();
    }
    match (result, repo) {
        (Err(error), Some(repo)) => queue::lost_access::handle_lost_access(work, repo, error).await,
        (result, _) => result,
    }
}
