//! Raw traces: kept by a policy or because they were reported. Others are dropped after their first
//! days, in steps that a new process can continue.

use std::time::Duration;

use pacegate::tasks::run_tasks;
use pacegate_engine::model::ids::{RepoId, RunId};
use pacegate_store::{KeptTrace, StoreError};
use tokio_util::sync::CancellationToken;

use super::runs::{run_of, trace};
use super::worker::Bench;
use super::{Outcome, Store, at, repo_name, sha, store_test};
use crate::time::eventually;

const DAY: i64 = 24 * 3_600;
const DEADLINE: Duration = Duration::from_secs(30);

fn run_id(n: u8) -> RunId {
    RunId(format!("r{n}"))
}

/// A run with a raw trace that was written on a day.
async fn keep(store: &Store, repo: RepoId, n: u8, day: i64, kept_by: Option<&str>) -> Outcome {
    let mut tx = store.write().await?;
    tx.record_run(repo, &run_of(&run_id(n).0, Some(trace(n)), sha('a'), at(0)), 1).await?;
    tx.record_trace(repo, &run_id(n), kept_by, at(day * DAY)).await?;
    tx.commit().await
}

async fn kept(store: &Store, repo: RepoId, n: u8) -> Result<KeptTrace, StoreError> {
    Ok(store.read().await?.kept_trace(repo, &run_id(n)).await?.expect("a run"))
}

store_test!(kept_trace_shows_policy_and_report, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    keep(store, repo, 1, 0, Some("slow")).await?;
    keep(store, repo, 2, 0, None).await?;
    let expected = |n, kept_by: Option<&str>, day: i64| KeptTrace {
        trace: Some(trace(n)),
        kept_by: kept_by.map(str::to_owned),
        stored_at: Some(at(day * DAY)),
        is_dropped: false,
    };
    assert_eq!(kept(store, repo, 1).await?, expected(1, Some("slow"), 0));
    assert_eq!(kept(store, repo, 2).await?, expected(2, None, 0));
    let mut tx = store.write().await?;
    tx.keep_reported_traces(repo, &[run_id(1), run_id(2), run_id(9)]).await?;
    assert_eq!(tx.kept_trace(repo, &run_id(9)).await?, None);
    tx.commit().await?;
    assert_eq!(kept(store, repo, 1).await?, expected(1, Some("reported"), 0));
    // Collected again: a reported trace stays reported.
    keep(store, repo, 2, 1, None).await?;
    assert_eq!(kept(store, repo, 2).await?, expected(2, Some("reported"), 1));
    Ok(())
});

store_test!(traces_are_taken_until_marked, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let other = store.repository("acme/other").await?.id;
    for (repo, n, day, kept_by) in [
        (repo, 1, 0, None),
        (repo, 2, 1, None),
        (repo, 3, 0, Some("slow")),
        (repo, 4, 9, None),
        (other, 1, 2, None),
    ] {
        keep(store, repo, n, day, kept_by).await?;
    }
    let take = async |limit| {
        let mut tx = store.write().await?;
        let mut taken = tx.take_traces_to_drop(at(5 * DAY), limit).await?;
        tx.commit().await?;
        taken.sort_by(|a, b| (a.repo.0, &a.run.0).cmp(&(b.repo.0, &b.run.0)));
        Ok::<_, StoreError>(taken)
    };
    let oldest = take(1).await?;
    assert_eq!(oldest.iter().map(|t| (t.repo, t.trace)).collect::<Vec<_>>(), [(repo, trace(1))]);
    assert!(kept(store, repo, 1).await?.is_dropped, "it counts as dropped before it is deleted");
    // The process ended before it deleted anything: the trace is taken again and can't be kept now.
    let mut tx = store.write().await?;
    tx.keep_reported_traces(repo, &[run_id(1)]).await?;
    tx.commit().await?;
    let taken = take(10).await?;
    let named: Vec<_> = taken.iter().map(|t| (t.repo, t.run.0.as_str())).collect();
    assert_eq!(named, [(repo, "r1"), (repo, "r2"), (other, "r1")]);
    // One of them was written again meanwhile: it is not marked.
    keep(store, repo, 2, 9, None).await?;
    let mut tx = store.write().await?;
    tx.mark_traces_dropped(&taken).await?;
    tx.commit().await?;
    assert!(take(10).await?.is_empty());
    for (repo, n, is_dropped) in
        [(repo, 1, true), (repo, 2, false), (repo, 3, false), (repo, 4, false), (other, 1, true)]
    {
        assert_eq!(kept(store, repo, n).await?.is_dropped, is_dropped, "{n}");
    }
    Ok(())
});

store_test!(sweep_continues_and_drops_unkept_traces, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let bench = Bench::new(store);
    for (n, day, kept_by) in
        [(1, -10, None), (2, -10, Some("failed")), (3, -1, None), (4, -10, None), (5, -10, None)]
    {
        bench.work.traces.put(repo, trace(n), vec![n]).await?;
        keep(store, repo, n, day, kept_by).await?;
    }
    let mut tx = store.write().await?;
    tx.keep_reported_traces(repo, &[run_id(4)]).await?;
    // An earlier sweep ended after it deleted its trace and before it marked it.
    tx.take_traces_to_drop(at(-9 * DAY), 1).await?;
    tx.commit().await?;
    bench.work.traces.delete(repo, trace(1)).await?;
    let stop = CancellationToken::new();
    let running = tokio::spawn(run_tasks(bench.work.clone(), 1, stop.clone()));
    let left = async |n| Ok::<_, StoreError>(bench.work.traces.get(repo, trace(n)).await?.is_some());
    eventually("the sweep", DEADLINE, || async {
        let gone = kept(store, repo, 1).await.ok()?.is_dropped && kept(store, repo, 5).await.ok()?.is_dropped;
        (gone && !left(5).await.ok()?).then_some(())
    })
    .await;
    stop.cancel();
    running.await.expect("no panic");
    for (n, is_left) in [(1, false), (2, true), (3, true), (4, true), (5, false)] {
        assert_eq!((left(n).await?, !kept(store, repo, n).await?.is_dropped), (is_left, is_left), "{n}");
    }
    let run = store.read().await?.run(repo, &repo_name("acme/app"), &run_id(5)).await?;
    assert!(run.is_some(), "the run stays");
    Ok(())
});
