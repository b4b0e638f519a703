//! Confirms a suspected regression: reruns the job of the workflow run that showed it, if the policy
//! allows it. A head has one rerun, and a repository has a number of reruns a day. Failed reruns count too.
//! The measurements arrive as another attempt of the run.

use serde::{Deserialize, Serialize};

use super::evaluation::{Awaited, Target};
use crate::tasks::github_client::client;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::gate::measure::stage_key::stable_name;
use pacegate_engine::model::comparison::{ErrorVerdict, RunComparison, RunVerdict, StageVerdict};
use pacegate_engine::model::ids::{CommitSha, ComparisonId, RepoId};
use pacegate_engine::model::stage::StageKey;
use pacegate_engine::model::time::Timestamp;
use pacegate_engine::model::workflow_run::WorkflowJob;
use pacegate_github::app_auth::Purpose;
use pacegate_github::{GitHubError, RepoClient};
use pacegate_store::{RepositoryRow, RunFilter};

/// `a_day` is the most reruns of the repository within a day.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ConfirmByRerun {
    pub(crate) repo: RepoId,
    pub(crate) head_sha: CommitSha,
    pub(crate) comparison: ComparisonId,
    pub(crate) a_day: u32,
}

/// The job to rerun.
struct Suspicion {
    run_id: i64,
    attempt: u32,
    /// The job's name as stages have it.
    job: String,
}

impl Task for ConfirmByRerun {
    const KIND: &'static str = "confirm_by_rerun";

    fn repo(&self) -> Option<RepoId> {
        Some(self.repo)
    }

    fn dedupe_key(&self) -> String {
        format!("{}:{}", self.repo.0, self.comparison)
    }

    fn serial_key(&self) -> Option<String> {
        Some(format!("rerun:{}:{}", self.repo.0, self.head_sha))
    }

    async fn run(self, context: &WorkerContext) -> Result<(), TaskError> {
        let Self { repo, ref head_sha, ref comparison, a_day } = self;
        let Some((repository, reader)) = client(context, repo, Purpose::ReadActions).await? else {
            return Ok(());
        };
        let Some(suspicion) = find_suspicion(context, &repository, head_sha, comparison).await? else {
            return Ok(());
        };
        let reserved = context.db.read().await?.rerun_of(repo, head_sha).await?;
        let job_id = match reserved {
            // An earlier attempt of this task was interrupted after it reserved the head's rerun.
            Some((run_id, job_id)) if run_id == suspicion.run_id => job_id,
            Some(_) => return Ok(()),
            None => {
                let Some(job_id) = job_of(&reader, &suspicion).await? else { return Ok(()) };
                let now = context.clock.now();
                let mut tx = context.db.write().await?;
                let job = (suspicion.run_id, job_id);
                // The lock keeps the count of the day exact across processes.
                tx.lock_repository(repo).await?;
                let is_reserved = tx.reserve_rerun(repo, head_sha, job, i64::from(a_day), now).await?;
                tx.commit().await?;
                if !is_reserved {
                    tracing::info!(repo = %repository.name, head = %head_sha, a_day, "no job is rerun: the day's reruns are used up");
                    return Ok(());
                }
                job_id
            }
        };
        if reader.workflow_run(suspicion.run_id).await?.run_attempt > suspicion.attempt {
            return Ok(()); // it was rerun already, by this service or by a person
        }
        match rerun(context, repo, job_id).await {
            Ok(()) => {
                tracing::info!(repo = %repository.name, head = %head_sha, job = suspicion.job, "a job is rerun to confirm a suspicion");
                Ok(())
            }
            // Not granted, or GitHub does not allow a rerun any more: the suspicion stays unconfirmed.
            Err(TaskError::GitHub(GitHubError::Refused { status: 403 | 422, message, .. })) => {
                tracing::warn!(
                    repo = %repository.name, head = %head_sha, message,
                    "a job can't be rerun to confirm a suspicion; does the App have the permission `actions: write`?"
                );
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

async fn rerun(context: &WorkerContext, repo: RepoId, job_id: i64) -> Result<(), TaskError> {
    let Some((_, writer)) = client(context, repo, Purpose::RerunJobs).await? else { return Ok(()) };
    Ok(writer.rerun_job(job_id).await?)
}

/// The suspicion of the newest comparison of a pull request's newest head. `None` if the comparison is not
/// the newest, if runs are still awaited, or if no stored workflow run has the suspected stage.
async fn find_suspicion(
    context: &WorkerContext,
    repository: &RepositoryRow,
    head_sha: &CommitSha,
    comparison: &ComparisonId,
) -> Result<Option<Suspicion>, TaskError> {
    let repo = repository.id;
    let mut tx = context.db.read().await?;
    let newest = tx.newest_comparison(repo, head_sha).await?.filter(|row| row.id == *comparison);
    let Some(row) = newest else { return Ok(None) };
    let is_open_head = match Target::of(&mut tx, repo, head_sha).await? {
        Some(Target::PullRequest(pr)) => pr.is_open && pr.head_sha == *head_sha,
        Some(Target::MergeGroup(_)) | None => false,
    };
    let Some((key, path)) = suspected_stage(&row.comparison).filter(|_| is_open_head) else {
        return Ok(None);
    };
    let [_, job, ..] = path else { return Ok(None) };
    if !Awaited::of(context, &mut tx, repo, head_sha).await?.is_empty() {
        return Ok(None);
    }
    for measured in tx.measured_runs(repo, &repository.name, &RunFilter::Head(head_sha.clone()), 50).await? {
        let run_id = measured.run.external_id.as_deref().and_then(|id| id.parse().ok());
        let (Some(run_id), true) = (run_id, measured.stages.iter().any(|stage| stage.key == *key)) else {
            continue;
        };
        if tx.workflow_run(repo, run_id).await?.is_some() {
            return Ok(Some(Suspicion { run_id, attempt: measured.run.attempt, job: job.clone() }));
        }
    }
    Ok(None)
}

/// The first suspected stage, or the stage of the first suspected error. `None` unless the verdict of the
/// whole comparison is a suspicion.
fn suspected_stage(comparison: &RunComparison) -> Option<(&StageKey, &[String])> {
    if comparison.verdict != RunVerdict::Suspect {
        return None;
    }
    let stage = comparison.stages.iter().find(|stage| {
        stage.verdict == StageVerdict::Suspect && stage.explained_by.is_none() && stage.decision.is_none()
    });
    let error =
        || comparison.errors.iter().find(|e| e.verdict == ErrorVerdict::Suspect && e.decision.is_none());
    stage
        .map(|stage| (&stage.key, &*stage.path))
        .or_else(|| error().map(|error| (&error.stage, &*error.path)))
}

/// GitHub's number of the job. Several jobs can have one name in stages: the longest one counts.
async fn job_of(client: &RepoClient, suspicion: &Suspicion) -> Result<Option<i64>, TaskError> {
    let listed = client.jobs_of_attempt(suspicion.run_id, suspicion.attempt).await?;
    let duration = |job: &WorkflowJob| {
        let at = |text: &Option<String>| Timestamp::parse_rfc3339(text.as_deref()?);
        Some(at(&job.completed_at)?.since(at(&job.started_at)?))
    };
    let named = listed.jobs.iter().filter(|job| stable_name(&job.name) == suspicion.job);
    Ok(named.max_by_key(|job| duration(job)).map(|job| job.id))
}
