//! A push is part of its transaction, and a second push of a dedupe key does nothing.

use pacegate_engine::model::ids::{PrNumber, RepoId};

use super::*;
use crate::store::sha;

fn keyed(payload: &str, key: &str) -> NewTask {
    NewTask { dedupe_key: Some(key.to_owned()), ..task(payload) }
}

store_test!(rolled_back_push_leaves_nothing, async |store: &Store| -> Outcome {
    let mut tx = store.write().await?;
    assert!(push(&mut tx, store, &keyed("lost", "k")).await?);
    drop(tx);
    assert_eq!(store.counts().await?, (0, 0));
    assert_eq!(store.holder().payloads(at(9), 10).await?, [""; 0]);
    // Its key is free, too.
    let mut tx = store.write().await?;
    assert!(push(&mut tx, store, &keyed("kept", "k")).await?);
    tx.commit().await?;
    assert_eq!(store.holder().payloads(at(9), 10).await?, ["kept"]);
    Ok(())
});

store_test!(duplicate_leaves_transaction_usable, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    store.push(&[keyed("first", "k")]).await?;
    let mut tx = store.write().await?;
    assert!(!push(&mut tx, store, &keyed("second", "k")).await?);
    // Each kind has its own keys, and a task without a key is never a duplicate.
    assert!(push(&mut tx, store, &NewTask { kind: "other", ..keyed("third", "k") }).await?);
    assert!(push(&mut tx, store, &task("fourth")).await?);
    assert!(push(&mut tx, store, &task("fifth")).await?);
    tx.record_head(repo, PrNumber(5), &sha('a'), at(1)).await?;
    tx.commit().await?;
    assert_eq!(store.read().await?.heads_of(repo, PrNumber(5)).await?, [sha('a')]);
    assert_eq!(store.holder().payloads(at(9), 10).await?, ["fifth", "first", "fourth", "third"]);
    Ok(())
});

store_test!(waking_a_repository_spares_running_tasks, async |store: &Store| -> Outcome {
    let of = |payload: &str, repo: Option<i64>, run_at| NewTask {
        repo: repo.map(RepoId),
        run_at,
        ..task(payload)
    };
    let excepted = NewTask { kind: "excepted", ..of("excepted", Some(1), at(600)) };
    store
        .push(&[
            of("running", Some(1), at(0)),
            of("far", Some(1), at(900)),
            of("near", Some(1), at(600)),
            of("other", Some(2), at(600)),
            of("none", None, at(600)),
            excepted,
        ])
        .await?;
    let running = [store.holder().one(at(1)).await?];
    assert_eq!(running[0].payload, "running");
    let mut tx = store.write().await?;
    tx.wake_tasks_of_repository(RepoId(1), "excepted", at(2)).await?;
    tx.commit().await?;
    assert_eq!(store.holder().payloads(at(3), 10).await?, ["far", "near"], "its lease is not cut short");
    let mut tx = store.write().await?;
    tx.wake_tasks_of_kind("tested", at(4)).await?;
    tx.commit().await?;
    assert_eq!(store.holder().payloads(at(5), 10).await?, ["none", "other"]);
    Ok(())
});

store_test!(waking_notifies_the_workers, async |store: &Store| -> Outcome {
    store.push(&[NewTask { repo: Some(RepoId(1)), run_at: at(900), ..task("a") }]).await?;
    let wake = async |repo| {
        let mut tx = store.write().await?;
        tx.wake_tasks_of_repository(repo, "", at(1)).await?;
        tx.commit().await?;
        let notified = tokio::time::timeout(Duration::ZERO, store.db.task_pushed.notified()).await;
        Ok::<bool, StoreError>(notified.is_ok())
    };
    assert!(!wake(RepoId(2)).await?);
    assert!(wake(RepoId(1)).await?);
    Ok(())
});

store_test!(dedupe_key_holds_until_task_is_swept, async |store: &Store| -> Outcome {
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
    assert_eq!(sweep(at(10)).await?, 0, "a task that ended at the limit stays");
    assert_eq!(sweep(at(11)).await?, 1);
    assert!(duplicate().await?);
    Ok(())
});

store_test!(sweep_keeps_dead_and_open_tasks, async |store: &Store| -> Outcome {
    store.push(&[task("dead")]).await?;
    let holder = store.holder();
    let dead = holder.one(at(1)).await?;
    assert!(holder.settle(&dead, Settlement::Dead("no".into()), at(2)).await?);
    store.push(&[task("open"), task("running")]).await?;
    assert_eq!(holder.claim(at(3), 1).await?.len(), 1);
    let mut tx = store.write().await?;
    assert_eq!(tx.sweep_done_tasks(at(1_000_000)).await?, 0);
    tx.commit().await?;
    assert_eq!(store.counts().await?, (2, 1));
    Ok(())
});

store_test!(key_pushed_by_two_processes_is_one_task, async |store: &Store| -> Outcome {
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

store_test!(commit_notifies_only_after_a_push, async |store: &Store| -> Outcome {
    store.push(&[keyed("first", "k")]).await?;
    store.db.task_pushed.notified().await;
    let mut tx = store.write().await?;
    assert!(!push(&mut tx, store, &keyed("second", "k")).await?);
    tx.commit().await?;
    let notified = tokio::time::timeout(Duration::ZERO, store.db.task_pushed.notified()).await;
    assert!(notified.is_err(), "a duplicate needs no worker");
    Ok(())
});
