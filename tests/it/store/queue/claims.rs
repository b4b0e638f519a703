//! Claims: in order, not too early, no more than requested, and never one task twice.

use std::collections::BTreeSet;

use super::*;

store_test!(tasks_are_claimed_in_order_of_due_time, async |store: &Store| -> Outcome {
    let due = |payload: &str, seconds| NewTask { run_at: at(seconds), ..task(payload) };
    store.push(&[due("c", 3), due("a", 1), due("e", 9), due("b", 2), due("b2", 2)]).await?;
    let holder = store.holder();
    for expected in ["a", "b", "b2", "c"] {
        assert_eq!(holder.payloads(at(5), 1).await?, [expected]);
    }
    assert_eq!(holder.payloads(at(5), 1).await?, [""; 0], "`e` is not due");
    Ok(())
});

store_test!(low_priority_goes_last_despite_waiting_longer, async |store: &Store| -> Outcome {
    let low =
        |payload: &str, seconds| NewTask { priority: Priority::Low, run_at: at(seconds), ..task(payload) };
    let usual = |payload: &str, seconds| NewTask { run_at: at(seconds), ..task(payload) };
    store.push(&[low("d", 1), usual("b", 4), low("e", 2), usual("a", 3), usual("c", 4)]).await?;
    let holder = store.holder();
    for expected in [&["a"][..], &["b", "c", "d"], &["e"]] {
        assert_eq!(holder.payloads(at(5), expected.len()).await?, expected);
    }
    Ok(())
});

store_test!(claim_takes_no_more_than_its_slots, async |store: &Store| -> Outcome {
    store.push(&["a", "b", "c", "d", "e"].map(task)).await?;
    let holder = store.holder();
    assert_eq!(holder.payloads(at(1), 0).await?, [""; 0]);
    assert_eq!(holder.payloads(at(1), 2).await?, ["a", "b"]);
    assert_eq!(holder.payloads(at(1), 2).await?, ["c", "d"]);
    assert_eq!(holder.payloads(at(1), usize::MAX).await?, ["e"]);
    assert_eq!(store.counts().await?, (5, 0), "a running task is open");
    Ok(())
});

store_test!(task_is_not_claimed_before_its_time, async |store: &Store| -> Outcome {
    store.push(&[NewTask { run_at: at(10), ..task("a") }]).await?;
    let holder = store.holder();
    assert_eq!(holder.payloads(Timestamp(at(10).0 - 1), 1).await?, [""; 0]);
    let claimed = holder.one(at(10)).await?;
    assert_eq!((claimed.kind.as_str(), claimed.payload.as_str()), ("tested", "a"));
    assert_eq!((claimed.attempts, claimed.max_attempts), (1, 3));
    Ok(())
});

store_test!(eight_claimers_never_share_a_task, async |store: &Store| -> Outcome {
    let tasks: Vec<NewTask> = (0..200)
        // A quarter of them in five serial groups.
        .map(|n| NewTask { serial_key: (n % 4 == 0).then(|| format!("s{}", n % 5)), ..task(&n.to_string()) })
        .collect();
    let mut tx = store.write().await?;
    for (n, task) in (0..).zip(&tasks) {
        assert!(tx.push_task(task, &store.rng, Timestamp(at(0).0 + n * 1_000)).await?);
    }
    tx.commit().await?;
    let other = store.again().await?;
    let mut claimers = Vec::new();
    for n in 0..8 {
        let db = if n % 2 == 0 { store.db.clone() } else { other.clone() };
        let token = LeaseToken::new(&store.rng);
        claimers.push(tokio::spawn(async move {
            let mut done = Vec::new();
            // Serial tasks of another claimer, or a collision on one, look like an empty queue. So
            // the loop ends when no task is open.
            while db.read().await?.count_tasks().await?.open > 0 {
                for task in db.claim_tasks(&token, at(1), LEASE, 5).await? {
                    let mut tx = db.write().await?;
                    assert!(tx.settle_task(&token, &task, &Settlement::Done, at(2)).await?);
                    tx.commit().await?;
                    done.push(task.payload);
                }
            }
            Ok::<Vec<String>, StoreError>(done)
        }));
    }
    let mut all = Vec::new();
    for claimer in claimers {
        all.extend(claimer.await.expect("no panic")?);
    }
    assert_eq!(all.len(), 200);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 200);
    other.close().await;
    Ok(())
});

store_test!(concurrent_claims_of_serial_key_take_one, async |store: &Store| -> Outcome {
    let other = store.again().await?;
    for round in 0..20 {
        let key = format!("round {round}");
        store.push(&[serial("a", &key, at(0)), serial("b", &key, at(0))]).await?;
        let (one, two) = (store.holder(), Holder::new(&other, &store.rng));
        let (first, second) = tokio::join!(one.payloads(at(1), 10), two.payloads(at(1), 10));
        let (first, second) = (first?, second?);
        assert!(first.len() + second.len() <= 1, "{first:?} {second:?}");
        let mut tx = store.write().await?;
        for holder in [&one, &two] {
            tx.release_tasks(&holder.token, at(1_000)).await?;
        }
        tx.commit().await?;
        // Ended before the next round.
        for _ in 0..2 {
            let left = one.one(at(2_000)).await?;
            assert!(one.settle(&left, Settlement::Done, at(2_000)).await?);
        }
    }
    Ok(())
});
