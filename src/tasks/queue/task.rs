//! The closed set of jobs: their parameters, which of two pushes are one job, which run one at a time
//! and how often one is tried.

use serde::{Deserialize, Serialize};

use pacegate_clock::Randomness;
use pacegate_engine::model::ids::{CommitSha, ComparisonId, PrNumber, RepoId, TraceId};
use pacegate_engine::model::time::Timestamp;
use pacegate_store::{NewTask, Priority, StoreError, Tx};

/// A job, with its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub enum Task {
    /// Act on a webhook delivery.
    HandleDelivery {
        /// Which.
        delivery_id: String,
        /// What it is about: deliveries about one thing are handled one at a time, so that the
        /// one that asked GitHub last also writes last.
        subject: String,
    },
    /// Make a run of the spans that were pushed.
    CollectRun {
        /// Whose.
        repo: RepoId,
        /// Which trace.
        trace: TraceId,
        /// How often it was collected before.
        collections: i64,
    },
    /// Read a workflow run that ended, and make a run of it.
    CollectWorkflowRun {
        /// Where.
        repo: RepoId,
        /// GitHub's number of the run.
        run_id: i64,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// Find the workflows whose history is to be read.
    DiscoverWorkflows {
        /// Where.
        repo: RepoId,
        /// What made it necessary: a delivery. A second push for the same reason is not needed.
        cause: String,
    },
    /// Read a page of a workflow's history.
    BackfillWorkflow {
        /// Where.
        repo: RepoId,
        /// GitHub's number of the workflow.
        workflow_id: i64,
        /// Which page, from 1.
        page: i64,
        /// What made it necessary.
        cause: String,
    },
    /// Judge a head.
    EvaluateHead {
        /// Where.
        repo: RepoId,
        /// Which.
        head_sha: CommitSha,
        /// What made it necessary: a second push for the same reason is not needed.
        cause: String,
    },
    /// Show on GitHub that a head's check is on its way.
    AnnounceCheck {
        /// Where.
        repo: RepoId,
        /// Which.
        head_sha: CommitSha,
        /// Which evaluation.
        evaluation: i64,
    },
    /// Run the job again in which something was suspected, for a second sample of it.
    ConfirmByRerun {
        /// Where.
        repo: RepoId,
        /// Which head.
        head_sha: CommitSha,
        /// The comparison that suspects.
        comparison: ComparisonId,
        /// So many jobs of the repository may be run again within a day.
        a_day: u32,
    },
    /// Show on GitHub what a head's check waits for.
    ShowAwaited {
        /// Where.
        repo: RepoId,
        /// Which.
        head_sha: CommitSha,
        /// Which evaluation.
        evaluation: i64,
        /// The span of time in which the news came: they are shown together.
        slot: i64,
    },
    /// Put the newest comparison of a head on GitHub.
    PublishComparison {
        /// Where.
        repo: RepoId,
        /// Which.
        head_sha: CommitSha,
        /// The comparison that made it necessary.
        comparison: ComparisonId,
        /// What made that necessary: equal comparisons for another reason are published again.
        cause: String,
    },
    /// Put what the newest head's comparison says into the pull request's one comment.
    PublishComment {
        /// Where.
        repo: RepoId,
        /// Which pull request.
        number: PrNumber,
        /// The comparison that made it necessary.
        comparison: ComparisonId,
        /// What made that necessary.
        cause: String,
    },
    /// Conclude a check that waits on a commit whose place another took.
    ConcludeSupersededCheck {
        /// Where.
        repo: RepoId,
        /// Which.
        head_sha: CommitSha,
        /// Which evaluation.
        evaluation: i64,
    },
    /// Conclude a check no trace came for.
    ConcludeSilentCheck {
        /// Where.
        repo: RepoId,
        /// Which.
        head_sha: CommitSha,
        /// Which evaluation.
        evaluation: i64,
    },
    /// Ask GitHub for deliveries that did not arrive.
    SweepDeliveries {
        /// Once for each slot of time.
        slot: i64,
    },
    /// Compare a repository's pull requests with what is known of them.
    ReconcileRepository {
        /// Which.
        repo: RepoId,
        /// Once for each slot of time; for an installation, the moment it was heard of.
        slot: i64,
    },
    /// Ask GitHub for a pull request that is not as its deliveries told.
    RefreshPullRequest {
        /// Where.
        repo: RepoId,
        /// Which.
        number: PrNumber,
        /// What its deliveries are about: it takes its turn with them.
        subject: String,
        /// The slot in which it was found.
        slot: i64,
    },
}

