//! Turns a suspicion into a verdict: the job of the workflow run in which it was seen is run again,
//! where the policy wants that. Once for a head and so many times a day for a repository, whatever
//! becomes of it; what it measures comes back as a further attempt of the run.

use super::evaluation::{Awaited, Target};
use crate::tasks::publish::publishing::client;
use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::gate::measure::stage_key::stable_name;
use pacegate_engine::model::comparison::{ErrorVerdict, RunComparison, RunVerdict, StageVerdict};
use pacegate_engine::model::ids::{CommitSha, ComparisonId, RepoId};
use pacegate_engine::model::stage::StageKey;
use pacegate_github::actions::WorkflowJob;
use pacegate_github::app_auth::Purpose;
use pacegate_github::{GitHubError, RepoClient};
use pacegate_store::{RepositoryRow, RunFilter};

/// What is to be run again.
struct Suspicion {
    run_id: i64,
    attempt: u32,
    /// The job's name, as stages have it.
    job: String,
}

pub(in crate::tasks) async fn confirm_by_rerun(
    work: &WorkerContext,
    repo: RepoId,
    head_sha: &CommitSha,
    comparison: &ComparisonId,
    a_day: u32,
) -> Result<(), TaskError> {
    let Some((repository, reader)) = client(work, repo, Purpose::ReadActions).await? else { return Ok(()) };
    let Some(suspicion) = suspicion(work, &repository, head_sha, comparison).await? else { return Ok(()) };
    let reserved = work.db.read().await?.rerun_of(repo, head_sha).await?;
    let job_id = match reserved {
        // This job was cut off after it took the head's one rerun.
        Some((run_id, job_id)) if run_id == suspicion.run_id => job_id,
        Some(_) => return Ok(()),
        None => {
            let Some(job_id) = job_of(&reader, &suspicion).await? else { return Ok(()) };
            let now = work.clock.now();
            let mut tx = work.db.write().await?;
            let asked = (suspicion.run_id, job_id);
            // Counted one after the other, whichever process counts.
            tx.lock_repository(repo).await?;
            let may = tx.reserve_rerun(repo, head_sha, asked, i64::from(a_day), now).await?;
            tx.commit().await?;
            if !may {
                tracing::info!(repo = %repository.name, head = %head_sha, a_day, "no job is run again: the day's reruns are used up");
                return Ok(());
            }
            job_id
        }
    };
    if reader.workflow_run(suspicion.run_id).await?.run_attempt > suspicion.attempt {
        return Ok(()); // it runs again already, by us or by somebody
    }
    match rerun(work, repo, job_id).await {
        Ok(()) => {
            tracing::info!(repo = %repository.name, head = %head_sha, job = suspicion.job, "a suspicious job is run again");
            Ok(())
        }
        // Not granted, or not to be run again any more: the suspicion stays one.
        Err(TaskError::GitHub(GitHubError::Refused { status: 403 | 422, message, .. })) => {
            tracing::warn!(
                repo = %repository.name, head = %head_sha, message,
                "a suspicious job can't be run again; does the App have the permission `actions: write`?"
            );
            Ok(())
        }
        Err(error) => Err(error),
    }
}

async fn rerun(work: &WorkerContext, repo: RepoId, job_id: i64) -> Result<(), TaskError> {
    let Some((_, writer)) = client(work, repo, Purpose::RerunJobs).await? else { return Ok(()) };
    Ok(writer.rerun_job(job_id).await?)
}

/// What the newest comparison of a pull request's newest head suspects, and where it ran.
async fn suspicion(
    work: &WorkerContext,
    repository: &RepositoryRow,
    head_sha: &CommitSha,
    comparison: &ComparisonId,
) -> Result<Option<Suspicion>, TaskError> {
    let repo = repository.id;
    let mut tx = work.db.read().await?;
    let newest = tx.newest_comparison(repo, head_sha).await?.filter(|row| row.id == *comparison);
    let Some(row) = newest else { return Ok(None) };
    let is_asked = match Target::of(&mut tx, repo, head_sha).await? {
        Some(Target::PullRequest(pr)) => pr.is_open && pr.head_sha == *head_sha,
        Some(Target::MergeGroup(_)) | None => false,
    };
    let Some((key, path)) = suspect(&row.comparison).filter(|_| is_asked) else { return Ok(None) };
    let [_, job, ..] = path else { return Ok(None) };
    if !Awaited::of(work, &mut tx, repo, head_sha).await?.is_empty() {
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

/// The first suspicion a comparison tells of; none unless it is what the verdict stands on.
fn suspect(comparison: &RunComparison) -> Option<(&StageKey, &[String])> {
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

/// GitHub's number of the job: of several with one name in stages, the one that took longest.
async fn job_of(client: &RepoClient, suspicion: &Suspicion) -> Result<Option<i64>, TaskError> {
    let listed = client.jobs_of_attempt(suspicion.run_id, suspicion.attempt).await?;
    let took = |job: &WorkflowJob| Some((job.started_at.clone()?, job.completed_at.clone()?));
    let seconds = |job: &WorkflowJob| {
        let at = |text: &str| pacegate_engine::model::time::Timestamp::parse_rfc3339(text);
        took(job).and_then(|(from, to)| Some(at(&to)?.since(at(&from)?)))
    };
    let named = listed.jobs.iter().filter(|job| stable_name(&job.name) == suspicion.job);
    Ok(named.max_by_key(|job| seconds(job)).map(|job| job.id))
}
