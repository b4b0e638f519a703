//! Begins and repeats evaluations of a head, and finds the runs that its check awaits.

use std::time::Duration;

use super::evaluate_head::EvaluateHead;
use crate::tasks::publish::announce_check::AnnounceCheck;
use crate::tasks::publish::conclude_silent_check::ConcludeSilentCheck;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, PrNumber, RepoId};
use pacegate_engine::model::time::Timestamp;
use pacegate_report::check::{PendingCheck, WaitedRun, WaitedState, Waiting, pending};
use pacegate_store::{MergeGroupRow, PullRequestRow, Tx, WorkflowRunRow};

/// Why a head gets a check.
#[derive(Debug, Clone)]
pub(in crate::tasks) enum Target {
    /// It is, or was, the head of a pull request.
    PullRequest(PullRequestRow),
    /// It is the head of a group of a merge queue.
    MergeGroup(MergeGroupRow),
}

impl Target {
    /// The target of a commit, as GitHub announced it. `None`: the commit gets no check.
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

    pub(in crate::tasks) fn pull_request(&self) -> Option<&PullRequestRow> {
        match self {
            Self::PullRequest(pull_request) => Some(pull_request),
            Self::MergeGroup(_) => None,
        }
    }

    /// The number of the pull request.
    pub(in crate::tasks) fn number(&self) -> Option<PrNumber> {
        self.pull_request().map(|pull_request| pull_request.number)
    }

    /// The branch to merge into.
    pub(in crate::tasks) fn base_branch(&self) -> &str {
        match self {
            Self::PullRequest(pull_request) => &pull_request.base_branch,
            Self::MergeGroup(group) => &group.base_branch,
        }
    }

    /// The newest commit of the base branch that GitHub named.
    pub(in crate::tasks) fn base_sha(&self) -> Option<&CommitSha> {
        match self {
            Self::PullRequest(pull_request) => pull_request.base_sha.as_ref(),
            Self::MergeGroup(group) => Some(&group.base_sha),
        }
    }
}

/// Begins an evaluation of a head, unless it has begun. Pushes the tasks that create its check, evaluate
/// the runs measured so far, and conclude the check after its timeout.
pub(in crate::tasks) async fn begin(
    context: &WorkerContext,
    tx: &mut Tx,
    repo: RepoId,
    head_sha: &CommitSha,
    evaluation: i64,
    cause: &str,
) -> Result<(), TaskError> {
    let now = context.clock.now();
    let newest = tx.newest_check(repo, head_sha).await?.map_or(0, |check| check.evaluation);
    if newest >= evaluation || !tx.begin_check(repo, head_sha, evaluation, now).await? {
        return Ok(());
    }
    let head_sha = head_sha.clone();
    let announce = AnnounceCheck { repo, head_sha: head_sha.clone(), evaluation };
    announce.push(tx, now, &context.rng, now).await?;
    let cause = format!("{cause} {evaluation}");
    evaluate_again(context, tx, repo, &head_sha, cause).await?;
    let timeout = ConcludeSilentCheck { repo, head_sha, evaluation };
    timeout.push(tx, now.after(context.check_timeout), &context.rng, now).await?;
    Ok(())
}

/// Evaluates a head again, because one of its inputs changed. A second push with the same cause does
/// nothing.
pub(in crate::tasks) async fn evaluate_again(
    context: &WorkerContext,
    tx: &mut Tx,
    repo: RepoId,
    head_sha: &CommitSha,
    cause: String,
) -> Result<(), TaskError> {
    let now = context.clock.now();
    EvaluateHead { repo, head_sha: head_sha.clone(), cause }.push(tx, now, &context.rng, now).await?;
    Ok(())
}

/// Name of a trace that is still arriving. Its pipeline is not known yet.
const ARRIVING: &str = "a pipeline that sends spans";
/// Most arriving traces that a check lists.
const MOST_TRACES: i64 = 20;

/// The runs of a head that are known and not measured yet.
#[derive(Debug, Clone, Default)]
pub(in crate::tasks) struct Awaited {
    /// Workflow runs that have not ended, or that ended and were not read yet.
    pub(in crate::tasks) runs: Vec<WorkflowRunRow>,
    /// Names of the workflow runs that were read.
    pub(in crate::tasks) read: Vec<String>,
    /// Traces of other pipelines that are still arriving.
    pub(in crate::tasks) traces: i64,
}

impl Awaited {
    pub(in crate::tasks) async fn of(
        context: &WorkerContext,
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
        // A trace without a root is awaited no longer than the check's timeout.
        let since = context.clock.now().before(context.check_timeout.max(Duration::from_mins(1)));
        Ok(Self { runs, read, traces: tx.arriving_traces(repo, head_sha, since).await? })
    }

    /// The pending check, which is concluded at `until` at the latest.
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

    /// Names of the awaited workflows and traces.
    pub(in crate::tasks) fn names(&self) -> Vec<String> {
        let traces = (self.traces > 0).then(|| ARRIVING.to_owned());
        self.runs.iter().map(|run| run.name.clone()).chain(traces).collect()
    }

    pub(in crate::tasks) fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.traces == 0
    }
}

/// Events whose workflow runs belong to the commit on which GitHub shows them. A scheduled or a manual
/// run may be on a head too, but no change waits for it.
const JUDGED_EVENTS: [&str; 4] = ["push", "pull_request", "pull_request_target", "merge_group"];