impl Task {
    /// The name under which it is stored and counted.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::HandleDelivery { .. } => "handle_delivery",
            Self::CollectRun { .. } => "collect_run",
            Self::CollectWorkflowRun { .. } => "collect_workflow_run",
            Self::DiscoverWorkflows { .. } => "discover_workflows",
            Self::BackfillWorkflow { .. } => "backfill_workflow",
            Self::EvaluateHead { .. } => "evaluate_head",
            Self::AnnounceCheck { .. } => "announce_check",
            Self::ConfirmByRerun { .. } => "confirm_by_rerun",
            Self::ShowAwaited { .. } => "show_awaited",
            Self::PublishComparison { .. } => "publish_comparison",
            Self::PublishComment { .. } => "publish_comment",
            Self::ConcludeSupersededCheck { .. } => "conclude_superseded_check",
            Self::ConcludeSilentCheck { .. } => "conclude_silent_check",
            Self::SweepDeliveries { .. } => "sweep_deliveries",
            Self::ReconcileRepository { .. } => "reconcile_repository",
            Self::RefreshPullRequest { .. } => "refresh_pull_request",
        }
    }

    /// Two pushes with one key are one job.
    fn dedupe_key(&self) -> String {
        match self {
            Self::HandleDelivery { delivery_id, .. } => delivery_id.clone(),
            Self::CollectRun { repo, trace, collections } => format!("{}:{trace}:{collections}", repo.0),
            Self::CollectWorkflowRun { repo, run_id, attempt } => format!("{}:{run_id}:{attempt}", repo.0),
            Self::DiscoverWorkflows { repo, cause } => format!("{}:{cause}", repo.0),
            Self::BackfillWorkflow { repo, workflow_id, page, cause } => {
                format!("{}:{workflow_id}:{page}:{cause}", repo.0)
            }
            Self::EvaluateHead { repo, head_sha, cause } => format!("{}:{head_sha}:{cause}", repo.0),
            Self::PublishComparison { repo, comparison, cause, .. } => {
                format!("{}:{comparison}:{cause}", repo.0)
            }
            Self::ConfirmByRerun { repo, comparison, .. } => format!("{}:{comparison}", repo.0),
            Self::PublishComment { repo, number, comparison, cause } => {
                format!("{}:{}:{comparison}:{cause}", repo.0, number.0)
            }
            Self::AnnounceCheck { repo, head_sha, evaluation }
            | Self::ConcludeSupersededCheck { repo, head_sha, evaluation }
            | Self::ConcludeSilentCheck { repo, head_sha, evaluation } => {
                format!("{}:{head_sha}:{evaluation}", repo.0)
            }
            Self::ShowAwaited { repo, head_sha, evaluation, slot } => {
                format!("{}:{head_sha}:{evaluation}:{slot}", repo.0)
            }
            Self::SweepDeliveries { slot } => slot.to_string(),
            Self::ReconcileRepository { repo, slot } => format!("{}:{slot}", repo.0),
            Self::RefreshPullRequest { repo, number, slot, .. } => format!("{}:{}:{slot}", repo.0, number.0),
        }
    }

    /// Attempts after which a job is dead. With the delays below thirty are almost two hours;
    /// what ends a check's waiting does not give up for days.
    fn max_attempts(&self) -> i64 {
        match self {
            Self::ConcludeSilentCheck { .. } => 1_000,
            _ => 30,
        }
    }

    /// Jobs that write about one head, or make its verdict, run one at a time.
    fn serial_key(&self) -> Option<String> {
        match self {
            Self::HandleDelivery { subject, .. } | Self::RefreshPullRequest { subject, .. } => {
                Some(format!("delivery:{subject}"))
            }
            Self::SweepDeliveries { .. } => Some("sweep_deliveries".to_owned()),
            Self::ReconcileRepository { repo, .. } => Some(format!("reconcile:{}", repo.0)),
            Self::CollectRun { .. } => None,
            Self::CollectWorkflowRun { repo, run_id, .. } => {
                Some(format!("workflow run {}:{run_id}", repo.0))
            }
            // Two lanes for all of history, so that it never takes every slot from live work.
            Self::DiscoverWorkflows { repo, .. } | Self::BackfillWorkflow { repo, .. } => {
                Some(format!("backfill:{}", repo.0 % 2))
            }
            Self::PublishComment { repo, number, .. } => Some(format!("comment:{}:{}", repo.0, number.0)),
            Self::ConfirmByRerun { repo, head_sha, .. } => Some(format!("rerun:{}:{head_sha}", repo.0)),
            Self::EvaluateHead { repo, head_sha, .. } => Some(format!("evaluate:{}:{head_sha}", repo.0)),
            Self::AnnounceCheck { repo, head_sha, .. }
            | Self::ShowAwaited { repo, head_sha, .. }
            | Self::PublishComparison { repo, head_sha, .. }
            | Self::ConcludeSupersededCheck { repo, head_sha, .. }
            | Self::ConcludeSilentCheck { repo, head_sha, .. } => {
                Some(format!("publish:{}:{head_sha}", repo.0))
            }
        }
    }

    /// Pushes the job as part of a transaction. `false`: the same job was pushed before.
    pub async fn push(
        &self,
        tx: &mut Tx,
        run_at: Timestamp,
        rng: &Randomness,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        tx.push_task(&self.to_be_run(run_at), rng, now).await
    }

    /// The job as the queue takes it.
    #[must_use]
    pub fn to_be_run(&self, run_at: Timestamp) -> NewTask {
        NewTask {
            kind: self.kind(),
            payload: serde_json::to_string(self).unwrap_or_default(),
            dedupe_key: Some(self.dedupe_key()),
            serial_key: self.serial_key(),
            run_at,
            priority: Priority::Usual,
            max_attempts: self.max_attempts(),
        }
    }

    /// Pushes the job, or lets it run again if it is done or was given up.
    pub(crate) async fn push_again(
        &self,
        tx: &mut Tx,
        rng: &Randomness,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if !self.push(tx, now, rng, now).await? {
            tx.reopen_task(self.kind(), &self.dedupe_key(), now).await?;
        }
        Ok(())
    }

    /// Lets the same job run again if it was given up.
    pub async fn revive(&self, tx: &mut Tx, now: Timestamp) -> Result<bool, StoreError> {
        tx.revive_task(self.kind(), &self.dedupe_key(), now).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "00112233445566778899aabbccddeeff00112233";

    fn stored(task: &Task) -> [String; 4] {
        let new = task.to_be_run(Timestamp(0));
        assert_eq!(new.kind, task.kind());
        assert_eq!(serde_json::from_str::<Task>(&new.payload).expect("readable"), *task);
        [
            new.payload,
            new.dedupe_key.expect("a key"),
            new.serial_key.unwrap_or_default(),
            new.max_attempts.to_string(),
        ]
    }

    #[test]
    fn stored_forms_stay_byte_equal() {
        let repo = RepoId(7);
        let head_sha: CommitSha = HEAD.parse().expect("a commit");
        let comparison = ComparisonId("01J0000000000000000000000A".to_owned());
        let number = PrNumber(12);
        let cause = "delivery d".to_owned();
        let subject = "pull_request:9:12".to_owned();
        let trace = TraceId::from_bytes(&[7; 16]).expect("an id");
        assert_eq!(
            stored(&Task::HandleDelivery { delivery_id: "d-1".to_owned(), subject: subject.clone() }),
            [
                r#"{"job":"handle_delivery","delivery_id":"d-1","subject":"pull_request:9:12"}"#,
                "d-1",
                "delivery:pull_request:9:12",
                "30"
            ]
        );
        assert_eq!(
            stored(&Task::CollectRun { repo, trace, collections: 3 }),
            [
                r#"{"job":"collect_run","repo":7,"trace":"07070707070707070707070707070707","collections":3}"#,
                "7:07070707070707070707070707070707:3",
                "",
                "30"
            ]
        );
        assert_eq!(
            stored(&Task::CollectWorkflowRun { repo, run_id: 5, attempt: 2 }),
            [
                r#"{"job":"collect_workflow_run","repo":7,"run_id":5,"attempt":2}"#,
                "7:5:2",
                "workflow run 7:5",
                "30"
            ]
        );
        assert_eq!(
            stored(&Task::DiscoverWorkflows { repo, cause: cause.clone() }),
            [
                r#"{"job":"discover_workflows","repo":7,"cause":"delivery d"}"#,
                "7:delivery d",
                "backfill:1",
                "30"
            ]
        );
        assert_eq!(
            stored(&Task::BackfillWorkflow { repo, workflow_id: 4, page: 3, cause: cause.clone() }),
            [
                r#"{"job":"backfill_workflow","repo":7,"workflow_id":4,"page":3,"cause":"delivery d"}"#,
                "7:4:3:delivery d",
                "backfill:1",
                "30"
            ]
        );
        assert_eq!(
            stored(&Task::EvaluateHead { repo, head_sha: head_sha.clone(), cause: cause.clone() }),
            [
                r#"{"job":"evaluate_head","repo":7,"head_sha":"00112233445566778899aabbccddeeff00112233","cause":"delivery d"}"#,
                "7:00112233445566778899aabbccddeeff00112233:delivery d",
                "evaluate:7:00112233445566778899aabbccddeeff00112233",
                "30"
            ]
        );
        assert_eq!(
            stored(&Task::AnnounceCheck { repo, head_sha: head_sha.clone(), evaluation: 1 }),
            [
                r#"{"job":"announce_check","repo":7,"head_sha":"00112233445566778899aabbccddeeff00112233","evaluation":1}"#,
                "7:00112233445566778899aabbccddeeff00112233:1",
                "publish:7:00112233445566778899aabbccddeeff00112233",
                "30"
            ]
        );
        assert_eq!(
            stored(&Task::ConfirmByRerun {
                repo,
                head_sha: head_sha.clone(),
                comparison: comparison.clone(),
                a_day: 10
            }),
            [
                r#"{"job":"confirm_by_rerun","repo":7,"head_sha":"00112233445566778899aabbccddeeff00112233","comparison":"01J0000000000000000000000A","a_day":10}"#,
                "7:01J0000000000000000000000A",
                "rerun:7:00112233445566778899aabbccddeeff00112233",
                "30"
            ]
        );
        assert_eq!(
            stored(&Task::ShowAwaited { repo, head_sha: head_sha.clone(), evaluation: 1, slot: 99 }),
            [
                r#"{"job":"show_awaited","repo":7,"head_sha":"00112233445566778899aabbccddeeff00112233","evaluation":1,"slot":99}"#,
                "7:00112233445566778899aabbccddeeff00112233:1:99",
                "publish:7:00112233445566778899aabbccddeeff00112233",
                "30"
            ]
        );
        assert_eq!(
            stored(&Task::PublishComparison {
                repo,
                head_sha: head_sha.clone(),
                comparison: comparison.clone(),
                cause: cause.clone()
            }),
            [
                r#"{"job":"publish_comparison","repo":7,"head_sha":"00112233445566778899aabbccddeeff00112233","comparison":"01J0000000000000000000000A","cause":"delivery d"}"#,
                "7:01J0000000000000000000000A:delivery d",
                "publish:7:00112233445566778899aabbccddeeff00112233",
                "30"
            ]
        );
        assert_eq!(
            stored(&Task::PublishComment { repo, number, comparison, cause }),
            [
                r#"{"job":"publish_comment","repo":7,"number":12,"comparison":"01J0000000000000000000000A","cause":"delivery d"}"#,
                "7:12:01J0000000000000000000000A:delivery d",
                "comment:7:12",
                "30"
            ]
        );
        assert_eq!(
            stored(&Task::ConcludeSupersededCheck { repo, head_sha: head_sha.clone(), evaluation: 1 }),
            [
                r#"{"job":"conclude_superseded_check","repo":7,"head_sha":"00112233445566778899aabbccddeeff00112233","evaluation":1}"#,
                "7:00112233445566778899aabbccddeeff00112233:1",
                "publish:7:00112233445566778899aabbccddeeff00112233",
                "30"
            ]
        );
        assert_eq!(
            stored(&Task::ConcludeSilentCheck { repo, head_sha, evaluation: 1 }),
            [
                r#"{"job":"conclude_silent_check","repo":7,"head_sha":"00112233445566778899aabbccddeeff00112233","evaluation":1}"#,
                "7:00112233445566778899aabbccddeeff00112233:1",
                "publish:7:00112233445566778899aabbccddeeff00112233",
                "1000"
            ]
        );
        assert_eq!(
            stored(&Task::SweepDeliveries { slot: 99 }),
            [r#"{"job":"sweep_deliveries","slot":99}"#, "99", "sweep_deliveries", "30"]
        );
        assert_eq!(
            stored(&Task::ReconcileRepository { repo, slot: 99 }),
            [r#"{"job":"reconcile_repository","repo":7,"slot":99}"#, "7:99", "reconcile:7", "30"]
        );
        assert_eq!(
            stored(&Task::RefreshPullRequest { repo, number, subject, slot: 99 }),
            [
                r#"{"job":"refresh_pull_request","repo":7,"number":12,"subject":"pull_request:9:12","slot":99}"#,
                "7:12:99",
                "delivery:pull_request:9:12",
                "30"
            ]
        );
    }
}
