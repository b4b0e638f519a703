//! Tasks of one serial key run one at a time and in order, across all processes.

use super::*;

store_test!(tasks_of_one_key_run_in_order, async |store: &Store| -> Outcome {
    let tasks = [
        serial("a1", "a", at(1)),
        serial("a2", "a", at(2)),
        serial("b1", "b", at(3)),
        serial("a3", "a", at(2)),
        task("free"),
    ];
    store.push(&tasks).await?;
    let other = store.again().await?;
    let (one, two) = (store.holder(), Holder::new(&other, &store.rng));
    let first = one.claim(at(9), 10).await?;
    let mut payloads: Vec<_> = first.iter().map(|task| task.payload.as_str()).collect();
    payloads.sort_unstable();
    assert_eq!(payloads, ["a1", "b1", "free"]);
    assert_eq!(two.payloads(at(9), 10).await?, [""; 0]);
    let mut running = first.into_iter().find(|task| task.payload == "a1").expect("a task");
    let mut holder = &one;
    for (next, by) in [("a2", &two), ("a3", &one)] {
        assert!(holder.settle(&running, Settlement::Done, at(10)).await?);
        running = by.one(at(10)).await?;
        assert_eq!(running.payload, next);
        holder = by;
    }
    other.close().await;
    Ok(())
});

store_test!(task_waiting_for_retry_lets_later_pass, async |store: &Store| -> Outcome {
    store.push(&[serial("a", "k", at(0)), serial("b", "k", at(1)), serial("c", "k", at(2))]).await?;
    let holder = store.holder();
    let a = holder.one(at(5)).await?;
    assert_eq!(a.payload, "a");
    assert!(holder.settle(&a, Settlement::Retry(seconds(60), "502".into()), at(5)).await?);
    let b = holder.one(at(6)).await?;
    assert_eq!(b.payload, "b");
    // `a` is due again while `b` runs: it waits, and `c`, due before it, goes first.
    assert_eq!(holder.payloads(at(65), 10).await?, [""; 0]);
    assert!(holder.settle(&b, Settlement::Done, at(66)).await?);
    let c = holder.one(at(66)).await?;
    assert_eq!(c.payload, "c");
    assert!(holder.settle(&c, Settlement::Done, at(67)).await?);
    assert_eq!(holder.payloads(at(67), 10).await?, ["a"]);
    Ok(())
});

store_test!(task_not_due_does_not_block_its_key, async |store: &Store| -> Outcome {
    store.push(&[serial("later", "k", at(100)), serial("now", "k", at(50))]).await?;
    assert_eq!(store.holder().payloads(at(50), 10).await?, ["now"]);
    Ok(())
});

store_test!(lost_task_is_claimed_before_its_successors, async |store: &Store| -> Outcome {
    store.push(&[serial("a", "k", at(0)), serial("b", "k", at(1))]).await?;
    let (one, two) = (store.holder(), store.holder());
    assert_eq!(one.payloads(at(5), 10).await?, ["a"]);
    assert_eq!(two.payloads(at(64), 10).await?, [""; 0]);
    assert_eq!(two.payloads(at(65), 10).await?, ["a"], "and not `b`, which was due long before");
    Ok(())
});

store_test!(released_task_keeps_its_place, async |store: &Store| -> Outcome {
    store.push(&[serial("a", "k", at(0)), serial("b", "k", at(1))]).await?;
    let (one, two) = (store.holder(), store.holder());
    assert_eq!(one.payloads(at(5), 10).await?, ["a"]);
    assert_eq!(one.release(at(6)).await?, 1);
    assert_eq!(two.payloads(at(6), 10).await?, ["a"]);
    Ok(())
});

store_test!(serial_key_is_shared_by_all_kinds, async |store: &Store| -> Outcome {
    let other_kind = NewTask { kind: "other", ..serial("b", "k", at(1)) };
    store.push(&[serial("a", "k", at(0)), other_kind]).await?;
    assert_eq!(store.holder().payloads(at(5), 10).await?, ["a"]);
    Ok(())
});
