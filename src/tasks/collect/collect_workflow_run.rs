//! Collects a completed attempt of a workflow run: reads it from GitHub's API, adds the data that its
//! jobs sent, and stores it as a run. Idempotent, because an attempt always has the same trace.
//! Leaves out data that contradicts GitHub.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::collect_run::CollectRun;
use super::job_spans::{AttemptFetcher, JobUploads};
use super::recording::record;
use super::workflow_run::{ApiRun, branch_of, measure_attempt};
use crate::tasks::evaluate::evaluation::evaluate_again;
use crate::tasks::github_client::client;
use crate::tasks::queue::missing_permission::allow_missing_permission;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, PrNumber, RepoId};
use pacegate_engine::model::run::Lineage;
use pacegate_engine::model::time::Timestamp;
use pacegate_engine::model::workflow_run::WorkflowRun;
use pacegate_github::app_auth::Purpose;
use pacegate_ingest::ci_job::api_trace::Completeness;
use pacegate_store::RepositoryRow;

/// Delay before incomplete data is requested again.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// Incomplete data is requested again until this long after the run's last change.
const RETRY_PERIOD: Duration = Duration::from_mins(20);

/// `attempt` counts from 1.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CollectWorkflowRun {
    pub(crate) repo: RepoId,
    pub(crate) run_id: i64,
    pub(crate) attempt: u32,
}

impl Task for CollectWorkflowRun {
    const KIND: &'static str = "collect_workflow_run";

    fn repo(&self) -> Option<RepoId> {
        Some(self.repo)
    }

    fn dedupe_key(&self) -> String {
        format!("{}:{}:{}", self.repo.0, self.run_id, self.attempt)
    }

    fn serial_key(&self) -> Option<String> {
        Some(format!("workflow run {}:{}", self.repo.0, self.run_id))
    }

    async fn run(self, context: &WorkerContext) -> Result<(), TaskError> {
        let Self { repo, run_id, attempt } = self;
        let Err(error) = collect(context, repo, run_id, attempt).await else { return Ok(()) };
        // The check stays pending: the run is read if the permission is granted meanwhile.
        allow_missing_permission(context, repo, error).await
    }
}

async fn collect(context: &WorkerContext, repo: RepoId, run_id: i64, attempt: u32) -> Result<(), TaskError> {
    let Some((repository, actions)) = client(context, repo, Purpose::ReadActions).await? else {
        return Ok(());
    };
    let run = actions.workflow_run_attempt(run_id, attempt).await?;
    if repository.github_id.is_some_and(|id| id != run.repository.id) {
        tracing::warn!(repo = %repository.name, run = run_id, "GitHub answers for another repository of this name");
        return Ok(());
    }
    if !run.has_workflow_file() {
        return pass_over(context, repo, &run, attempt, "its workflow is not a file of the repository").await;
    }
    if run.awaits_approval() {
        return Ok(()); // a webhook delivery reports its end
    }
    let may_retry = Timestamp::parse_rfc3339(&run.updated_at)
        .is_some_and(|t| context.clock.now() < t.after(RETRY_PERIOD));
    if !run.is_completed() {
        if may_retry {
            return Err(TaskError::TooEarly(RETRY_DELAY));
        }
        tracing::warn!(repo = %repository.name, run = run_id, attempt, "a workflow run was delivered as completed but is still running");
        return Ok(()); // a webhook delivery reports its end
    }
    let listed = actions.jobs_of_attempt(run_id, attempt).await?;
    let completeness = if may_retry { Completeness::Required } else { Completeness::BestEffort };
    // This check comes before the artifacts are fetched: they are large, and a retry would fetch them
    // again.
    let api_run = match ApiRun::build(run, listed, completeness).await? {
        Ok(api_run) => api_run,
        Err(missing) => {
            tracing::debug!(repo = %repository.name, run = run_id, attempt, reason = %missing, "incomplete data is requested again soon");
            return Err(TaskError::TooEarly(RETRY_DELAY));
        }
    };
    let lineage = lineage(context, &repository, &api_run.run).await?;
    let head_sha = api_run.run.head_sha.clone();
    let fetcher = AttemptFetcher {
        context,
        repository: &repository,
        actions: &actions,
        run: &api_run.run,
        attempt,
        listed: &api_run.listed,
        may_retry,
    };
    let Some(uploads) = fetcher.fetch().await? else { return Ok(()) };
    let JobUploads { jobs, notes, batches_read, held } = uploads;
    let mut collected = measure_attempt(context, &repository.name, api_run, jobs, lineage).await?;
    collected.measured.run.notes.extend(notes);
    // Equal content gives an equal cause, so the head is not judged again for it.
    let content = hex::encode(&Sha256::digest(&collected.raw)[..8]);
    // The raw trace must exist before a run refers to it.
    context.traces.put(repo, collected.trace, collected.raw).await?;
    let mut tx = context.db.write().await?;
    let now = context.clock.now();
    let marked = tx.mark_api_trace_collected(repo, collected.trace, batches_read, now).await?;
    if marked.has_more {
        // Jobs sent more during the measurement. A later task adds it, so that a sender that never stops
        // cannot delay this run.
        let more = CollectRun { repo, trace: collected.trace, collections: marked.collections };
        more.push(&mut tx, now.after(context.settle), &context.rng, now).await?;
    }
    let recorded = record(&mut tx, repo, &mut collected.measured, 1).await?;
    tx.record_trace(repo, &recorded.id, collected.kept_by.as_deref(), context.clock.now()).await?;
    recorded.evaluate_heads(context, &mut tx, repo, &content).await?;
    tx.mark_workflow_run_collected(repo, run_id, i64::from(attempt)).await?;
    tx.commit().await?;
    drop(held);
    tracing::debug!(repo = %repository.name, run = run_id, attempt, head = %head_sha, "a workflow run was measured");
    Ok(())
}

