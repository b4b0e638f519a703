//! Leases: a task belongs to the holder of its token and attempt as long as the lease is extended.
//! A process that ends loses only the attempt.

use super::*;

store_test!(ended_lease_frees_task_from_its_holder, async |store: &Store| -> Outcome {
    store.push(&[task("a")]).await?;
    let (one, two) = (store.holder(), store.holder());
    let first = one.one(at(0)).await?;
    assert_eq!(two.payloads(at(59), 10).await?, [""; 0]);
    let second = two.one(at(60)).await?;
    assert_eq!((first.attempts, second.attempts), (1, 2));
    assert_eq!(first.task_id, second.task_id);
    for settlement in [Settlement::Done, Settlement::Dead("x".into()), Settlement::Postpone(seconds(1))] {
        assert!(!one.settle(&first, settlement, at(61)).await?);
    }
    assert!(!one.settle(&second, Settlement::Done, at(61)).await?, "not with the wrong token");
    assert!(two.settle(&second, Settlement::Done, at(61)).await?);
    assert!(!two.settle(&second, Settlement::Done, at(62)).await?, "settled before");
    assert_eq!(store.counts().await?, (0, 0));
    Ok(())
});

store_test!(attempt_is_not_settled_by_previous_attempt, async |store: &Store| -> Outcome {
    store.push(&[task("a")]).await?;
    let holder = store.holder();
    let first = holder.one(at(0)).await?;
    // The same process claims it again: the token is equal, the attempt is not.
    let second = holder.one(at(60)).await?;
    assert!(!holder.settle(&first, Settlement::Done, at(61)).await?);
    assert!(holder.settle(&second, Settlement::Done, at(61)).await?);
    Ok(())
});

store_test!(lost_attempt_is_refused_after_next_was_postponed, async |store: &Store| -> Outcome {
    store.push(&[task("a")]).await?;
    let (one, two) = (store.holder(), store.holder());
    let lost = one.one(at(0)).await?;
    let next = two.one(at(60)).await?;
    assert!(two.settle(&next, Settlement::Postpone(seconds(1)), at(61)).await?);
    let mine = one.one(at(70)).await?;
    assert!(!one.settle(&lost, Settlement::Done, at(71)).await?);
    assert!(one.settle(&mine, Settlement::Done, at(71)).await?);
    Ok(())
});

store_test!(keeping_leases_extends_only_held_attempts, async |store: &Store| -> Outcome {
    store.push(&["a", "b", "c", "d"].map(task)).await?;
    let (one, two) = (store.holder(), store.holder());
    let mine = one.claim(at(0), 3).await?;
    let theirs = two.claim(at(0), 1).await?;
    assert_eq!(one.keep(&mine, at(50)).await?.len(), 3);
    assert_eq!(two.payloads(at(100), 10).await?, ["d"], "only its own lease ended");
    let (done, lost) = (&mine[0], &mine[1]);
    assert!(one.settle(done, Settlement::Done, at(101)).await?);
    // The lease of `lost` is not extended and ends.
    let third = [mine[2].clone()];
    assert_eq!(one.keep(&third, at(105)).await?.len(), 1);
    let taken = two.one(at(120)).await?;
    assert_eq!(taken.task_id, lost.task_id);
    assert_eq!(one.keep(&mine, at(130)).await?, [mine[2].payload.clone()], "done and lost are not held");
    // A lost attempt is not held, although its successor is, under the same token.
    assert_eq!(two.keep(&theirs, at(130)).await?, [""; 0]);
    assert_eq!(one.keep(&[], at(130)).await?, [""; 0]);
    Ok(())
});

store_test!(ended_lease_is_held_until_claimed_again, async |store: &Store| -> Outcome {
    store.push(&[task("a")]).await?;
    let (one, two) = (store.holder(), store.holder());
    let mine = [one.one(at(0)).await?];
    assert_eq!(one.keep(&mine, at(80)).await?, ["a"]);
    assert_eq!(two.payloads(at(100), 1).await?, [""; 0]);
    assert!(one.settle(&mine[0], Settlement::Done, at(101)).await?);
    Ok(())
});

store_test!(claim_unknown_to_its_process_expires, async |store: &Store| -> Outcome {
    store.push(&["a", "unheard"].map(task)).await?;
    let (one, two) = (store.holder(), store.holder());
    // The connection broke after the commit: the process does not know its second task.
    let known = one.claim(at(0), 1).await?;
    assert_eq!(one.claim(at(0), 1).await?.len(), 1);
    assert_eq!(one.keep(&known, at(50)).await?, ["a"]);
    assert_eq!(two.payloads(at(60), 10).await?, ["unheard"]);
    Ok(())
});

store_test!(released_tasks_are_due_without_an_attempt, async |store: &Store| -> Outcome {
    store.push(&["a", "b", "c"].map(task)).await?;
    let (one, two) = (store.holder(), store.holder());
    let mine = one.claim(at(1), 2).await?;
    assert_eq!(two.claim(at(1), 1).await?.len(), 1);
    assert_eq!(one.release(at(5)).await?, 2);
    assert_eq!(one.release(at(5)).await?, 0);
    assert!(!one.settle(&mine[0], Settlement::Done, at(6)).await?);
    let again = two.claim(at(5), 10).await?;
    assert_eq!(again.len(), 2, "due at once, without the task that is held elsewhere");
    assert!(again.iter().all(|task| task.attempts == 1), "{again:?}");
    Ok(())
});

store_test!(task_that_always_kills_its_process_is_dead, async |store: &Store| -> Outcome {
    store.push(&[serial("killer", "k", at(0)), serial("next", "k", at(1))]).await?;
    for attempt in 1..=3 {
        let victim = store.holder();
        assert_eq!(victim.payloads(at(attempt * 100), 10).await?, ["killer"]);
    }
    let survivor = store.holder();
    assert_eq!(survivor.payloads(at(359), 10).await?, [""; 0], "its last lease runs");
    survivor.keep(&[], at(359)).await?;
    assert_eq!(store.counts().await?, (2, 0));
    assert_eq!(survivor.payloads(at(400), 10).await?, [""; 0], "no fourth attempt");
    survivor.keep(&[], at(400)).await?;
    assert_eq!(store.counts().await?, (1, 1));
    let dead = store.read().await?.dead_tasks(10).await?;
    assert_eq!((dead[0].attempts, dead[0].kind.as_str()), (3, "tested"));
    assert!(dead[0].last_error.as_deref().is_some_and(|e| e.contains("the process ended")), "{dead:?}");
    assert_eq!(survivor.payloads(at(400), 10).await?, ["next"], "its serial key is free");
    Ok(())
});

store_test!(task_kept_at_its_last_attempt_is_alive, async |store: &Store| -> Outcome {
    store.push(&[NewTask { max_attempts: 1, ..task("a") }]).await?;
    let (one, two) = (store.holder(), store.holder());
    let mine = [one.one(at(0)).await?];
    assert_eq!(one.keep(&mine, at(70)).await?, ["a"], "late, but it lives");
    two.keep(&[], at(100)).await?;
    assert!(one.settle(&mine[0], Settlement::Done, at(101)).await?);
    assert_eq!(store.counts().await?, (0, 0));
    Ok(())
});
