//! The life of a head's evaluation: how one is begun and judged again, and what its check waits
//! for meanwhile.

use std::time::Duration;

use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, PrNumber, RepoId};
use pacegate_engine::model::time::Timestamp;
use pacegate_report::check::{PendingCheck, WaitedRun, WaitedState, Waiting, pending};
use pacegate_store::{MergeGroupRow, PullRequestRow, Tx, WorkflowRunRow};

/// What a head wants its check for.
#[derive(Debug, Clone)]
pub(in crate::tasks) enum Target {
    /// It is, or was, the head of a pull request.
    PullRequest(PullRequestRow),
    /// It is the head of a group of a merge queue.
    MergeGroup(MergeGroupRow),
}

impl Target {
    /// What GitHub says the commit is for. None: nobody asked about it, so there is no check.
    pub(in crate::tasks) async fn of(
        tx: &mut Tx,
        repo: RepoId,
        head_sha: &CommitSha,
    ) -> Result<Option<Self>, TaskError> {
        if let Some(pull_request) = tx.pull_request_of_head(repo, head_sha).await? {
            return Ok(Some(Self::PullRequest(pull_request)));
        }
        Ok(tx.merge_group(repo, head_sha).await?.map(Self::MergeGroup))
    }

    /// The pull request, if it is one.
    pub(in crate::tasks) fn pull_request(&self) -> Option<&PullRequestRow> {
        match self {
            Self::PullRequest(pull_request) => Some(pull_request),
            Self::MergeGroup(_) => None,
        }
    }

    /// Its number.
    pub(in crate::tasks) fn number(&self) -> Option<PrNumber> {
        self.pull_request().map(|pull_request| pull_request.number)
    }

    /// The branch it is to be merged into.
    pub(in crate::tasks) fn base_branch(&self) -> &str {
        match self {
            Self::PullRequest(pull_request) => &pull_request.base_branch,
            Self::MergeGroup(group) => &group.base_branch,
        }
    }

    /// The newest commit of that branch, as GitHub last said.
    pub(in crate::tasks) fn base_sha(&self) -> Option<&CommitSha> {
        match self {
            Self::PullRequest(pull_request) => pull_request.base_sha.as_ref(),
            Self::MergeGroup(group) => Some(&group.base_sha),
        }
    }
}

/// Starts an evaluation of a head, unless it has been started: its check on GitHub, its
/// verdict if something was measured already, and the end of its waiting.
pub(in crate::tasks) async fn begin(
    work: &WorkerContext,
    tx: &mut Tx,
    repo: RepoId,
    head_sha: &CommitSha,
    evaluation: i64,
    cause: &str,
) -> Result<(), TaskError> {
    let now = work.clock.now();
    let newest = tx.newest_check(repo, head_sha).await?.map_or(0, |check| check.evaluation);
    if newest >= evaluation || !tx.begin_check(repo, head_sha, evaluation, now).await? {
        return Ok(());
    }
    let head_sha = head_sha.clone();
    let jobs = [
        (Task::AnnounceCheck { repo, head_sha: head_sha.clone(), evaluation }, now),
        (
            Task::EvaluateHead { repo, head_sha: head_sha.clone(), cause: format!("{cause} {evaluation}") },
            now,
        ),
        (Task::ConcludeSilentCheck { repo, head_sha, evaluation }, now.after(work.check_timeout)),
    ];
    for (job, run_at) in jobs {
        job.push(tx, run_at, &work.rng, now).await?;
    }
    Ok(())
}

/// Judges a head again: something that counts for it changed.
pub(in crate::tasks) async fn judge_again(
    work: &WorkerContext,
    tx: &mut Tx,
    repo: RepoId,
    head_sha: &CommitSha,
    cause: String,
) -> Result<(), TaskError> {
    let now = work.clock.now();
    Task::EvaluateHead { repo, head_sha: head_sha.clone(), cause }.push(tx, now, &work.rng, now).await?;
    Ok(())
}

/// Of a trace that arrives, nobody knows the name yet.
const ARRIVING: &str = "a pipeline that sends spans";
/// Traces that are shown as waited for.
const MOST_TRACES: i64 = 20;

/// What a head's check waits for.
#[derive(Debug, Clone, Default)]
pub(in crate::tasks) struct Awaited {
    /// Runs of workflows that have not ended, or ended and were not read yet.
    pub runs: Vec<WorkflowRunRow>,
    /// Names of those that were read.
    pub read: Vec<String>,
    /// Traces of other pipelines that are still arriving.
    pub traces: i64,
}

impl Awaited {
    /// What is known to run for a head and has not been measured.
    pub(in crate::tasks) async fn of(
        work: &WorkerContext,
        tx: &mut Tx,
        repo: RepoId,
        head_sha: &CommitSha,
    ) -> Result<Self, TaskError> {
        let runs = tx.workflow_runs_of_head(repo, head_sha).await?;
        let (runs, read): (Vec<_>, Vec<_>) = runs
            .into_iter()
            .filter(|run| JUDGED_EVENTS.contains(&run.event.as_str()))
            .partition(WorkflowRunRow::is_awaited);
        let mut read: Vec<String> = read.into_iter().map(|run| run.name).collect();
        read.dedup();
        // A trace whose root never comes is waited for no longer than a check is.
        let since = work.clock.now().before(work.check_timeout.max(Duration::from_mins(1)));
        Ok(Self { runs, read, traces: tx.arriving_traces(repo, head_sha, since).await? })
    }

    /// The check that waits for it, at most until a time.
    pub(in crate::tasks) fn pending(
        &self,
        head_sha: &CommitSha,
        until: Option<Timestamp>,
        details_url: Option<String>,
    ) -> PendingCheck {
        let of_run = |run: &WorkflowRunRow| WaitedRun {
            name: run.name.clone(),
            state: match run.progress {
                WorkflowRunRow::COMPLETED => WaitedState::NotRead,
                1 => WaitedState::InProgress,
                _ => WaitedState::Queued,
            },
        };
        let arriving = (0..self.traces.min(MOST_TRACES))
            .map(|_| WaitedRun { name: ARRIVING.to_owned(), state: WaitedState::InProgress });
        let runs = self.runs.iter().map(of_run).chain(arriving).collect();
        pending(head_sha, &Waiting { runs, collected: self.read.clone(), until, details_url })
    }

    /// What it is called.
    pub(in crate::tasks) fn names(&self) -> Vec<String> {
        let traces = (self.traces > 0).then(|| ARRIVING.to_owned());
        self.runs.iter().map(|run| run.name.clone()).chain(traces).collect()
    }

    /// Whether there is nothing left to wait for.
    pub(in crate::tasks) fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.traces == 0
    }
}

/// Events whose workflow runs are about the commit they are shown on. A schedule's or a manual run
/// may be on a head too, but nobody's change waits for it.
pub(in crate::tasks) const JUDGED_EVENTS: [&str; 4] =
    ["push", "pull_request", "pull_request_target", "merge_group"];
