//! Holds the stored form of every task: rows of earlier versions have to stay readable, and equal tasks
//! have to keep equal keys.

use super::*;
use crate::tasks::backfill::backfill_workflow::BackfillWorkflow;
use crate::tasks::backfill::discover_workflows::DiscoverWorkflows;
use crate::tasks::collect::collect_run::CollectRun;
use crate::tasks::collect::collect_workflow_run::CollectWorkflowRun;
use crate::tasks::evaluate::confirm_by_rerun::ConfirmByRerun;
use crate::tasks::evaluate::evaluate_head::EvaluateHead;
use crate::tasks::handle_delivery::HandleDelivery;
use crate::tasks::publish::announce_check::AnnounceCheck;
use crate::tasks::publish::conclude_silent_check::ConcludeSilentCheck;
use crate::tasks::publish::conclude_superseded_check::ConcludeSupersededCheck;
use crate::tasks::publish::publish_comment::PublishComment;
use crate::tasks::publish::publish_comparison::PublishComparison;
use crate::tasks::publish::show_awaited::ShowAwaited;
use crate::tasks::reconcile::reconcile_repository::ReconcileRepository;
use crate::tasks::reconcile::refresh_pull_request::RefreshPullRequest;
use crate::tasks::reconcile::sweep_deliveries::SweepDeliveries;
use pacegate_engine::model::ids::{CommitSha, ComparisonId, PrNumber, RepoId, TraceId};
use pacegate_engine::model::time::Timestamp;

/// The expected row of a task.
struct Stored {
    payload: &'static str,
    dedupe_key: &'static str,
    serial_key: Option<&'static str>,
    max_attempts: i64,
}