/// Marks a run as collected without measuring it, so that no check waits for it.
async fn pass_over(
    context: &WorkerContext,
    repo: RepoId,
    run: &WorkflowRun,
    attempt: u32,
    reason: &str,
) -> Result<(), TaskError> {
    tracing::debug!(run = run.id, attempt, path = run.path, reason, "a workflow run is not measured");
    let mut tx = context.db.write().await?;
    tx.mark_workflow_run_collected(repo, run.id, i64::from(attempt)).await?;
    evaluate_again(
        context,
        &mut tx,
        repo,
        &run.head_sha,
        format!("run {} {attempt} is not measured", run.id),
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

/// The line of development according to the run's event. Stored data on the commit can override it.
async fn lineage(
    context: &WorkerContext,
    repository: &RepositoryRow,
    run: &WorkflowRun,
) -> Result<Lineage, TaskError> {
    if let Some(name) = branch_of(run) {
        return Ok(Lineage::Branch { name: name.to_owned() });
    }
    if !matches!(run.event.as_str(), "pull_request" | "pull_request_target") {
        return Ok(Lineage::Unknown);
    }
    let number = pull_request_of(context, repository, run).await?;
    Ok(number.map_or(Lineage::Unknown, |number| Lineage::PullRequest { number }))
}

/// Finds the pull request of a run. Sources in order:
/// - the stored pull request with this head commit
/// - the run's own list, if the base is this repository
/// - for a fork, GitHub's list of open pull requests for the branch
async fn pull_request_of(
    context: &WorkerContext,
    repository: &RepositoryRow,
    run: &WorkflowRun,
) -> Result<Option<PrNumber>, TaskError> {
    let mut tx = context.db.read().await?;
    let stored = tx.pull_request_of_head(repository.id, &run.head_sha).await?;
    drop(tx);
    if let Some(stored) = stored {
        return Ok(Some(stored.number));
    }
    let is_here =
        |side: &pacegate_engine::model::workflow_run::RunPullRequestSide| side.repo.id == run.repository.id;
    if let Some(named) = run.pull_requests.iter().find(|pr| is_here(&pr.base)) {
        return Ok(Some(PrNumber(named.number)));
    }
    let (Some(head), Some(branch)) = (&run.head_repository, &run.head_branch) else { return Ok(None) };
    let Some((_, pulls)) = client(context, repository.id, Purpose::ReadPullRequests).await? else {
        return Ok(None);
    };
    let matches = |pull: &pacegate_github::pulls::PullRequest, sha: &CommitSha| {
        pull.head.sha == *sha && pull.head.repo.as_ref().is_some_and(|repo| repo.id == head.id)
    };
    let open = pulls.open_pull_requests_from(head.owner(), branch).await?;
    Ok(open.iter().find(|pull| matches(pull, &run.head_sha)).map(|pull| PrNumber(pull.number)))
}
