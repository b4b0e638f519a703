//! A job is part of the transaction that pushes it, and a second one of its key is none.

use pacegate_engine::model::ids::PrNumber;

use super::*;
use crate::store::sha;

fn keyed(payload: &str, key: &str) -> NewTask {
    NewTask { dedupe_key: Some(key.to_owned()), ..job(payload) }
}

store_test!(a_push_that_is_rolled_back_leaves_nothing, async |store: &Store| -> Outcome {
    let mut tx = store.write().await?;
    assert!(push(&mut tx, store, &keyed("lost", "k")).await?);
    drop(tx);
    assert_eq!(store.counts().await?, (0, 0));
    assert_eq!(store.holder().payloads(at(9), 10).await?, [""; 0]);
    // Not even its key.
    let mut tx = store.write().await?;
    assert!(push(&mut tx, store, &keyed("kept", "k")).await?);
    tx.commit().await?;
    assert_eq!(store.holder().payloads(at(9), 10).await?, ["kept"]);
    Ok(())
});

store_test!(a_duplicate_leaves_the_transaction_usable, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    store.push(&[keyed("first", "k")]).await?;
    let mut tx = store.write().await?;
    assert!(!push(&mut tx, store, &keyed("second", "k")).await?);
    // Another kind has keys of its own, and without a key nothing is a duplicate.
    assert!(push(&mut tx, store, &NewTask { kind: "other", ..keyed("third", "k") }).await?);
    assert!(push(&mut tx, store, &job("fourth")).await?);
    assert!(push(&mut tx, store, &job("fifth")).await?);
    tx.record_head(repo, PrNumber(5), &sha('a'), at(1)).await?;
    tx.commit().await?;
    assert_eq!(store.read().await?.heads_of(repo, PrNumber(5)).await?, [sha('a')]);
    assert_eq!(store.holder().payloads(at(9), 10).await?, ["fifth", "first", "fourth", "third"]);
    Ok(())
});

store_test!(only_a_job_that_waits_is_woken, async |store: &Store| -> Outcome {
    let later = |payload: &str, run_at| NewTask { run_at, ..job(payload) };
    store.push(&[job("taken"), later("far", at(900)), later("near", at(600))]).await?;
    let taken = store.holder().one(at(1)).await?;
    let mut tx = store.write().await?;
    let to_come = tx.jobs_to_come(at(1), 10).await?;
    let payloads: Vec<&str> = to_come.iter().map(|(_, payload)| payload.as_str()).collect();
    assert_eq!(payloads, ["near", "far"], "the next one first, and none that runs");
    tx.wake_task(&to_come[1].0, at(2)).await?;
    // It was taken after it was listed: its lease is not cut short.
    tx.wake_task(&taken.job_id, at(2)).await?;
    tx.commit().await?;
    assert_eq!(store.holder().payloads(at(3), 10).await?, ["far"]);
    Ok(())
});

store_test!(
    a_key_holds_while_its_job_runs_and_after_it_until_it_is_swept,
    async |store: &Store| -> Outcome {
        store.push(&[keyed("first", "k")]).await?;
        let holder = store.holder();
        let first = holder.one(at(1)).await?;
        let duplicate = async || {
            let mut tx = store.write().await?;
            let pushed = push(&mut tx, store, &keyed("again", "k")).await?;
            drop(tx);
            Ok::<bool, StoreError>(pushed)
        };
        assert!(!duplicate().await?, "it runs");
        assert!(holder.settle(&first, Settlement::Done, at(10)).await?);
        assert!(!duplicate().await?, "it is done");
        let sweep = async |before| {
            let mut tx = store.write().await?;
            let swept = tx.sweep_done_tasks(before).await?;
            tx.commit().await?;
            Ok::<u64, StoreError>(swept)
        };
        assert_eq!(sweep(at(10)).await?, 0, "what ended at the limit stays");
        assert_eq!(sweep(at(11)).await?, 1);
        assert!(duplicate().await?);
        Ok(())
    }
);

store_test!(dead_and_open_jobs_are_not_swept, async |store: &Store| -> Outcome {
    store.push(&[job("dead")]).await?;
    let holder = store.holder();
    let dead = holder.one(at(1)).await?;
    assert!(holder.settle(&dead, Settlement::Dead("no".into()), at(2)).await?);
    store.push(&[job("open"), job("running")]).await?;
    assert_eq!(holder.claim(at(3), 1).await?.len(), 1);
    let mut tx = store.write().await?;
    assert_eq!(tx.sweep_done_tasks(at(1_000_000)).await?, 0);
    tx.commit().await?;
    assert_eq!(store.counts().await?, (2, 1));
    Ok(())
});

store_test!(one_key_pushed_by_two_processes_at_once_is_one_job, async |store: &Store| -> Outcome {
    let other = store.again().await?;
    let twice = async |db: &Db, payload: &str| {
        let mut tx = db.write().await?;
        let pushed = tx.push_task(&keyed(payload, "k"), &store.rng, at(0)).await?;
        tx.commit().await?;
        Ok::<bool, StoreError>(pushed)
    };
    let (one, two) = tokio::join!(twice(&store.db, "a"), twice(&other, "b"));
    assert_eq!(u8::from(one?) + u8::from(two?), 1);
    assert_eq!(store.counts().await?, (1, 0));
    Ok(())
});

store_test!(a_commit_rings_only_when_a_job_was_pushed, async |store: &Store| -> Outcome {
    store.push(&[keyed("first", "k")]).await?;
    store.db.task_pushed.notified().await;
    let mut tx = store.write().await?;
    assert!(!push(&mut tx, store, &keyed("second", "k")).await?);
    tx.commit().await?;
    let rung = tokio::time::timeout(Duration::ZERO, store.db.task_pushed.notified()).await;
    assert!(rung.is_err(), "a duplicate is nothing to look at");
    Ok(())
});
