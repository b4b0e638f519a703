//! What a worker runs: one file for each job. Which there are and how they are pushed is `job`'s;
//! what an error means for one is decided in `settlement` alone. Here each is run.

mod announce_check;
pub mod backfill;
pub mod call_gate;
mod collect_run;
mod collect_workflow_run;
mod conclude_silent_check;
mod conclude_superseded_check;
mod confirm_by_rerun;
mod contents;
mod evaluate_head;
mod evaluation;
mod forget_repositories;
mod gone;
mod handle_delivery;
mod job;
mod job_spans;
mod linked_traces;
mod listed_runs;
mod locations;
mod periodic;
mod policy;
mod publish_comment;
mod publish_comparison;
mod publishing;
mod reconcile_repository;
mod recording;
mod resume;
mod retain;
mod settlement;
mod show_awaited;
mod stored_spans;
mod sweep_deliveries;
mod thin_traces;
mod withheld;
mod work;
pub mod worker;
mod workflow_run;

pub use job::Job;
pub use settlement::JobError;
pub use work::{COLLECTING_MIB, TraceSettings, Work};

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
async fn run(work: &Work, job: Job) -> Result<(), JobError> {
    let repo = job.repo();
    let result = match job {
        Job::HandleDelivery { delivery_id, .. } => handle_delivery::handle_delivery(work, &delivery_id).await,
        Job::CollectRun { repo, trace, .. } => collect_run::collect_run(work, repo, trace).await,
        Job::CollectWorkflowRun { repo, run_id, attempt } => {
            collect_workflow_run::collect_workflow_run(work, repo, run_id, attempt).await
        }
        Job::DiscoverWorkflows { repo, cause } => backfill::discover_workflows(work, repo, &cause).await,
        Job::BackfillWorkflow { repo, workflow_id, page, cause } => {
            backfill::backfill_workflow(work, repo, workflow_id, page, &cause).await
        }
        Job::EvaluateHead { repo, head_sha, cause } => {
            evaluate_head::evaluate_head(work, repo, &head_sha, cause).await
        }
        Job::AnnounceCheck { repo, head_sha, evaluation } => {
            announce_check::announce_check(work, repo, &head_sha, evaluation).await
        }
        Job::ConfirmByRerun { repo, head_sha, comparison, a_day } => {
            confirm_by_rerun::confirm_by_rerun(work, repo, &head_sha, &comparison, a_day).await
        }
        Job::ShowAwaited { repo, head_sha, evaluation, .. } => {
            show_awaited::show_awaited(work, repo, &head_sha, evaluation).await
        }
        Job::PublishComparison { repo, head_sha, cause, .. } => {
            publish_comparison::publish_comparison(work, repo, &head_sha, &cause, false).await
        }
        Job::PublishComment { repo, number, .. } => {
            publish_comment::publish_comment(work, repo, number).await
        }
        Job::ConcludeSupersededCheck { repo, head_sha, evaluation } => {
            conclude_superseded_check::conclude_superseded_check(work, repo, &head_sha, evaluation).await
        }
        Job::ConcludeSilentCheck { repo, head_sha, evaluation } => {
            conclude_silent_check::conclude_silent_check(work, repo, &head_sha, evaluation).await
        }
        Job::SweepDeliveries { .. } => sweep_deliveries::sweep_deliveries(work).await,
        Job::ReconcileRepository { repo, slot } => {
            reconcile_repository::reconcile_repository(work, repo, slot).await
        }
        Job::RefreshPullRequest { repo, number, slot, .. } => {
            reconcile_repository::refresh_pull_request(work, repo, number, slot).await
        }
    };
    if let (Err(JobError::GitHub(GitHubError::Refused { status: 401, .. })), Some(app)) = (&result, &work.app)
    {
        // A token was revoked before its time: the next attempt mints its own.
        app.forget_tokens();
    }
    match (result, repo) {
        (Err(error), Some(repo)) => gone::unless_gone(work, repo, error).await,
        (result, _) => result,
    }
}
