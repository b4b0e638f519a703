//! Workflow runs: the newest state counts, and the attempt of a trace is found.

use pacegate_engine::model::ids::{RepoId, TraceId};
use pacegate_engine::model::time::Timestamp;
use pacegate_ingest::ci_job::ids::trace_id;
use pacegate_store::{StoreError, Tx, WorkflowRunRow};

use super::{Outcome, Store, at, sha, store_test};

/// A run in an attempt and state of progress.
pub(super) fn run(github_run_id: i64, attempt: i64, progress: i64) -> WorkflowRunRow {
    WorkflowRunRow {
        github_run_id,
        attempt,
        workflow_id: 7,
        name: "CI".into(),
        path: ".github/workflows/ci.yml".into(),
        event: "push".into(),
        head_sha: sha('a').as_str().to_owned(),
        progress,
        collected_attempt: 0,
    }
}

async fn record(store: &Store, repo: RepoId, row: &WorkflowRunRow, now: Timestamp) -> Outcome {
    let mut tx = store.write().await?;
    tx.record_workflow_run(repo, row, trace_id, now).await?;
    tx.commit().await
}

/// The attempt of a trace among the runs that changed since a time.
pub(super) async fn find(
    tx: &mut Tx,
    repo: RepoId,
    trace: TraceId,
    since: i64,
) -> Result<Option<(i64, u32)>, StoreError> {
    tx.attempt_of_trace(repo, trace, at(since), trace_id).await
}

store_test!(attempt_of_trace_is_found, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let other = store.repository("acme/other").await?.id;
    record(store, repo, &run(501, 1, 0), at(1)).await?;
    record(store, repo, &run(501, 3, 1), at(2)).await?;
    record(store, repo, &run(502, 30, 2), at(3)).await?;
    // A late delivery changes nothing.
    record(store, repo, &run(501, 2, 2), at(900)).await?;
    let mut tx = store.read().await?;
    for (run, attempt) in [(501, 1), (501, 2), (501, 3), (502, 11), (502, 30)] {
        assert_eq!(find(&mut tx, repo, trace_id(run, attempt), 0).await?, Some((run, attempt)));
    }
    for (run, attempt) in [(501, 4), (502, 10), (503, 1)] {
        assert_eq!(find(&mut tx, repo, trace_id(run, attempt), 0).await?, None, "{run}, {attempt}");
    }
    assert_eq!(find(&mut tx, repo, trace_id(501, 3), 2).await?, Some((501, 3)));
    assert_eq!(find(&mut tx, repo, trace_id(501, 3), 3).await?, None, "it did not change since");
    assert_eq!(find(&mut tx, other, trace_id(501, 3), 0).await?, None, "another repository's run");
    Ok(())
});

// The digits of run 5, attempt 11 are those of run 51, attempt 1.
store_test!(attempts_with_one_trace_are_both_stored, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    record(store, repo, &run(5, 11, 2), at(1)).await?;
    assert_eq!(find(&mut store.read().await?, repo, trace_id(51, 1), 0).await?, Some((5, 11)));
    record(store, repo, &run(51, 1, 2), at(2)).await?;
    assert_eq!(find(&mut store.read().await?, repo, trace_id(51, 1), 0).await?, Some((51, 1)), "the newest");
    Ok(())
});
