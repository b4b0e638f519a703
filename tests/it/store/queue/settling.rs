//! Settlements: done, postponed, retried or dead.

use super::*;

store_test!(postponed_attempt_does_not_count, async |store: &Store| -> Outcome {
    store.push(&[task("a")]).await?;
    let holder = store.holder();
    for round in 0..10 {
        let claimed = holder.one(at(round * 10)).await?;
        assert_eq!(claimed.attempts, 1);
        assert!(holder.settle(&claimed, Settlement::Postpone(seconds(10)), at(round * 10)).await?);
        assert_eq!(holder.payloads(at(round * 10 + 9), 1).await?, [""; 0]);
    }
    Ok(())
});

store_test!(retry_waits_for_the_given_time, async |store: &Store| -> Outcome {
    store.push(&[task("a")]).await?;
    let holder = store.holder();
    let first = holder.one(at(0)).await?;
    let wait = Duration::from_micros(1_234_567);
    assert!(holder.settle(&first, Settlement::Retry(wait, "502".into()), at(10)).await?);
    let due = at(10).after(wait);
    assert_eq!(holder.payloads(Timestamp(due.0 - 1), 1).await?, [""; 0]);
    let second = holder.one(due).await?;
    assert_eq!(second.attempts, 2);
    assert_eq!(store.counts().await?, (1, 0));
    Ok(())
});

store_test!(task_is_dead_after_its_last_attempt, async |store: &Store| -> Outcome {
    store.push(&[serial("a", "k", at(0)), serial("b", "k", at(1))]).await?;
    let holder = store.holder();
    for attempt in 1..=3 {
        let claimed = holder.one(at(attempt * 10)).await?;
        // A later task of its serial key would pass it if it waited.
        assert_eq!((claimed.payload.as_str(), claimed.attempts), ("a", attempt));
        let error = format!("failure {attempt}");
        assert!(holder.settle(&claimed, Settlement::Retry(Duration::ZERO, error), at(0)).await?);
    }
    assert_eq!(store.counts().await?, (1, 1));
    let dead = store.read().await?.dead_tasks(10).await?;
    assert_eq!(dead[0].last_error.as_deref(), Some("failure 3"));
    assert_eq!(holder.payloads(at(1_000), 10).await?, ["b"], "a dead task does not block its key");
    Ok(())
});

store_test!(hopeless_tasks_are_dead_and_listed_newest_first, async |store: &Store| -> Outcome {
    store.push(&["a", "b"].map(task)).await?;
    let holder = store.holder();
    let claimed = holder.claim(at(1), 2).await?;
    for (n, task) in (0..).zip(&claimed) {
        assert!(holder.settle(task, Settlement::Dead(format!("422 of {}", task.payload)), at(10 + n)).await?);
    }
    let dead = store.read().await?.dead_tasks(10).await?;
    let ids: Vec<_> = dead.iter().map(|task| &task.task_id).collect();
    assert_eq!(ids, [&claimed[1].task_id, &claimed[0].task_id]);
    assert!(dead.iter().all(|task| task.attempts == 1), "{dead:?}");
    assert_eq!(store.read().await?.dead_tasks(1).await?.len(), 1);
    assert_eq!(holder.payloads(at(1_000_000), 10).await?, [""; 0]);
    Ok(())
});

store_test!(revived_tasks_have_all_their_attempts, async |store: &Store| -> Outcome {
    store.push(&[NewTask { dedupe_key: Some("k".into()), ..serial("a", "s", at(0)) }, task("done")]).await?;
    let holder = store.holder();
    for claimed in holder.claim(at(1), 10).await? {
        let how = if claimed.payload == "a" { Settlement::Dead("no".into()) } else { Settlement::Done };
        assert!(holder.settle(&claimed, how, at(2)).await?);
    }
    let mut tx = store.write().await?;
    assert_eq!(tx.revive_dead_tasks(at(50)).await?, 1);
    assert_eq!(tx.revive_dead_tasks(at(50)).await?, 0);
    tx.commit().await?;
    assert_eq!(store.counts().await?, (1, 0));
    assert_eq!(holder.payloads(at(49), 10).await?, [""; 0]);
    for attempt in 1..=3 {
        let claimed = holder.one(at(50)).await?;
        assert_eq!(claimed.attempts, attempt);
        assert!(holder.settle(&claimed, Settlement::Retry(Duration::ZERO, "x".into()), at(50)).await?);
    }
    assert_eq!(store.counts().await?, (0, 1));
    Ok(())
});

store_test!(error_with_zero_byte_is_kept, async |store: &Store| -> Outcome {
    store.push(&[task("a")]).await?;
    let holder = store.holder();
    let claimed = holder.one(at(1)).await?;
    // PostgreSQL's texts can't hold a zero byte, and an error may quote any input.
    assert!(holder.settle(&claimed, Settlement::Dead("bad byte \0 in 'x'".into()), at(2)).await?);
    let dead = store.read().await?.dead_tasks(1).await?;
    assert!(dead[0].last_error.as_deref().is_some_and(|e| e.starts_with("bad byte")), "{dead:?}");
    Ok(())
});
