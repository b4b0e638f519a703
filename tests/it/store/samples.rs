//! Stage samples: any number of them, in place of earlier ones, with concurrent writers.

use pacegate_engine::model::ids::RunId;
use pacegate_engine::model::run::RunResult;
use pacegate_engine::model::stage::{CacheState, StageKey, StageKind, StageSample};
use pacegate_store::{Db, StoreError};

use super::{Outcome, Store, at, sha, store_test};
use crate::store::runs::run_of;

/// A stage under the ones before it in its path.
pub(super) fn sample(path: &[&str], start_offset_ns: i64) -> StageSample {
    let path: Vec<String> = path.iter().map(|&part| part.to_owned()).collect();
    let parent = (path.len() > 1).then(|| StageKey::from_path(&path[..path.len() - 1]));
    StageSample {
        key: StageKey::from_path(&path),
        parent,
        path,
        duration_ns: 1_000,
        count: 1,
        start_offset_ns,
        end_offset_ns: start_offset_ns + 1_000,
        result: RunResult::Success,
        asynchronous: false,
        kind: StageKind::Work,
        cache: None,
    }
}

/// A pipeline with a number of tasks, in the order of their start.
fn wide(tasks: usize) -> Vec<StageSample> {
    let mut samples = vec![StageSample { start_offset_ns: -1, ..sample(&["build"], 0) }];
    samples.extend((0_i64..).take(tasks).map(|n| sample(&["build", &format!("task {n}")], n)));
    samples
}

store_test!(samples_are_read_as_written, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let written = [
        StageSample { end_offset_ns: i64::MAX, duration_ns: i64::MAX, ..sample(&["build"], -5) },
        StageSample {
            count: u32::MAX,
            end_offset_ns: 900,
            cache: Some(CacheState::Hit),
            ..sample(&["build", "tést"], 0)
        },
        StageSample { kind: StageKind::Queue, end_offset_ns: 800, ..sample(&["build", "queue-tést"], 0) },
        StageSample {
            result: RunResult::Skip,
            asynchronous: true,
            cache: Some(CacheState::Miss),
            duration_ns: 0,
            end_offset_ns: 7,
            ..sample(&["build", "tést", "a / b"], 0)
        },
    ];
    let run = RunId("r1".into());
    let mut tx = store.write().await?;
    tx.record_samples(repo, &run, &written).await?;
    assert_eq!(tx.samples(repo, &run).await?, written);
    assert!(tx.samples(repo, &RunId("r2".into())).await?.is_empty());
    tx.commit().await
});

store_test!(five_thousand_stages_of_run_are_kept, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let run = RunId("r1".into());
    let written = wide(5_000);
    let mut tx = store.write().await?;
    tx.record_samples(repo, &run, &written).await?;
    tx.commit().await?;
    let read = store.read().await?.samples(repo, &run).await?;
    assert_eq!(read.len(), 5_001);
    assert_eq!(read, written);
    Ok(())
});

store_test!(samples_are_replaced_and_stages_are_shared, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let (one, two) = (RunId("r1".into()), RunId("r2".into()));
    let mut tx = store.write().await?;
    tx.record_samples(repo, &one, &wide(3)).await?;
    tx.record_samples(repo, &two, &wide(2)).await?;
    let mut fewer = wide(1);
    fewer[1].duration_ns = 42;
    fewer.push(sample(&["build", "new"], 9));
    tx.record_samples(repo, &one, &fewer).await?;
    assert_eq!(tx.samples(repo, &one).await?, fewer);
    assert_eq!(tx.samples(repo, &two).await?, wide(2), "another run's samples stay");
    tx.record_samples(repo, &one, &[]).await?;
    assert!(tx.samples(repo, &one).await?.is_empty());
    tx.commit().await
});

store_test!(stage_keeps_its_unmeasured_parent, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let (one, two) = (RunId("r1".into()), RunId("r2".into()));
    let mut tx = store.write().await?;
    tx.record_samples(repo, &one, &wide(1)).await?;
    // The pipeline has no sample in this run. Its stage is known from the other run.
    let alone = vec![sample(&["build", "task 0"], 0)];
    tx.record_samples(repo, &two, &alone).await?;
    assert_eq!(tx.samples(repo, &two).await?, alone);
    tx.commit().await
});

/// Records a run with new stages. Concurrent runs have them in opposite orders, and none may fail.
async fn record_wide(
    db: Db,
    repo: pacegate_engine::model::ids::RepoId,
    id: &str,
    backwards: bool,
) -> Outcome {
    let mut samples = wide(3_000);
    if backwards {
        samples.reverse();
    }
    let mut tx = db.write().await?;
    tx.record_run(repo, &run_of(id, None, sha('a'), at(1)), 1).await?;
    tx.record_samples(repo, &RunId(id.to_owned()), &samples).await?;
    tx.commit().await
}

store_test!(concurrent_runs_do_not_deadlock, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let other = store.again().await?;
    let recording = [
        tokio::spawn(record_wide(store.db.clone(), repo, "r1", false)),
        tokio::spawn(record_wide(other.clone(), repo, "r2", true)),
        tokio::spawn(record_wide(store.db.clone(), repo, "r3", false)),
        tokio::spawn(record_wide(other, repo, "r4", true)),
    ];
    for run in recording {
        run.await.expect("no panic")?;
    }
    let mut tx = store.read().await?;
    for id in ["r1", "r2", "r3", "r4"] {
        assert_eq!(tx.samples(repo, &RunId(id.into())).await?, wide(3_000), "{id}");
    }
    Ok::<(), StoreError>(())
});