/// Writes a task and reads it back. Returns its kind.
fn check<T: Task>(task: &T, stored: &Stored) -> &'static str {
    let row = task.to_new_task(Timestamp(5)).expect("writable");
    assert_eq!(row.payload, stored.payload);
    assert_eq!(row.dedupe_key.as_deref(), Some(stored.dedupe_key), "{}", T::KIND);
    assert_eq!(row.serial_key.as_deref(), stored.serial_key, "{}", T::KIND);
    assert_eq!((row.kind, row.run_at, row.max_attempts), (T::KIND, Timestamp(5), stored.max_attempts));
    let again = read::<T>(stored.payload).expect("readable").to_new_task(Timestamp(5)).expect("writable");
    assert_eq!(again.payload, stored.payload);
    assert_eq!(row.repo, task.repo());
    assert_eq!(of_kind(T::KIND).expect("registered").kind, T::KIND);
    assert!(stored.payload.starts_with(&format!(r#"{{"job":"{}""#, T::KIND)), "{}", stored.payload);
    T::KIND
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table with one entry for each task")]
fn stored_forms_stay_byte_equal() {
    let repo = RepoId(7);
    let head_sha = || -> CommitSha { "00112233445566778899aabbccddeeff00112233".parse().expect("a commit") };
    let comparison = || ComparisonId("01J0000000000000000000000A".to_owned());
    let number = PrNumber(12);
    let cause = || "delivery d".to_owned();
    let subject = || "pull_request:9:12".to_owned();
    let trace = TraceId::from_bytes(&[7; 16]).expect("an id");
    let mut checked = vec![
        check(
            &HandleDelivery { delivery_id: "d-1".to_owned(), subject: subject() },
            &Stored {
                payload: r#"{"job":"handle_delivery","delivery_id":"d-1","subject":"pull_request:9:12"}"#,
                dedupe_key: "d-1",
                serial_key: Some("delivery:pull_request:9:12"),
                max_attempts: 30,
            },
        ),
        check(
            &CollectRun { repo, trace, collections: 3 },
            &Stored {
                payload: r#"{"job":"collect_run","repo":7,"trace":"07070707070707070707070707070707","collections":3}"#,
                dedupe_key: "7:07070707070707070707070707070707:3",
                serial_key: None,
                max_attempts: 30,
            },
        ),
        check(
            &CollectWorkflowRun { repo, run_id: 5, attempt: 2 },
            &Stored {
                payload: r#"{"job":"collect_workflow_run","repo":7,"run_id":5,"attempt":2}"#,
                dedupe_key: "7:5:2",
                serial_key: Some("workflow run 7:5"),
                max_attempts: 30,
            },
        ),
        check(
            &DiscoverWorkflows { repo, cause: cause() },
            &Stored {
                payload: r#"{"job":"discover_workflows","repo":7,"cause":"delivery d"}"#,
                dedupe_key: "7:delivery d",
                serial_key: Some("backfill:1"),
                max_attempts: 30,
            },
        ),
        check(
            &BackfillWorkflow { repo, workflow_id: 4, page: 3, cause: cause() },
            &Stored {
                payload: r#"{"job":"backfill_workflow","repo":7,"workflow_id":4,"page":3,"cause":"delivery d"}"#,
                dedupe_key: "7:4:3:delivery d",
                serial_key: Some("backfill:1"),
                max_attempts: 30,
            },
        ),
        check(
            &EvaluateHead { repo, head_sha: head_sha(), cause: cause() },
            &Stored {
                payload: r#"{"job":"evaluate_head","repo":7,"head_sha":"00112233445566778899aabbccddeeff00112233","cause":"delivery d"}"#,
                dedupe_key: "7:00112233445566778899aabbccddeeff00112233:delivery d",
                serial_key: Some("evaluate:7:00112233445566778899aabbccddeeff00112233"),
                max_attempts: 30,
            },
        ),
        check(
            &AnnounceCheck { repo, head_sha: head_sha(), evaluation: 1 },
            &Stored {
                payload: r#"{"job":"announce_check","repo":7,"head_sha":"00112233445566778899aabbccddeeff00112233","evaluation":1}"#,
                dedupe_key: "7:00112233445566778899aabbccddeeff00112233:1",
                serial_key: Some("publish:7:00112233445566778899aabbccddeeff00112233"),
                max_attempts: 30,
            },
        ),
        check(
            &ConfirmByRerun { repo, head_sha: head_sha(), comparison: comparison(), a_day: 10 },
            &Stored {
                payload: r#"{"job":"confirm_by_rerun","repo":7,"head_sha":"00112233445566778899aabbccddeeff00112233","comparison":"01J0000000000000000000000A","a_day":10}"#,
                dedupe_key: "7:01J0000000000000000000000A",
                serial_key: Some("rerun:7:00112233445566778899aabbccddeeff00112233"),
                max_attempts: 30,
            },
        ),
        check(
            &ShowAwaited { repo, head_sha: head_sha(), evaluation: 1, slot: 99 },
            &Stored {
                payload: r#"{"job":"show_awaited","repo":7,"head_sha":"00112233445566778899aabbccddeeff00112233","evaluation":1,"slot":99}"#,
                dedupe_key: "7:00112233445566778899aabbccddeeff00112233:1:99",
                serial_key: Some("publish:7:00112233445566778899aabbccddeeff00112233"),
                max_attempts: 30,
            },
        ),
        check(
            &PublishComparison { repo, head_sha: head_sha(), comparison: comparison(), cause: cause() },
            &Stored {
                payload: r#"{"job":"publish_comparison","repo":7,"head_sha":"00112233445566778899aabbccddeeff00112233","comparison":"01J0000000000000000000000A","cause":"delivery d"}"#,
                dedupe_key: "7:01J0000000000000000000000A:delivery d",
                serial_key: Some("publish:7:00112233445566778899aabbccddeeff00112233"),
                max_attempts: 30,
            },
        ),
        check(
            &PublishComment { repo, number, comparison: comparison(), cause: cause() },
            &Stored {
                payload: r#"{"job":"publish_comment","repo":7,"number":12,"comparison":"01J0000000000000000000000A","cause":"delivery d"}"#,
                dedupe_key: "7:12:01J0000000000000000000000A:delivery d",
                serial_key: Some("comment:7:12"),
                max_attempts: 30,
            },
        ),
        check(
            &ConcludeSupersededCheck { repo, head_sha: head_sha(), evaluation: 1 },
            &Stored {
                payload: r#"{"job":"conclude_superseded_check","repo":7,"head_sha":"00112233445566778899aabbccddeeff00112233","evaluation":1}"#,
                dedupe_key: "7:00112233445566778899aabbccddeeff00112233:1",
                serial_key: Some("publish:7:00112233445566778899aabbccddeeff00112233"),
                max_attempts: 30,
            },
        ),
        check(
            &ConcludeSilentCheck { repo, head_sha: head_sha(), evaluation: 1 },
            &Stored {
                payload: r#"{"job":"conclude_silent_check","repo":7,"head_sha":"00112233445566778899aabbccddeeff00112233","evaluation":1}"#,
                dedupe_key: "7:00112233445566778899aabbccddeeff00112233:1",
                serial_key: Some("publish:7:00112233445566778899aabbccddeeff00112233"),
                max_attempts: 1_000,
            },
        ),
        check(
            &SweepDeliveries { slot: 99 },
            &Stored {
                payload: r#"{"job":"sweep_deliveries","slot":99}"#,
                dedupe_key: "99",
                serial_key: Some("sweep_deliveries"),
                max_attempts: 30,
            },
        ),
        check(
            &ReconcileRepository { repo, slot: 99 },
            &Stored {
                payload: r#"{"job":"reconcile_repository","repo":7,"slot":99}"#,
                dedupe_key: "7:99",
                serial_key: Some("reconcile:7"),
                max_attempts: 30,
            },
        ),
        check(
            &RefreshPullRequest { repo, number, subject: subject(), slot: 99 },
            &Stored {
                payload: r#"{"job":"refresh_pull_request","repo":7,"number":12,"subject":"pull_request:9:12","slot":99}"#,
                dedupe_key: "7:12:99",
                serial_key: Some("delivery:pull_request:9:12"),
                max_attempts: 30,
            },
        ),
    ];
    let mut registered: Vec<&str> = TASKS.iter().map(|entry| entry.kind).collect();
    checked.sort_unstable();
    registered.sort_unstable();
    assert_eq!(checked, registered, "each task has an entry above");
}

#[test]
fn task_kinds_are_unique() {
    let mut kinds: Vec<&str> = TASKS.iter().map(|entry| entry.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), TASKS.len(), "{kinds:?}");
}

#[test]
fn unknown_kinds_and_payloads_are_errors() {
    let newer = of_kind("of_a_newer_version").expect_err("unknown");
    assert!(crate::tasks::error_chain(&newer).contains("of_a_newer_version"));
    for payload in ["", "{}", r#"{"job":"collect_run","repo":7}"#] {
        read::<CollectRun>(payload).expect_err("incomplete");
    }
}
